-- A range of clients for Pktgen-DPDK 23.03, and what came back. Port 0 is the client, port 1 the
-- real server. Start (README.md has the rest):
--   POLLVS_MAC=aa:bb:cc:dd:ee:ff pktgen -l 2-6 -a PCI0 -a PCI1 -- -P -m "[3:4].0,[5:6].1" -f flows.lua
package.path = package.path .. ";?.lua"
require "Pktgen"

local client, server = "0", "1"
local director = os.getenv("POLLVS_MAC") or error("POLLVS_MAC is the director's first port")
local vip, port = os.getenv("POLLVS_VIP") or "10.9.0.1", 80
-- A power of two up to 1048576: sixteen ports for each address from 10.16.0.0 on.
local flows = tonumber(os.getenv("POLLVS_FLOWS") or "65536")
local seconds = tonumber(os.getenv("POLLVS_SECONDS") or "10")
local rates = { 10, 50, 80, 95, 100 } -- percent of line rate

local function range(name, first, last, step)
    local set = pktgen.range[name]
    set(client, "start", first)
    set(client, "min", first)
    set(client, "max", last)
    set(client, "inc", step)
end

local function address(number)
    return string.format("10.%d.%d.%d", 16 + math.floor(number / 65536),
        math.floor(number / 256) % 256, number % 256)
end

pktgen.stop("all")
pktgen.set(client, "count", 0)
pktgen.set(client, "size", 64)
pktgen.range.ip_proto(client, "udp")
pktgen.range.dst_mac(client, "start", director)
range("dst_ip", vip, vip, "0.0.0.0")
range("dst_port", port, port, 0)
range("src_ip", address(0), address(math.max(flows / 16, 1) - 1), "0.0.0.1")
range("src_port", 1024, 1024 + math.min(flows, 16) - 1, 1)
range("pkt_size", 64, 64, 0)
pktgen.set_range(client, "on")

print("percent  sent Mpps  back Mpps  lost")
for _, rate in ipairs(rates) do
    pktgen.clr()
    pktgen.set(client, "rate", rate)
    pktgen.start(client)
    pktgen.delay(seconds * 1000)
    pktgen.stop(client)
    pktgen.delay(1000) -- what is on its way
    local sent = pktgen.portStats(client, "port")[tonumber(client)].opackets
    local back = pktgen.portStats(server, "port")[tonumber(server)].ipackets
    print(string.format("%7d  %9.2f  %9.2f  %d", rate, sent / seconds / 1e6,
        back / seconds / 1e6, sent - back))
end
pktgen.quit()
