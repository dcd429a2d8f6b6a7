# Completion of pollvsadm and ipvsadm for bash.

# Prints the words that may follow a command.
_pollvsadm_options() {
    local service='-t --tcp-service -u --udp-service --sctp-service -f --fwmark-service -6 --ipv6'
    case $1 in
    -A | -E | --add-service | --edit-service)
        echo "$service -s --scheduler -b --sched-flags -p --persistent -M --netmask --pe -o --ops"
        ;;
    -D | -Z | --delete-service | --zero) echo "$service" ;;
    -a | -e | --add-server | --edit-server)
        echo "$service -r --real-server -g --gatewaying -i --ipip -m --masquerading -w --weight" \
            "-x --u-threshold -y --l-threshold" \
            "--tun-type --tun-port --tun-nocsum --tun-csum --tun-remcsum"
        ;;
    -d | --delete-server) echo "$service -r --real-server" ;;
    -L | -l | --list)
        echo "$service -n --numeric -c --connection --timeout --daemon --stats --rate --thresholds" \
            "--persistent-conn --tun-info --nosort --sort -X --exact"
        ;;
    -S | --save) echo '-n --numeric' ;;
    --start-daemon)
        echo '--syncid --mcast-interface --mcast-group --mcast-port --mcast-ttl --sync-maxlen'
        ;;
    --stop-daemon) echo '--syncid' ;;
    explain) echo '-t -u -f --from' ;;
    trace) echo '-t -u --from --count --wait' ;;
    drain) echo "$service -r --real-server --wait --remove" ;;
    handover) echo '--force --back --timeout' ;;
    mark)
        echo '-A -I -D -F -L -s --source -d --destination -p --protocol --sport --dport --set-mark' \
            --line-numbers
        ;;
    esac
}

# Offers those words of a list that begin as the word typed. The words are not for compgen -W, which
# would carry out what is in them; nor is one offered that the shell would carry out afterwards.
_pollvsadm_offer() {
    local IFS=$' \t\n' typed=$2 word words
    read -rd '' -a words <<<"$1"
    COMPREPLY=()
    for word in "${words[@]}"; do
        case $word in *[!][A-Za-z0-9_.:,@%/+=-]*) continue ;; esac
        case $word in "$typed"*) COMPREPLY+=("$word") ;; esac
    done
}

# Prints the services of the daemon's table that an option names, or with -r the servers.
_pollvsadm_table() {
    local option=$1 lines
    shift
    lines=$("$@" -Sn 2>/dev/null) || return
    case $option in
    -r) awk '$1 == "-a" { for (i = 2; i < NF; i++) if ($i == "-r") print $(i + 1) }' <<<"$lines" ;;
    *) awk -v option="$option" '$1 == "-A" && $2 == option { print $3 }' <<<"$lines" ;;
    esac
}

_pollvsadm() {
    local line=${COMP_LINE:0:COMP_POINT} words=() first=() list='' at=1 cur prev command
    # Not COMP_WORDS: bash divides addresses at their colons.
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=('')
    local last=$((${#words[@]} - 1))
    ((last > 0)) || return
    cur=${words[last]} prev=${words[last - 1]}
    first=("${words[0]}")
    if [[ ${words[0]##*/} != ipvsadm ]]; then
        while ((at < last)); do
            case ${words[at]} in
            --socket)
                ((at + 1 < last)) && first+=(--socket "${words[at + 1]}")
                ((at += 2))
                ;;
            --json | --atomic) ((at++)) ;;
            *) break ;;
            esac
        done
    fi
    ((at < last)) && command=${words[at]}
    # Of letters that stand together the first may be the command, the last may want a value.
    [[ $command == -[!-]?* ]] && command=${command:0:2}
    [[ $prev == -[!-]?* ]] && prev=-${prev: -1}

    case $command:$prev in
    *:--socket) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
    mark:-p | mark:--protocol) list='tcp udp sctp icmp all' ;;
    mark:-s | mark:-d | mark:--source | mark:--destination) return ;;
    *:-s | *:--scheduler) list='rr wrr lc wlc lblc lblcr dh sh mh sed nq fo ovf twos none' ;;
    *:-b | *:--sched-flags)
        list='flag-1 flag-2 flag-3 sh-fallback sh-port mh-fallback mh-port'
        ;;
    *:--start-daemon | *:--stop-daemon) list='master backup' ;;
    *:--tun-type) list='ipip gue gre' ;;
    *:--pe) list='sip' ;;
    *:--mcast-interface) list=$(command ls /sys/class/net) ;;
    *:-t | *:--tcp-service) list=$(_pollvsadm_table -t "${first[@]}") ;;
    *:-u | *:--udp-service) list=$(_pollvsadm_table -u "${first[@]}") ;;
    *:--sctp-service) list=$(_pollvsadm_table --sctp-service "${first[@]}") ;;
    *:-f | *:--fwmark-service) list=$(_pollvsadm_table -f "${first[@]}") ;;
    *:-r | *:--real-server) list=$(_pollvsadm_table -r "${first[@]}") ;;
    *:-M | *:--netmask | *:-w | *:--weight | *:-[xy] | *:--?-threshold | *:--tun-port) return ;;
    *:--syncid | *:--mcast-* | *:--sync-maxlen) return ;;
    handover:--timeout) return ;;
    *:--from | *:--count | *:--wait | *:--sport | *:--dport | *:--set-mark) return ;;
    --sysctl:*) list=$("${first[@]}" --sysctl 2>/dev/null | awk '{ print $1 }') ;;
    :*)
        list='-A -E -D -C -R -S -a -e -d -L -l -Z -h -v --add-service --edit-service'
        list+=' --delete-service --clear --restore --save --add-server --edit-server'
        list+=' --delete-server --list --zero --set --start-daemon --stop-daemon --help --version'
        if [[ ${words[0]##*/} != ipvsadm ]]; then
            list+=' --socket --json --atomic --sysctl drops ports workers sync vrrp explain trace'
            list+=' drain handover mark'
        fi
        ;;
    *) list=$(_pollvsadm_options "$command") ;;
    esac
    _pollvsadm_offer "$list" "$cur"
    # What stands before the last colon is a word of its own to bash.
    if [[ $cur == *:* && $COMP_WORDBREAKS == *:* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"${cur%"${cur##*:}"}"}")
    fi
}

complete -F _pollvsadm pollvsadm ipvsadm
