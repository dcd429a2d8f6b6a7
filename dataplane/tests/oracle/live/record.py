#!/usr/bin/env python3
"""Random scenes in the real kernel: frames and commands in, what came out written down.

Runs as root in the guest of the oracle, whose /opt/lab.py lays the network. SEED says which scenes,
COUNT how many; recordings go to /out/live.jsonl, in the form that the oracle test replays.
"""
import ipaddress
import json
import os
import random
import sys
import time

sys.path.insert(0, "/opt")
import lab  # noqa: E402

SEED = int(os.environ.get("SEED", "1"))
COUNT = int(os.environ.get("COUNT", "200"))
# Of these, every STRIDE-th from FIRST on: several guests share the work.
FIRST = int(os.environ.get("FIRST", "0"))
STRIDE = int(os.environ.get("STRIDE", "1"))
SCHEDULERS = ["rr", "wrr", "lc", "wlc", "sed", "nq", "fo", "ovf", "dh", "sh", "mh", "lblc", "lblcr"]
FLAGS = {"sh": ["sh-port", "sh-fallback"], "mh": ["mh-port", "mh-fallback"]}
SYSCTLS = {
    "conn_reuse_mode": [0, 1, 2, 3],
    "expire_nodest_conn": [0, 1],
    "expire_quiescent_template": [0, 1],
    "sloppy_tcp": [0, 1],
    "nat_icmp_send": [0, 1],
    "schedule_icmp": [0, 1],
    "secure_tcp": [0, 3],
}
SO_MARK = 36


def literal(address, port):
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


