# Completion of pollvsadm and ipvsadm for fish.

# Prints the command of the line so far, a short one as its first letter: -Ln is -L.
function __pollvsadm_command
    set -l words (commandline -opc)
    set -e words[1]
    while set -q words[1]
        switch $words[1]
            case --socket
                set -e words[1]
            case --json --atomic
            case '--*'
                echo -- $words[1]
                return
            case '-*'
                string sub -l 2 -- $words[1]
                return
            case '*'
                echo -- $words[1]
                return
        end
        set -e words[1]
    end
end

function __pollvsadm_is
    contains -- (__pollvsadm_command)'' $argv
end

function __pollvsadm_has_none
    test -z (__pollvsadm_command)''
end

# Services of the daemon's table that an option names, or with -r its servers.
function __pollvsadm_table
    set -l program (commandline -opc)[1]
    for line in ($program -Sn 2>/dev/null)
        set -l words (string split ' ' -- $line)
        switch "$argv[1] $words[1] $words[2]"
            case '-r -a *'
                string match -rg -- ' -r (\S+)' $line
            case "$argv[1] -A $argv[1]"
                echo $words[3]
        end
    end
end

set -l of_service '__pollvsadm_is -A -E -D -a -e -d -L -l -Z --add-service --edit-service --delete-service --add-server --edit-server --delete-server --list --zero'
set -l service '__pollvsadm_is -A -E --add-service --edit-service'
set -l server '__pollvsadm_is -a -e --add-server --edit-server'
set -l any_server '__pollvsadm_is -a -e -d --add-server --edit-server --delete-server'
set -l lists '__pollvsadm_is -L -l --list'
set -l sync '__pollvsadm_is --start-daemon'
set -l none __pollvsadm_has_none

for program in pollvsadm ipvsadm
    complete -c $program -f

    complete -c $program -n $none -s A -l add-service -d 'Add a virtual service'
    complete -c $program -n $none -s E -l edit-service -d 'Replace all attributes of a service'
    complete -c $program -n $none -s D -l delete-service -d 'Delete a virtual service'
    complete -c $program -n $none -s C -l clear -d 'Delete every virtual service'
    complete -c $program -n $none -s R -l restore -d 'Read commands from standard input'
    complete -c $program -n $none -s S -l save -d 'Print the table as commands'
    complete -c $program -n $none -s a -l add-server -d 'Add a real server'
    complete -c $program -n $none -s e -l edit-server -d 'Replace all attributes of a server'
    complete -c $program -n $none -s d -l delete-server -d 'Delete a real server'
    complete -c $program -n $none -s L -s l -l list -d 'List services, connections and more'
    complete -c $program -n $none -s Z -l zero -d 'Set counters to 0'
    complete -c $program -n $none -l set -d 'Set the timeouts'
    complete -c $program -n $none -l start-daemon -d 'Start a sync daemon'
    complete -c $program -n $none -l stop-daemon -d 'Stop a sync daemon'
    complete -c $program -n $none -s h -l help -d 'Print the usage'
    complete -c $program -n $none -s v -l version -d 'Print the version'

    complete -c $program -n $of_service -s t -l tcp-service -x -a '(__pollvsadm_table -t)' -d 'TCP service'
    complete -c $program -n $of_service -s u -l udp-service -x -a '(__pollvsadm_table -u)' -d 'UDP service'
    complete -c $program -n $of_service -l sctp-service -x -a '(__pollvsadm_table --sctp-service)' -d 'SCTP service'
    complete -c $program -n $of_service -s f -l fwmark-service -x -a '(__pollvsadm_table -f)' -d 'Firewall mark'
    complete -c $program -n $of_service -s 6 -l ipv6 -d 'The mark is on IPv6 packets'

    complete -c $program -n $service -s s -l scheduler -x -a 'rr wrr lc wlc lblc lblcr dh sh mh sed nq fo ovf twos none' -d Scheduler
    complete -c $program -n $service -s b -l sched-flags -x -a 'flag-1 flag-2 flag-3 sh-fallback sh-port mh-fallback mh-port' -d 'Flags of the scheduler'
    complete -c $program -n $service -s p -l persistent -d 'Keep a client at its server'
    complete -c $program -n $service -s M -l netmask -x -d 'Clients kept together'
    complete -c $program -n $service -l pe -x -a sip -d 'Persistence engine'
    complete -c $program -n $service -s o -l ops -d 'Schedule every datagram by itself'

    complete -c $program -n $any_server -s r -l real-server -x -a '(__pollvsadm_table -r)' -d 'Real server'
    complete -c $program -n $server -s g -l gatewaying -d 'Direct routing'
    complete -c $program -n $server -s i -l ipip -d Tunnelling
    complete -c $program -n $server -s m -l masquerading -d NAT
    complete -c $program -n $server -s w -l weight -x -d 'Share of new connections'
    complete -c $program -n $server -s x -l u-threshold -x -d 'Connections at which it is full'
    complete -c $program -n $server -s y -l l-threshold -x -d 'Connections at which it is free again'
    complete -c $program -n $server -l tun-type -x -a 'ipip gue gre' -d Tunnel
    complete -c $program -n $server -l tun-port -x -d 'UDP port of gue'
    complete -c $program -n $server -l tun-nocsum -d 'No checksum'
    complete -c $program -n $server -l tun-csum -d Checksum
    complete -c $program -n $server -l tun-remcsum -d 'Remote checksum offload'

    complete -c $program -n '__pollvsadm_is -L -l -S --list --save' -s n -l numeric -d 'Addresses and ports as numbers'
    complete -c $program -n $lists -s c -l connection -d Connections
    complete -c $program -n $lists -l timeout -d Timeouts
    complete -c $program -n $lists -l daemon -d 'Sync daemons'
    complete -c $program -n $lists -l stats -d Counters
    complete -c $program -n $lists -l rate -d 'Counters per second'
    complete -c $program -n $lists -l thresholds -d 'Thresholds of servers'
    complete -c $program -n $lists -l persistent-conn -d 'Persistent connections'
    complete -c $program -n $lists -l tun-info -d 'Tunnels of servers'
    complete -c $program -n $lists -l nosort -d 'In the director\'s order'
    complete -c $program -n $lists -l sort -d Sorted
    complete -c $program -n $lists -s X -l exact -d 'Large numbers in full'

    complete -c $program -n '__pollvsadm_is --start-daemon --stop-daemon' -a 'master backup'
    complete -c $program -n '__pollvsadm_is --start-daemon --stop-daemon' -l syncid -x -d 'Id of messages'
    complete -c $program -n $sync -l mcast-interface -x -a '(command ls /sys/class/net)' -d Interface
    complete -c $program -n $sync -l mcast-group -x -d 'Multicast group'
    complete -c $program -n $sync -l mcast-port -x -d 'UDP port'
    complete -c $program -n $sync -l mcast-ttl -x -d 'Time to live'
    complete -c $program -n $sync -l sync-maxlen -x -d 'Longest message'
