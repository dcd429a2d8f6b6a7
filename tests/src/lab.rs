//! The whole laboratory: who is connected to whom, and how the servers answer.

use std::fmt;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::namespace::{Namespace, remove_abandoned};
use crate::server::RealServer;

/// The virtual address; the client believes it to be on its own link.
pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 9, 255, 1);
/// The virtual service of most tests.
pub const SERVICE: &str = "10.9.255.1:80";
/// The client's address on the director's side.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 7);
/// The client's address on the servers' side: the router for answers that skip the director.
pub const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 254);
/// The director's own address towards the client. The daemon owns it, the kernel must not.
pub const DIRECTOR_OUTSIDE: Ipv4Addr = Ipv4Addr::new(10, 9, 255, 254);
/// The director's own address towards the servers, likewise.
pub const DIRECTOR_INSIDE: Ipv4Addr = Ipv4Addr::new(10, 1, 255, 254);

/// The address of the director's kernel towards the servers, where a test wants one.
pub const MANAGEMENT: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 250);

/// The director's IPv6 addresses towards the client and towards the servers.
pub const DIRECTOR_IPV6: (&str, &str) = ("2001:db8:9::fffe", "2001:db8:1::fffe");

/// How requests reach a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Address translation, both ways through the director.
    Nat,
    /// IP in IP to the server, which answers the client by itself.
    Tunnel,
    /// The frame goes on with the server's MAC address; the server answers by itself.
    Direct,
}

impl Method {
    /// All of them, in the order of the demo.
    pub const ALL: [Self; 3] = [Self::Nat, Self::Tunnel, Self::Direct];

    /// The option of `pollvsadm -a`.
    #[must_use]
    pub fn flag(self) -> &'static str {
        match self {
            Self::Nat => "-m",
            Self::Tunnel => "-i",
            Self::Direct => "-g",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Nat => "nat",
            Self::Tunnel => "tunnel",
            Self::Direct => "direct",
        })
    }
}

impl FromStr for Method {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match Self::ALL.into_iter().find(|method| method.to_string() == text) {
            Some(method) => Ok(method),
            None => bail!("unknown method {text}"),
        }
    }
}

/// The laboratory. Fields are dropped in order: programs, then namespaces, then files.
#[derive(Debug)]
pub struct Lab {
    servers: Vec<RealServer>,
    client: Namespace,
    director: Namespace,
    /// Holds the bridge.
    switch: Namespace,
    directory: TempDir,
}

impl Lab {
    /// Builds everything and starts the web servers, with NAT as the method.
    ///
    /// # Errors
    /// When the machine lacks something ([`crate::requirements`] tells beforehand), or on a signal.
    pub fn new() -> Result<Self> {
        remove_abandoned();
        let directory = tempfile::Builder::new().prefix("pollvs-lab-").tempdir()?;
        fs::create_dir(directory.path().join("logs"))?;
        let client = Namespace::new("client")?;
        let director = Namespace::new("director")?;
        let switch = Namespace::new("switch")?;
        switch.ip("link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0")?;
        switch.ip("link set br0 up")?;

        client.ip(&format!("link add c0 type veth peer name d0 netns {}", director.name()))?;
        for (namespace, link) in [(&client, "c0"), (&director, "d0")] {
            namespace.plain_frames(link)?;
            namespace.ip(&format!("link set {link} up"))?;
        }
        plug(&switch, "br0", "to-d1", &director, "d1")?;
        plug(&switch, "br0", "to-c1", &client, "c1")?;
        client.ip(&format!("addr add {CLIENT}/16 dev c0"))?;
        client.ip(&format!("addr add {ROUTER}/16 dev c1"))?;
        // Both legs of the client answer for their own address only.
        client.set("ipv4/conf/all/arp_ignore", "1")?;
        client.set("ipv4/conf/all/arp_announce", "2")?;
        client.set("ipv4/ip_forward", "1")?;
        director.set("ipv4/ip_forward", "0")?;

        let mut servers = Vec::new();
        for (name, last) in [("rs1", 1), ("rs2", 2)] {
            let namespace = Namespace::new(name)?;
            plug(&switch, "br0", &format!("to-{name}"), &namespace, "eth0")?;
            let address = Ipv4Addr::new(10, 1, 0, last);
            servers.push(RealServer::start(name, address, namespace, directory.path())?);
        }
        let lab = Self { servers, client, director, switch, directory };
        lab.set_method(Method::Nat)?;
        Ok(lab)
    }

