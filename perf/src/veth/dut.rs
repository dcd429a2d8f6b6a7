//! Who stands where the director does.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use tests::lab::{DIRECTOR_INSIDE, DIRECTOR_OUTSIDE, Lab, Method, VIP};
use tests::process::{Service, must};
use tests::requirements;
use tests::server::RealServer;

use super::load;
use crate::daemon::Daemon;
use crate::output::progress;
use crate::process::said;

/// Where Debian puts nginx's module for TCP.
const STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";
/// No configuration command takes longer.
const LIMIT: Duration = Duration::from_secs(10);
/// How long a proxy may take to forward its first connection.
const READY_LIMIT: Duration = Duration::from_secs(10);

/// A director, or what users have instead of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dut {
    Pollvsd(Method),
    /// Clients speak to the servers' own addresses.
    Routing,
    Nft,
    HaProxy,
    Nginx,
}

/// A dut at work. What it changed in the director's namespace is undone when dropped.
pub(super) struct Running<'lab> {
    lab: &'lab Lab,
    /// Whom clients speak to.
    pub(super) targets: Vec<Ipv4Addr>,
    work: Work,
}

enum Work {
    Pollvsd(Daemon),
    Kernel,
    Proxy(Service),
}

impl Dut {
    pub(super) const ALL: [Self; 6] = [
        Self::Pollvsd(Method::Nat),
        Self::Pollvsd(Method::Direct),
        Self::Routing,
        Self::Nft,
        Self::HaProxy,
        Self::Nginx,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pollvsd(Method::Nat) => "pollvsd nat",
            Self::Pollvsd(_) => "pollvsd dr",
            Self::Routing => "kernel routing",
            Self::Nft => "nft dnat",
            Self::HaProxy => "haproxy tcp",
            Self::Nginx => "nginx stream",
        }
    }

    /// Ours only.
    pub(super) fn method(self) -> Option<&'static str> {
        match self {
            Self::Pollvsd(Method::Nat) => Some("nat"),
            Self::Pollvsd(_) => Some("dr"),
            _ => None,
        }
    }

    /// Whether it forwards packets; the others forward what is in connections.
    pub(super) fn forwards_udp(self) -> bool {
        matches!(self, Self::Pollvsd(_) | Self::Routing | Self::Nft)
    }

    /// What the machine lacks for it.
    pub(super) fn lack(self) -> Option<String> {
        let installed = |tool| requirements::installed(&[tool]).err().map(|e| format!("{e:#}"));
        match self {
            Self::Pollvsd(_) | Self::Routing => None,
            Self::Nft => installed(("nft", "nftables")),
            Self::HaProxy => installed(("haproxy", "haproxy")),
            Self::Nginx if Path::new(STREAM).exists() => None,
            Self::Nginx => {
                Some("no nginx stream module (Debian package libnginx-mod-stream)".into())
            }
        }
    }

    /// Starts it in the director's namespace and sees that it reaches every server.
    pub(super) fn start(self, lab: &Lab) -> Result<Running<'_>> {
        let method = if let Self::Pollvsd(method) = self { method } else { Method::Nat };
        lab.set_method(method)?;
        let servers: Vec<Ipv4Addr> = lab.servers().iter().map(RealServer::address).collect();
        // From here on what is done is also undone.
        let targets = if self == Self::Routing { servers.clone() } else { vec![VIP] };
        let mut running = Running { lab, targets, work: Work::Kernel };
        match self {
            Self::Pollvsd(method) => running.work = Work::Pollvsd(pollvsd(lab, method, &servers)?),
            Self::Routing => {
                running.own_addresses()?;
                for server in servers {
                    let route = format!("route replace {server} via {DIRECTOR_OUTSIDE} dev c0");
                    lab.client().ip(&route)?;
                }
            }
            Self::Nft => {
                running.own_addresses()?;
                nft(lab, &nft_rules(&servers))?;
            }
            Self::HaProxy => {
                running.own_addresses()?;
                let config = lab.directory().join("haproxy.cfg");
                fs::write(&config, haproxy_config(&servers))?;
                let mut command = lab.director().lasting_command("haproxy");
                command.args(["-db", "-f"]).arg(config);
                running.work = Work::Proxy(Service::start("haproxy", &mut command, &lab.logs())?);
            }
            Self::Nginx => {
                running.own_addresses()?;
                let prefix = lab.directory().join("stream");
                fs::create_dir_all(&prefix)?;
                let (config, errors) = (prefix.join("nginx.conf"), lab.logs().join("stream.log"));
                fs::write(&config, nginx_config(&servers, &errors))?;
                let mut command = lab.director().lasting_command("nginx");
                command.arg("-p").arg(&prefix).arg("-c").arg(&config).arg("-e").arg(&errors);
                running.work = Work::Proxy(Service::start("stream", &mut command, &lab.logs())?);
            }
        }
        if let Err(error) = load::reaches_all(lab, &running.targets, READY_LIMIT) {
            bail!("{error:#}\n{}", running.said());
        }
        Ok(running)
    }
}

