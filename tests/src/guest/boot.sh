# Gives the guest number $N its addresses, once: they are the same in every lab.
set -e
exec 2>&1
# IPv6 is a module too, and comes with them.
modprobe -a ip_vs iptable_mangle xt_mark xt_tcpudp
# Few processes, for each takes its time here.
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 \
    net.ipv4.conf.{all,default,eth0,eth1,eth2}.rp_filter=0 \
    net.ipv4.conf.{all,default,eth0,eth1,eth2}.send_redirects=0 \
    net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2 \
    net.ipv6.conf.{all,default}.accept_dad=0 net.ipv6.conf.{all,default}.accept_ra=0
for link in eth0 eth1 eth2; do
    ethtool -K $link tx off gso off gro off tso off >/dev/null 2>&1 || true
done
last=$((253 - N))
ip -batch - <<END
link set eth0 address 52:54:00:1b:0$N:00
link set eth1 address 52:54:00:1b:0$N:01
link set eth2 address 52:54:00:1b:0$N:02
link set eth0 up
link set eth1 up
link set eth2 up
addr add 10.9.255.$last/16 dev eth0
addr add 10.1.255.$last/16 dev eth1
addr add 10.77.0.$last/24 dev eth2
addr add 2001:db8:9::f$last/64 dev eth0 nodad
addr add 2001:db8:1::f$last/64 dev eth1 nodad
addr add fd77::f$last/64 dev eth2 nodad
addr add 10.9.255.1/32 dev lo
addr add 10.9.255.2/32 dev lo
addr add 10.9.255.3/32 dev lo
addr add 10.9.255.4/32 dev lo
addr add 2001:db8:9::100/128 dev lo nodad
END
