# Makes the guest a director without services, in the lab that it has just been plugged into.
exec 2>&1
# A new module has no connection and its first settings.
if [ -s /tmp/used ]; then
    ipvsadm --stop-daemon master >/dev/null 2>&1
    ipvsadm --stop-daemon backup >/dev/null 2>&1
    ipvsadm -C
    iptables-legacy -t mangle -F
    for _ in $(seq 50); do
        rmmod ip_vs_rr ip_vs >/dev/null 2>&1
        [ -e /proc/net/ip_vs ] || break
        sleep 0.02
    done
    if [ -e /proc/net/ip_vs ]; then
        lsmod
        exit 1
    fi
    modprobe ip_vs || exit 1
fi
echo used >/tmp/used
# The neighbours of the lab before are others now, and an interface may be down.
ip -batch - <<END
neigh flush dev eth0
neigh flush dev eth1
link set eth0 up
link set eth1 up
link set eth2 up
addr replace 2001:db8:9::f$((253 - N))/64 dev eth0 nodad
addr replace 2001:db8:1::f$((253 - N))/64 dev eth1 nodad
addr replace fd77::f$((253 - N))/64 dev eth2 nodad
END