end

# What ipvsadm has not.
complete -c pollvsadm -n $none -l socket -r -F -d 'Control socket of the daemon'
complete -c pollvsadm -n $none -l json -d 'Print a listing as JSON'
complete -c pollvsadm -n $none -l atomic -d 'Restore all lines or none'
complete -c pollvsadm -n $none -l sysctl -d 'Read or set settings'
complete -c pollvsadm -n $none -a drops -d 'Why frames were dropped'
complete -c pollvsadm -n $none -a ports -d 'Each port with its counters'
complete -c pollvsadm -n $none -a workers -d 'Each worker with its load'
complete -c pollvsadm -n $none -a sync -d 'What connection sync has sent and received'
complete -c pollvsadm -n $none -a vrrp -d 'Each virtual router with its state'
complete -c pollvsadm -n $none -a explain -d 'Where a connection would go, and why'
complete -c pollvsadm -n $none -a trace -d 'Each step of the next packets'
complete -c pollvsadm -n $none -a drain -d 'Wait until a server has no connections'
complete -c pollvsadm -n $none -a handover -d 'Give the virtual addresses to another director'
complete -c pollvsadm -n $none -a mark -d 'Rules for firewall marks'
complete -c pollvsadm -n '__pollvsadm_is --sysctl' -a '(pollvsadm --sysctl 2>/dev/null | string replace -r " .*" "")'
complete -c pollvsadm -n '__pollvsadm_is explain trace drain' -s t -x -a '(__pollvsadm_table -t)' -d 'TCP service'
complete -c pollvsadm -n '__pollvsadm_is explain trace drain' -s u -x -a '(__pollvsadm_table -u)' -d 'UDP service'
complete -c pollvsadm -n '__pollvsadm_is explain drain' -s f -x -a '(__pollvsadm_table -f)' -d 'Firewall mark'
complete -c pollvsadm -n '__pollvsadm_is explain trace' -l from -x -d Client
complete -c pollvsadm -n '__pollvsadm_is trace' -l count -x -d Packets
complete -c pollvsadm -n '__pollvsadm_is trace drain' -l wait -x -d Seconds
complete -c pollvsadm -n '__pollvsadm_is drain' -l sctp-service -x -a '(__pollvsadm_table --sctp-service)' -d 'SCTP service'
complete -c pollvsadm -n '__pollvsadm_is drain' -s 6 -l ipv6 -d 'The mark is on IPv6 packets'
complete -c pollvsadm -n '__pollvsadm_is drain' -s r -l real-server -x -a '(__pollvsadm_table -r)' -d 'Real server'
complete -c pollvsadm -n '__pollvsadm_is drain' -l remove -d 'Delete it in the end'
complete -c pollvsadm -n '__pollvsadm_is handover' -l force -d 'Though no backup is in step'
complete -c pollvsadm -n '__pollvsadm_is handover' -l back -d 'Take part again'
complete -c pollvsadm -n '__pollvsadm_is handover' -l timeout -x -d Seconds
complete -c pollvsadm -n '__pollvsadm_is mark' -s A -d Append
complete -c pollvsadm -n '__pollvsadm_is mark' -s I -d 'Insert in front'
complete -c pollvsadm -n '__pollvsadm_is mark' -s D -d Delete
complete -c pollvsadm -n '__pollvsadm_is mark' -s F -d 'Delete all'
complete -c pollvsadm -n '__pollvsadm_is mark' -s L -d List
complete -c pollvsadm -n '__pollvsadm_is mark' -s s -l source -x -d Source
complete -c pollvsadm -n '__pollvsadm_is mark' -s d -l destination -x -d Destination
complete -c pollvsadm -n '__pollvsadm_is mark' -s p -l protocol -x -a 'tcp udp sctp icmp all' -d Protocol
complete -c pollvsadm -n '__pollvsadm_is mark' -l sport -x -d 'Source ports'
complete -c pollvsadm -n '__pollvsadm_is mark' -l dport -x -d 'Destination ports'
complete -c pollvsadm -n '__pollvsadm_is mark' -l set-mark -x -d Mark
complete -c pollvsadm -n '__pollvsadm_is mark' -l line-numbers -d 'With numbers'