impl Running<'_> {
    /// What it has written.
    pub(super) fn said(&self) -> String {
        match &self.work {
            Work::Pollvsd(daemon) => said(daemon.service()),
            Work::Kernel => String::new(),
            Work::Proxy(service) => said(service),
        }
    }

    /// Makes the director's kernel a router that also owns the virtual address.
    fn own_addresses(&self) -> Result<()> {
        let director = self.lab.director();
        director.ip(&format!("addr replace {DIRECTOR_OUTSIDE}/16 dev d0"))?;
        director.ip(&format!("addr replace {VIP}/32 dev d0"))?;
        director.ip(&format!("addr replace {DIRECTOR_INSIDE}/16 dev d1"))?;
        director.set("ipv4/ip_forward", "1")
    }

    fn undo(&self) -> Result<()> {
        let director = self.lab.director();
        director.set("ipv4/ip_forward", "0")?;
        for link in ["d0", "d1"] {
            director.ip(&format!("addr flush dev {link}"))?;
            // AF_XDP leaves its program behind when the daemon is killed.
            director.ip(&format!("link set {link} xdp off"))?;
        }
        if requirements::installed(&[("nft", "nftables")]).is_ok() {
            nft(self.lab, "flush ruleset\n")?;
        }
        for server in self.lab.servers() {
            // Only routing has these.
            let _ = self.lab.client().ip(&format!("route del {} dev c0", server.address()));
        }
        Ok(())
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // The program first: it uses the addresses.
        self.work = Work::Kernel;
        if let Err(error) = self.undo() {
            progress(&format!("veth: the director's namespace is not as it was: {error:#}"));
        }
    }
}

fn pollvsd(lab: &Lab, method: Method, servers: &[Ipv4Addr]) -> Result<Daemon> {
    // `yield`: client and servers need the cores too.
    let arguments = format!(
        "--connections 262144 --idle yield --port d0 --address {DIRECTOR_OUTSIDE}/16 \
         --port d1 --address {DIRECTOR_INSIDE}/16"
    );
    let mut rules = Vec::new();
    for protocol in ["-t", "-u"] {
        rules.push(format!("-A {protocol} {VIP}:80 -s rr"));
        for server in servers {
            rules.push(format!("-a {protocol} {VIP}:80 -r {server}:80 {}", method.flag()));
        }
    }
    let rules = format!("rules = {rules:?}\n");
    Daemon::start(arguments.split_whitespace(), &rules, Some(lab.director()), &lab.logs())
}

fn nft(lab: &Lab, text: &str) -> Result<()> {
    let file = lab.directory().join("rules.nft");
    fs::write(&file, text)?;
    must(lab.director().command("nft").arg("-f").arg(file), LIMIT)?;
    Ok(())
}

fn nft_rules(servers: &[Ipv4Addr]) -> String {
    let map: Vec<_> = servers.iter().enumerate().map(|(n, s)| format!("{n} : {s}")).collect();
    let (count, map) = (servers.len(), map.join(", "));
    let rule = |protocol: &str| {
        format!(
            "ip daddr {VIP} {protocol} dport 80 dnat to numgen inc mod {count} map {{ {map} }}\n"
        )
    };
    format!(
        "table ip balance {{\n chain prerouting {{\n  type nat hook prerouting priority -100;\n  \
         {}  {} }}\n}}\n",
        rule("tcp"),
        rule("udp")
    )
}

fn haproxy_config(servers: &[Ipv4Addr]) -> String {
    let lines: String =
        servers.iter().map(|server| format!("    server {server} {server}:80\n")).collect();
    format!(
        "global
    nbthread 1
    maxconn 4000
defaults
    mode tcp
    timeout connect 5s
    timeout client 30s
    timeout server 30s
listen balance
    bind {VIP}:80
    balance roundrobin
{lines}"
    )
}

fn nginx_config(servers: &[Ipv4Addr], errors: &Path) -> String {
    let lines: String = servers.iter().map(|server| format!("  server {server}:80;\n")).collect();
    format!(
        "load_module {STREAM};
daemon off;
master_process off;
user root;
pid nginx.pid;
error_log {};
events {{ worker_connections 8192; }}
stream {{
 upstream balance {{
{lines} }}
 server {{ listen {VIP}:80 backlog=4096; proxy_pass balance; }}
}}
",
        errors.display()
    )
}
