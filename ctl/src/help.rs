//! The help text and the version line.

/// The output of `-v`. Scripts look for `IPVS` and the version of ipvsadm in it.
#[must_use]
pub fn version_line() -> String {
    "ipvsadm v1.31 2019/12/24 (compiled with popt and IPVS v1.2.1)\n".to_owned()
}

/// The output of `-h`.
#[must_use]
pub fn text(program: &str) -> String {
    let version = version_line();
    let ours = env!("CARGO_PKG_VERSION");
    let head = format!(
        "{version}This is pollvs {ours}, a user-space director with ipvsadm's commands.\n\n"
    );
    head + &BODY.replace("PROG", program)
}

const BODY: &str = "\
Usage:
  PROG -A|-E SERVICE [-s SCHEDULER] [-b FLAGS] [-p [SECONDS]] [-M MASK] [--pe ENGINE] [-o]
  PROG -D SERVICE
  PROG -C
  PROG -R
  PROG -S [-n]
  PROG -a|-e SERVICE -r HOST[:PORT] [-g|-i|-m] [-w WEIGHT] [-x UPPER] [-y LOWER] [TUNNEL]
  PROG -d SERVICE -r HOST[:PORT]
  PROG -L|-l [SERVICE] [-n] [--stats|--rate|--thresholds|--persistent-conn|--tun-info] [--nosort] [--exact]
  PROG -L -c [-n] [--persistent-conn]
  PROG -L --timeout
  PROG -L --daemon
  PROG -Z [SERVICE]
  PROG --set TCP TCPFIN UDP
  PROG --start-daemon master|backup [DAEMON]
  PROG --stop-daemon master|backup [--syncid ID]
  PROG -h
  PROG -v
The command comes first. Without any words, PROG does -L.

Commands:
  -A, --add-service          add a virtual service
  -E, --edit-service         replace all attributes of a virtual service
  -D, --delete-service       delete a virtual service and its real servers
  -C, --clear                delete every virtual service
  -R, --restore              read commands from standard input, one a line
  -S, --save                 print the table as commands that -R reads
  -a, --add-server           add a real server to a virtual service
  -e, --edit-server          replace all attributes of a real server
  -d, --delete-server        take a real server out of a virtual service
  -L, -l, --list             list services, connections, timeouts or sync daemons
  -Z, --zero                 set the counters of a service, or all of them, to 0
      --set TCP TCPFIN UDP   set the connection timeouts in seconds; 0 keeps one as it is
      --start-daemon STATE   start the sync daemon: master sends connections, backup receives them
      --stop-daemon STATE    stop the sync daemon
  -h, --help                 print this text
  -v, --version              print the version

SERVICE is one of:
  -t, --tcp-service HOST[:PORT]    TCP; PORT 0 or none takes every port and needs -p
  -u, --udp-service HOST[:PORT]    UDP
      --sctp-service HOST[:PORT]   SCTP
  -f, --fwmark-service MARK        packets with a firewall mark, 1 to 4294967295
  -6, --ipv6                       the mark is on IPv6 packets; stands after -f
An IPv6 HOST with a port is written in brackets: [2001:db8::1]:80.

Options of a service:
  -s, --scheduler NAME       rr, wrr, lc, wlc, lblc, lblcr, dh, sh, sed, nq, fo, ovf, mh or twos (default: wlc)
  -b, --sched-flags FLAGS    list with commas: flag-1, flag-2, flag-3; for sh: sh-fallback, sh-port;
                             for mh: mh-fallback, mh-port
  -p, --persistent [SECONDS] keep a client at its server, 1 to 2678400 (default: 360)
  -M, --netmask MASK         clients kept together: an IPv4 mask, or an IPv6 prefix length after the service
                             (default: 255.255.255.255 or 128)
      --pe ENGINE            persistence engine, such as sip
  -o, --ops                  schedule every datagram by itself (UDP)

