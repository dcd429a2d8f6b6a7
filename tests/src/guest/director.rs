//! A director, the kernel's or ours, as the cases see it.

use std::fmt;
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::rc::Rc;

use anyhow::{Context, Result, ensure};

use crate::daemon::{Daemon, add_ports, command};
use crate::guest::Guest;
use crate::guest::topology::Leg;
use crate::lab::Lab;
use crate::requirements::Binaries;

/// What a sync daemon does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It sends.
    Master,
    /// It receives.
    Backup,
}

impl fmt::Display for Role {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Master => "master",
            Self::Backup => "backup",
        })
    }
}

/// A director with legs in the networks of the clients, of the servers, and of the sync messages.
pub trait Director {
    /// For messages.
    fn name(&self) -> String;

    /// Runs its `ipvsadm`, which has to succeed, with arguments separated by blanks.
    ///
    /// # Errors
    /// When it fails.
    fn admin(&self, arguments: &str) -> Result<String>;

    /// Adds services and servers by lines as of `ipvsadm -S`.
    ///
    /// # Errors
    /// When one is refused.
    fn restore(&self, lines: &str) -> Result<()>;

    /// Sets `net.ipv4.vs.KEY`.
    ///
    /// # Errors
    /// When there is no such setting.
    fn set(&self, key: &str, value: i32) -> Result<()>;

    /// Has TCP packets to this port carry a firewall mark.
    ///
    /// # Errors
    /// When that fails.
    fn mark(&self, port: u16, mark: u32) -> Result<()>;

    /// Its MAC address on the clients' or the servers' network.
    ///
    /// # Errors
    /// When it cannot be read.
    fn mac(&self, leg: Leg) -> Result<String>;

    /// The interface to the sync network.
    fn sync_link(&self) -> &'static str;

    /// Its address.
    fn sync_address(&self) -> Ipv4Addr;

    /// The content of `/proc/net/ip_vs_conn_sync`.
    ///
    /// # Errors
    /// When it cannot be read.
    fn conn_sync(&self) -> Result<String>;

    /// From now on it forwards nothing, and says nothing to anybody.
    ///
    /// # Errors
    /// When it cannot be stopped.
    fn crash(&mut self) -> Result<()>;

    /// Starts a sync daemon, with more options.
    ///
    /// # Errors
    /// When that fails.
    fn start_sync(&self, role: Role, sync_id: u8, more: &str) -> Result<()> {
        let link = self.sync_link();
        let more = more.trim();
        self.admin(
            format!("--start-daemon {role} --mcast-interface {link} --syncid {sync_id} {more}")
                .trim(),
        )?;
        Ok(())
    }
}

impl Director for Rc<Guest> {
    fn name(&self) -> String {
        format!("the kernel in guest {}", self.number())
    }

    fn admin(&self, arguments: &str) -> Result<String> {
        self.must(&format!("ipvsadm {arguments}"))
    }

    fn restore(&self, lines: &str) -> Result<()> {
        // It succeeds even where it refuses a line, and is silent only where it does not.
        let told = self.must(&format!("ipvsadm -R <<END\n{lines}\nEND"))?;
        ensure!(told.is_empty(), "ipvsadm -R: {told}");
        Ok(())
    }

    fn set(&self, key: &str, value: i32) -> Result<()> {
        self.must(&format!("sysctl -w net.ipv4.vs.{key}={value}"))?;
        Ok(())
    }

    fn mark(&self, port: u16, mark: u32) -> Result<()> {
        self.must(&format!(
            "iptables-legacy -t mangle -A PREROUTING -p tcp --dport {port} -j MARK --set-mark {mark}"
        ))?;
        Ok(())
    }

    fn mac(&self, leg: Leg) -> Result<String> {
        let nic = match leg {
            Leg::Outside => 0,
            Leg::Inside => 1,
        };
        Ok(format!("52:54:00:1b:{:02x}:{nic:02x}", self.number()))
    }

    fn sync_link(&self) -> &'static str {
        "eth2"
    }

    fn sync_address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, 253 - self.number())
    }

    fn conn_sync(&self) -> Result<String> {
        self.must("cat /proc/net/ip_vs_conn_sync")
    }

    fn crash(&mut self) -> Result<()> {
        self.must("for link in eth0 eth1 eth2; do ip link set $link down; done")?;
        Ok(())
    }
}

/// Our director in the lab's namespace for it.
#[derive(Debug)]
pub struct Ours<'lab> {
    lab: &'lab Lab,
    daemon: Daemon<'lab>,
    run: PathBuf,
}

impl<'lab> Ours<'lab> {
    /// Starts the daemon, with the files like those of `/proc`.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub fn start(lab: &'lab Lab, binaries: &Binaries) -> Result<Self> {
        let (socket, run) = (lab.directory().join("control.sock"), lab.directory().join("run"));
        let mut command = command(lab, binaries, &socket, 1);
        add_ports(&mut command).arg("--run").arg(&run);
        let daemon = Daemon::start_by(lab, binaries, &socket, &mut command)?;
        Ok(Self { lab, daemon, run })
    }
}

impl Director for Ours<'_> {
    fn name(&self) -> String {
        "ours".to_owned()
    }

    fn admin(&self, arguments: &str) -> Result<String> {
        self.daemon.control().must(arguments)
    }

    fn restore(&self, lines: &str) -> Result<()> {
        let finished = self.daemon.control().run_with_input("-R", &format!("{lines}\n"))?;
        let told = finished.out() + &finished.err();
        ensure!(finished.status.success() && told.is_empty(), "pollvsadm -R: {told}");
        Ok(())
    }

    fn set(&self, key: &str, value: i32) -> Result<()> {
        self.daemon.control().must(&format!("--sysctl {key}={value}"))?;
        Ok(())
    }

    fn mark(&self, port: u16, mark: u32) -> Result<()> {
        let words = format!("mark -A -p tcp --dport {port} --set-mark {mark}");
        self.daemon.control().must(&words)?;
        Ok(())
    }

    fn mac(&self, leg: Leg) -> Result<String> {
        let link = match leg {
            Leg::Outside => "d0",
            Leg::Inside => "d1",
        };
        let shown = self.lab.director().ip(&format!("-o link show dev {link}"))?;
        let mut words = shown.split_whitespace().skip_while(|word| *word != "link/ether");
        Ok(words.nth(1).context("no MAC address")?.to_owned())
    }

    fn sync_link(&self) -> &'static str {
        "s0"
    }

    fn sync_address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, 1)
    }

    fn conn_sync(&self) -> Result<String> {
        let path = self.run.join("proc/net/ip_vs_conn_sync");
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    }

    fn crash(&mut self) -> Result<()> {
        self.daemon.kill();
        Ok(())
    }
}
