# Completion of pollvsd for bash.

_pollvsd() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} list=''
    case $prev in
    --config | --state | --socket | --read-only-socket)
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        return
        ;;
    --run)
        mapfile -t COMPREPLY < <(compgen -d -- "$cur")
        return
        ;;
    --socket-group | --read-only-group)
        mapfile -t COMPREPLY < <(compgen -g -- "$cur")
        return
        ;;
    --port) list=$(cd /sys/class/net && echo *) ;;
    --idle) list='spin yield' ;;
    --hugepages) list='yes no' ;;
    --address | --mtu | --route | --neighbour | --workers | --cores | --connections | --memory) ;;
    *)
        list='--port --address --mtu --route --neighbour --workers --cores --idle --connections'
        list+=' --memory --hugepages --config --state --run --socket --socket-group'
        list+=' --read-only-socket --read-only-group --check --help --version'
        ;;
    esac
    # Not by compgen -W, which would carry out what is in the words.
    local word words
    read -rd '' -a words <<<"$list"
    COMPREPLY=()
    for word in "${words[@]}"; do
        case $word in *[!][A-Za-z0-9_.:,@%/+=-]*) continue ;; esac
        case $word in "$cur"*) COMPREPLY+=("$word") ;; esac
    done
}

complete -F _pollvsd pollvsd