    /// Makes the servers answer as `method` wants it.
    ///
    /// # Errors
    /// When `ip` says no or the decapsulator does not start.
    pub fn set_method(&self, method: Method) -> Result<()> {
        let logs = self.logs();
        for server in &self.servers {
            server.set_method(method, &logs).with_context(|| format!("{method}"))?;
        }
        Ok(())
    }

    /// Gives the director's namespace a link `m0` of its own to the servers, for programs that
    /// check them: the daemon owns `d1`, so the kernel reaches nobody through it.
    ///
    /// # Errors
    /// When `ip` says no.
    pub fn add_management_link(&self) -> Result<()> {
        // Only `m0` answers for its address; the daemon's ports keep theirs.
        self.director.set("ipv4/conf/all/arp_ignore", "1")?;
        self.director.set("ipv4/conf/all/arp_announce", "2")?;
        plug(&self.switch, "br0", "to-m0", &self.director, "m0")?;
        self.director.ip(&format!("addr add {MANAGEMENT}/16 dev m0"))?;
        Ok(())
    }

    /// One more server on the switch, which is not among [`Lab::servers`].
    ///
    /// # Errors
    /// When `ip` or nginx fails.
    pub fn add_server(&self, name: &str, address: Ipv4Addr, method: Method) -> Result<RealServer> {
        let namespace = Namespace::new(name)?;
        plug(&self.switch, "br0", &format!("to-{name}"), &namespace, "eth0")?;
        let server = RealServer::start(name, address, namespace, self.directory())?;
        server.set_method(method, &self.logs())?;
        Ok(server)
    }

    /// The real servers.
    #[must_use]
    pub fn servers(&self) -> &[RealServer] {
        &self.servers
    }

    /// The client's namespace.
    #[must_use]
    pub fn client(&self) -> &Namespace {
        &self.client
    }

    /// The director's namespace.
    #[must_use]
    pub fn director(&self) -> &Namespace {
        &self.director
    }

    /// The switch's namespace; its bridge `br0` is the servers' network.
    #[must_use]
    pub fn switch(&self) -> &Namespace {
        &self.switch
    }

    /// A directory that lives as long as the lab; sockets and files of tests go here.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Where the output of every program goes.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.directory().join("logs")
    }

    /// What the programs wrote so far, with a headline per file, for a failed test.
    #[must_use]
    pub fn captured(&self) -> String {
        let mut names: Vec<PathBuf> = match fs::read_dir(self.logs()) {
            Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).collect(),
            Err(error) => return format!("(no logs: {error})"),
        };
        names.sort();
        let mut text = String::new();
        for path in names {
            let content = fs::read(&path).unwrap_or_default();
            if !content.is_empty() {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                text += &format!("--- {name}\n{}", String::from_utf8_lossy(&content));
                text += if content.ends_with(b"\n") { "" } else { "\n" };
            }
        }
        text
    }
}

/// A cable from a bridge of the switch to `namespace`.
pub(crate) fn plug(
    switch: &Namespace,
    bridge: &str,
    port: &str,
    namespace: &Namespace,
    link: &str,
) -> Result<()> {
    let far = namespace.name();
    switch.ip(&format!("link add {port} type veth peer name {link} netns {far}"))?;
    switch.plain_frames(port)?;
    namespace.plain_frames(link)?;
    switch.ip(&format!("link set {port} master {bridge} up"))?;
    namespace.ip(&format!("link set {link} up"))?;
    Ok(())
}