Options of a server:
  -r, --real-server HOST[:PORT]  the server (default port: the service's)
  -g, --gatewaying           forward at the link layer (default); the port is the service's
  -i, --ipip                 forward through a tunnel; the port is the service's
  -m, --masquerading         forward by network address translation
  -w, --weight WEIGHT        share of new connections, 0 to 2147483647 (default: 1)
  -x, --u-threshold UPPER    connections at which the server is full (default: 0, no limit)
  -y, --l-threshold LOWER    connections at which it is free again (default: 0, 3/4 of UPPER)
TUNNEL, with -i:
      --tun-type TYPE        ipip, gue or gre (default: ipip)
      --tun-port PORT        UDP port of gue, 1 to 65535
      --tun-nocsum           no checksum in the tunnel header of gue or gre (default)
      --tun-csum             checksum in the tunnel header of gue or gre
      --tun-remcsum          remote checksum offload of gue

Options of lists:
  -n, --numeric              addresses and ports as numbers
  -c, --connection           connections
      --timeout              timeouts: tcp, tcpfin, udp
      --daemon               sync daemons
      --stats                counters
      --rate                 counters per second
      --thresholds           thresholds of servers
      --persistent-conn      persistent connections; with -c, what persistence engines say
      --tun-info             tunnel options of servers
      --nosort               in the director's order
      --sort                 sorted (default)
  -X, --exact                large numbers in full

DAEMON:
      --syncid ID            accept only messages with this id, 0 to 255 (default: 0)
      --mcast-interface NAME interface of the group (default: eth0)
      --mcast-group ADDRESS  IPv4 or IPv6 multicast group (default: 224.0.0.81)
      --mcast-port PORT      UDP port, 1 to 65535 (default: 8848)
      --mcast-ttl TTL        time to live of messages, 1 to 255 (default: 1)
      --sync-maxlen BYTES    longest message, 1 to 65507 (default: by the interface)

Called as pollvsadm, there is also
  pollvsadm drops            every reason for a drop, with its count
  pollvsadm explain SERVICE --from CLIENT:PORT
                             where a new connection of that client would go, and why; nothing changes
  pollvsadm trace [--from CLIENT[:PORT]] [SERVICE] [--count N] [--wait SECONDS]
                             each step of the next N packets (default: 10), from and to that client,
                             on their way to or from that service (-t or -u); ends after so many
                             seconds (default: 60)
  pollvsadm ports            every port: device, link, frames and bytes, what it lost
  pollvsadm workers          every worker: how busy, its frames and what they cost, its queues
  pollvsadm --sysctl [NAME[=VALUE]]...
                             read or set net.ipv4.vs.NAME, all of them without a name; nothing is
                             set when one word is wrong
  pollvsadm drain SERVICE -r HOST[:PORT] [--wait SECONDS] [--remove]
                             give a server weight 0 and wait until no connection is left on it, at
                             most so long (default: without end); then delete it
  pollvsadm sync             connection sync: what was sent and received, who is in step, what was lost
  pollvsadm vrrp             every virtual router: its state, priority, master and addresses
  pollvsadm handover [--force] [--timeout SECONDS]
                             give the virtual addresses to a backup that is in step, and wait until
                             other directors are the masters; each wait ends after so many seconds
                             (default: 10), and --force does not wait for a backup in step
  pollvsadm handover --back  take part again as configured
  pollvsadm mark -A RULE     a rule that gives packets a firewall mark, after all others
  pollvsadm mark -I [N] RULE the same as number N (default: 1, before all others)
  pollvsadm mark -D RULE|N   delete the rule with these words, or of this number
  pollvsadm mark -F          delete all rules
  pollvsadm mark [-L] [--line-numbers]
                             list the rules as commands that -R reads

RULE is made of the words of iptables' table mangle, chain PREROUTING; the last rule that fits decides:
  -s, --source NET           network of the source: ADDRESS, ADDRESS/LENGTH or ADDRESS/MASK
  -d, --destination NET      network of the destination
  -p, --protocol PROTOCOL    tcp, udp, sctp, icmp, all or a number
      --sport PORT[:PORT]    source port, or first and last; needs -p tcp, -p udp or -p sctp
      --dport PORT[:PORT]    destination port, or first and last
      --set-mark MARK        the mark, 0 to 4294967295, or in hexadecimal: 0x1
Words that say no more, such as -t mangle, -m tcp and the jump to MARK, may stand as iptables has them.

With --json anywhere in the line, a list (-L, drops, ports, workers, sync, vrrp, --sysctl, mark -L),
explain, or the end of drain or handover is one JSON document, and trace prints one for each packet,
a line each.

The very first words may be --socket PATH: the control socket of the daemon
(default: $POLLVS_SOCKET, else /run/pollvs/pollvsd.sock).
";
