# Makes the guest number $N a director without services, in the lab that it has just been plugged
# into. A new module has no connection and its first settings.
exec 2>&1
ipvsadm -C
ipvsadm --stop-daemon master >/dev/null 2>&1
ipvsadm --stop-daemon backup >/dev/null 2>&1
for _ in $(seq 50); do
    modules=$(lsmod | sed -n 's/^\(ip_vs_[a-z]*\) .*/\1/p')
    { [ -z "$modules" ] || rmmod $modules; } >/dev/null 2>&1
    rmmod ip_vs >/dev/null 2>&1
    [ -e /proc/net/ip_vs ] || break
    sleep 0.02
done
set -e
modprobe ip_vs
modprobe -a iptable_mangle xt_mark xt_tcpudp
iptables-legacy -t mangle -F
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 \
    net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 \
    net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.default.send_redirects=0 \
    net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2 \
    net.ipv6.conf.all.accept_ra=0 net.ipv6.conf.default.accept_ra=0
for link in eth0 eth1 eth2; do
    # Neighbours of the lab before go with it.
    ip link set $link down
    ip addr flush dev $link
    ip link set $link address 52:54:00:1b:0$N:0${link#eth}
    ethtool -K $link tx off gso off gro off tso off >/dev/null 2>&1 || true
    sysctl -qw net.ipv4.conf.$link.rp_filter=0 net.ipv4.conf.$link.send_redirects=0
    ip link set $link up
done
last=$((253 - N))
ip addr add 10.9.255.$last/16 dev eth0
ip addr add 10.1.255.$last/16 dev eth1
ip addr add 10.77.0.$last/24 dev eth2
ip -6 addr add 2001:db8:9::ff$last/64 dev eth0 nodad
ip -6 addr add 2001:db8:1::ff$last/64 dev eth1 nodad
ip -6 addr add fd77::ff$last/64 dev eth2 nodad
ip addr flush dev lo to 10.9.255.0/24
for vip in 1 2 3 4; do
    ip addr replace 10.9.255.$vip/32 dev lo
done
ip -6 addr replace 2001:db8:9::100/128 dev lo nodad