class Scene:
    """One scenario: a few services, clients and servers, and random steps."""

    def __init__(self, seed, number):
        self.r = random.Random(f"{seed}/{number}")
        self.name = f"seed{seed}-{number}"
        self.steps, self.notes = [], set()
        self.six = self.r.random() < 0.25
        self.mtu = self.r.choice([1500, 1500, 1500, 1400])
        net = "2001:db8:9::" if self.six else "10.9.0."
        self.clients = [f"{net}{n}" for n in self.r.sample(range(5, 60), 3)]
        self.vips = ["2001:db8::1"] if self.six else ["10.0.0.1", "10.0.0.2"]
        real = "2001:db8:1::" if self.six else "10.1.0."
        self.reals = [f"{real}{n}" for n in range(1, 6)]
        self.router = "2001:db8:1::8" if self.six else "10.1.0.8"
        self.own = "2001:db8:1::ffff" if self.six else "10.1.255.254"
        self.services, self.flows = [], []

    # Commands.

    def service_words(self, service, verb):
        if service["mark"]:
            words = f"{verb} -f {service['mark']}" + (" -6" if self.six else "")
        else:
            letter = "-t" if service["proto"] == 6 else "-u"
            words = f"{verb} {letter} {literal(service['vip'], service['port'])}"
        if verb in ("-A", "-E"):
            words += f" -s {service['scheduler']}"
            if service["flags"]:
                words += " -b " + ",".join(service["flags"])
            if service["persist"]:
                words += f" -p {service['persist']}"
                if service["mask"]:
                    words += f" -M {service['mask']}"
            if service["ops"]:
                words += " -o"
        return words

    def server_words(self, service, server, verb):
        at = literal(server["address"], server["port"])
        words = f"{self.service_words(service, verb)} -r {at}"
        if verb != "-d":
            words += f" {server['method']} -w {server['weight']}"
            if server["upper"]:
                words += f" -x {server['upper']} -y {server['lower']}"
        return words

    def new_service(self):
        r = self.r
        mark = r.choice([0, 0, 0, 0, 7])
        if any(s["mark"] for s in self.services):
            mark = 0
        # Any port is only allowed with persistence, and behind a mark no port is known.
        persist = r.choice([0, 0, 0, 30, 60])
        proto = r.choice([6, 6, 17])
        service = dict(
            mark=mark, proto=proto, vip=r.choice(self.vips),
            port=r.choice([80, 80, 53, 8000] + ([0] if persist else [])),
            persist=persist, ops=not persist and not mark and proto == 17 and r.random() < 0.3,
            mask=r.choice(["", "", "64" if self.six else "255.255.255.0"]), servers=[],
        )
        self.draw_scheduler(service)
        key = lambda s: s["mark"] or (s["proto"], s["vip"], s["port"])
        if any(key(s) == key(service) for s in self.services):
            return None
        service["method"] = r.choice(["-m", "-m", "-g", "-i"])
        return service

    def draw_scheduler(self, service):
        service["scheduler"] = self.r.choice(SCHEDULERS)
        flags = FLAGS.get(service["scheduler"], [])
        service["flags"] = [f for f in flags if self.r.random() < 0.5]

    def new_server(self, service):
        r = self.r
        taken = {s["address"] for s in service["servers"]}
        free = [a for a in self.reals if a not in taken]
        if not free:
            return None
        method = service["method"] if r.random() < 0.8 else r.choice(["-m", "-g", "-i"])
        port = service["port"]
        if method == "-m" and port and not service["mark"] and r.random() < 0.5:
            port = 8080
        upper = r.choice([0, 0, 0, 0, 2, 4])
        return dict(
            address=r.choice(free), port=0 if service["mark"] else port, method=method,
            weight=r.choice([0, 1, 1, 1, 2, 3, 5]), upper=upper,
            lower=r.randint(0, upper) if upper else 0,
        )

    def setup(self):
        commands = []
        for _ in range(self.r.choice([1, 1, 2, 3])):
            service = self.new_service()
            if not service:
                continue
            self.services.append(service)
            commands.append(self.service_words(service, "-A"))
            for _ in range(self.r.choice([0, 1, 2, 2, 3, 4])):
                server = self.new_server(service)
                if server:
                    service["servers"].append(server)
                    commands.append(self.server_words(service, server, "-a"))
        return commands

    # Steps.

    def at(self):
        return round((time.time() - self.start) * 100)

    def run(self, command):
        self.steps.append({"run": command, "at": self.at(), "output": lab.sh(command)})

    def send(self, side, packet, mark=0):
        at = self.at()
        lab.SC.setsockopt(1, SO_MARK, mark)
        frame = lab.send(side, packet)
        out = [[s, b.hex()] for _, s, b in lab.drain(0.006)]
        step = {"in": [side, frame.hex()], "out": out, "at": at}
        if side == "c":
            step["mark"] = mark
        self.steps.append(step)
        return [(s, bytes.fromhex(b)) for s, b in out]

    def dress(self, rare=True):
        """Header fields that vary."""
        r = self.r
        words = dict(tos=r.choice([0, 0, 0, 0x10, 0xB8, 0x02, 0x03]))
        words["ttl"] = r.choice([64] * 8 + [255, 2, 2, 1]) if rare else 64
        if not self.six:
            words["df"] = r.random() < 0.7
            words["ident"] = r.randrange(1, 65536)
        return words

    def pick_end(self, service):
        vip = self.r.choice(self.vips) if service["mark"] else service["vip"]
        port = service["port"]
        if service["mark"] or not port:
            port = self.r.choice([80, 443, 9000])
        return vip, port

    def flow_packet(self, flow, flags, data=b""):
        ends = (flow["c"], flow["cp"], flow["v"], flow["vp"])
        if flow["proto"] == 17:
            nocsum = not self.six and self.r.random() < 0.2
            return lab.udp(*ends, data or b"q" * self.r.randint(0, 40), nocsum=nocsum, **self.dress())
        words = self.dress()
        return lab.tcp(*ends, flags, flow["seq"], self.r.randrange(1, 2**31), data, **words)

    def learn(self, flow, out):
        """Notes the server that a request went to."""
        for side, frame in out:
            if side != "r":
                continue
            l3 = frame[14:]
            if self.six:
                protocol, to, l4 = l3[6], l3[24:40], l3[40:]
            else:
                protocol, to, l4 = l3[9], l3[16:20], l3[20:]
            flow["real"] = str(ipaddress.ip_address(to))
            flow["tunnel"] = protocol in (4, 41)
            flow["outer"] = l3
            # Whoever is reached directly answers the client directly.
            is_translated = not flow["tunnel"] and flow["real"] not in self.vips
            flow["rp"] = int.from_bytes(l4[2:4], "big") if is_translated else 0

    def open_flow(self):
        if not self.services:
            return self.stray()
        service = self.r.choice(self.services)
        vip, port = self.pick_end(service)
        proto = service["proto"] if not service["mark"] else self.r.choice([6, 6, 17])
        flow = dict(
            proto=proto, c=self.r.choice(self.clients), cp=self.r.choice([20000, 20001, 20002, 31000]),
            v=vip, vp=port, mark=service["mark"], seq=self.r.randrange(1, 2**31), real=None, rp=0,
            tunnel=False, outer=None,
        )
        self.flows.append(flow)
        flags = self.r.choice(["S"] * 9 + ["SA"])
        self.learn(flow, self.send("c", self.flow_packet(flow, flags), flow["mark"]))

    def go_on(self):
        if not self.flows:
            return self.open_flow()
        flow = self.r.choice(self.flows[-4:])
        flags = self.r.choice(["A", "A", "A", "PA", "PA", "FA", "FA", "R", "RA", "S", "S", ""])
        data = b"d" * self.r.randint(1, 60) if "P" in flags else b""
        if self.r.random() < 0.05:
            data = b"z" * (1400 if self.six else 1420)
            packet = lab.tcp(flow["c"], flow["cp"], flow["v"], flow["vp"], "PA", 5, 6, data)
        elif flow["proto"] == 6 and self.r.random() < 0.05:
            packet = self.flow_packet(flow, "A", b"odd")
            packet = packet[:-1] + bytes([packet[-1] ^ 0x55])  # its checksum is wrong now
        else:
            packet = self.flow_packet(flow, flags, data)
        self.learn(flow, self.send("c", packet, flow["mark"]))

    def answer(self):
        flows = [f for f in self.flows if f["real"] and f["rp"]]
        if not flows:
            return self.open_flow()
        flow = self.r.choice(flows[-4:])
        port = flow["rp"] if self.r.random() < 0.95 else flow["rp"] + 1
        ends = (flow["real"], port, flow["c"], flow["cp"])
        if flow["proto"] == 17:
            nocsum = not self.six and self.r.random() < 0.2
            packet = lab.udp(*ends, b"a" * self.r.randint(0, 30), nocsum=nocsum, **self.dress())
        else:
            flags = self.r.choice(["SA", "SA", "A", "A", "PA", "FA", "R", "RA"])
            data = b"D" * self.r.randint(1, 50) if "P" in flags else b""
            packet = lab.tcp(*ends, flags, self.r.randrange(1, 2**31), 7, data, **self.dress())
        self.send("r", packet)

    def error(self):
        if self.six:
            return self.r.choice([(1, 0, 0), (1, 4, 0), (2, 0, 1300), (3, 0, 0), (4, 0, 0)])
        return self.r.choice([(3, 1, 0), (3, 3, 0), (3, 4, 1300), (4, 0, 0), (11, 0, 0)])

    def quote(self, packet):
        header = 40 if self.six else 20
        return packet[: header + self.r.choice([8, 8, 8, 20, 28, 4, 2])]

    def error_from_client(self):
        if not self.flows:
            return self.open_flow()
        flow = self.r.choice(self.flows[-4:])
        build = lab.udp if flow["proto"] == 17 else lab.tcp
        port = flow["cp"] if self.r.random() < 0.85 else flow["cp"] + 7
        quoted = build(flow["v"], flow["vp"], flow["c"], port, **self.dress(False))
        source = self.r.choice([flow["c"], self.clients[0]])
        words = {k: v for k, v in self.dress().items() if k != "df"}
        packet = lab.icmp(source, flow["v"], *self.error(), self.quote(quoted), **words)
        self.send("c", packet, flow["mark"])

    def error_from_server(self):
        flows = [f for f in self.flows if f["real"] and f["rp"]]
        if self.six or not flows:
            return self.answer()
        flow = self.r.choice(flows[-4:])
        build = lab.udp if flow["proto"] == 17 else lab.tcp
        quoted = build(flow["c"], flow["cp"], flow["real"], flow["rp"], **self.dress(False))
        kind = self.error() if self.r.random() < 0.9 else (5, 1, 0x0A010009)
        source = self.r.choice([flow["real"], self.router])
        words = {k: v for k, v in self.dress().items() if k != "df"}
        self.send("r", lab.icmp(source, flow["c"], *kind, self.quote(quoted), **words))

    def error_about_tunnel(self):
        flows = [f for f in self.flows if f["tunnel"]]
        if self.six or not flows:
            return self.go_on()
        flow = self.r.choice(flows)
        kind = self.r.choice([(3, 4, 1400), (3, 4, 1300), (3, 1, 0), (11, 0, 0)])
        quoted = flow["outer"][: self.r.choice([60, 60, 48, 28])]
        self.send("r", lab.icmp(self.router, self.own, *kind, quoted))

    def stray(self):
        vip = self.r.choice(self.vips)
        client, port = self.r.choice(self.clients), self.r.choice([81, 1234])
        which = self.r.randrange(4)
        if which == 0:
            flags = self.r.choice(["S", "A", "F", "R", "SA", "PA"])
            packet = lab.tcp(client, 30000, vip, port, flags, 99, 77, **self.dress(False))
        elif which == 1:
            packet = lab.udp(client, 30000, vip, port, b"stray", **self.dress(False))
        else:
            kind = 128 if self.six else 8
            packet = lab.icmp(client, vip, kind, 0, 0x10001, b"ping", **self.dress(False))
        self.send("c", packet)

    def change(self):
        r = self.r
        which = r.choice(["weight", "weight", "weight", "method", "threshold", "delete", "delete", "add",
                          "scheduler", "persist", "remove", "sysctl", "sysctl", "set", "again"])
        if which == "sysctl":
            name = r.choice(list(SYSCTLS))
            return self.run(f"sysctl -w net.ipv4.vs.{name}={r.choice(SYSCTLS[name])}")
        if which == "set":
            return self.run(f"ipvsadm --set {r.choice([0, 100, 900])} {r.choice([0, 60])} {r.choice([0, 90])}")
        if which == "again" or not self.services:
            service = self.new_service()
            if service:
                self.services.append(service)
                self.run("ipvsadm " + self.service_words(service, "-A"))
            return None
        service = r.choice(self.services)
        if which == "remove":
            if r.random() < 0.5:
                self.services.remove(service)
                self.run("ipvsadm " + self.service_words(service, "-D"))
            return None
        if which in ("scheduler", "persist"):
            if which == "scheduler":
                self.draw_scheduler(service)
            elif service["port"] or service["mark"]:
                service["persist"] = r.choice([0, 30, 60]) if not service["ops"] else 0
            return self.run("ipvsadm " + self.service_words(service, "-E"))
        if which == "add":
            server = r.choice(service.get("gone", []) or [None]) or self.new_server(service)
            if server and server["address"] not in {s["address"] for s in service["servers"]}:
                service["servers"].append(server)
                self.run("ipvsadm " + self.server_words(service, server, "-a"))
            return None
        if not service["servers"]:
            return None
        server = r.choice(service["servers"])
        if which == "delete":
            service["servers"].remove(server)
            service.setdefault("gone", []).append(server)
            return self.run("ipvsadm " + self.server_words(service, server, "-d"))
        if which == "weight":
            server["weight"] = r.choice([0, 0, 1, 2, 4])
        elif which == "method":
            # Never to direct routing: the kernel would go on with the route that it has cached for
            # the other method, and ask that link for the virtual address.
            server["method"] = r.choice(["-m", "-i"])
            if server["method"] != "-m" and server["port"] != service["port"]:
                server["method"] = "-m"
        else:
            server["upper"] = r.choice([0, 1, 3])
            server["lower"] = r.randint(0, server["upper"])
        return self.run("ipvsadm " + self.server_words(service, server, "-e"))

    def look(self):
        self.run(self.r.choice([
            "ipvsadm -Lnc", "ipvsadm -Ln", "ipvsadm -Ln --persistent-conn", "cat /proc/net/ip_vs_conn",
        ]))

    def play(self):
        lab.flush()
        lab.reload()
        # Path MTUs that were learned go with the route.
        route = "10.1.0.0/16 dev d1"
        lab.sh(f"ip route del {route}; ip route add {route} src 10.1.255.254 scope link")
        lab.sh(f"ip link set d1 mtu {self.mtu}")
        pre = f"ip link set d1 mtu {self.mtu}"
        commands = self.setup()
        messages = []
        for command in commands:
            said = lab.sh("ipvsadm " + command)
            if said.strip():
                messages.append([command, said])
        lab.drain(0.01)
        self.start = time.time()
        waits = self.r.random() < 0.12
        if waits:
            self.run("ipvsadm --set 2 1 2")
        actions = [(self.open_flow, 30), (self.go_on, 28), (self.answer, 20), (self.error_from_client, 5),
                   (self.error_from_server, 5), (self.error_about_tunnel, 4), (self.stray, 4),
                   (self.change, 14), (self.look, 5)]
        for _ in range(self.r.randint(12, 30)):
            action = self.r.choices([a for a, _ in actions], [w for _, w in actions])[0]
            self.notes.add(action.__name__)
            action()
            if waits and self.r.random() < 0.08:
                seconds = self.r.choice([1.3, 2.3, 3.3])
                time.sleep(seconds)
        self.run("ipvsadm -Ln")
        self.run("ipvsadm -Ln --persistent-conn")
        at = self.at()
        return dict(
            name=self.name, note=" ".join(sorted(self.notes)), cmds=commands, pre=pre,
            messages=messages, steps=self.steps, at=at, conns=open("/proc/net/ip_vs_conn").read(),
            listing=lab.sh("ipvsadm -Lnc"),
        )


def main():
    lab.setup()
    with open("/out/live.jsonl", "w") as out:
        for number in range(FIRST, COUNT, STRIDE):
            out.write(json.dumps(Scene(SEED, number).play()) + "\n")
            out.flush()
            if number % 25 == 0:
                print(f"oracle: {number} of {COUNT} scenes recorded", flush=True)


main()
