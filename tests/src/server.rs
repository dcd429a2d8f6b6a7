//! A real server: nginx, the addresses and routes of its forwarding method, and the decapsulator.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::lab::{DIRECTOR_INSIDE, Method, ROUTER, VIP};
use crate::namespace::Namespace;
use crate::process::{Service, must};
use crate::requirements::own_binary;

const START_LIMIT: Duration = Duration::from_secs(10);

/// One web server with its namespace.
#[derive(Debug)]
pub struct RealServer {
    name: String,
    address: Ipv4Addr,
    /// Inside a cell: the method changes while a daemon holds on to the lab.
    decapsulator: RefCell<Option<Service>>,
    /// Likewise; none while the server plays dead.
    web: RefCell<Option<Service>>,
    namespace: Namespace,
    prefix: PathBuf,
}

impl RealServer {
    /// Gives `eth0` its address and starts nginx on port 80 of any address.
    ///
    /// # Errors
    /// When `ip` or nginx fails.
    pub fn start(
        name: &str,
        address: Ipv4Addr,
        namespace: Namespace,
        lab_directory: &Path,
    ) -> Result<Self> {
        namespace.ip(&format!("addr add {address}/16 dev eth0"))?;
        for link in ["all", "eth0"] {
            // Without these a direct server would answer ARP for the VIP on `lo`.
            namespace.set(&format!("ipv4/conf/{link}/arp_ignore"), "1")?;
            namespace.set(&format!("ipv4/conf/{link}/arp_announce"), "2")?;
        }
        let prefix = lab_directory.join(name);
        fs::create_dir(&prefix)?;
        let server = Self {
            name: name.to_owned(),
            address,
            decapsulator: RefCell::default(),
            web: RefCell::default(),
            namespace,
            prefix,
        };
        server.start_web()?;
        Ok(server)
    }

    /// Starts nginx, again after [`RealServer::stop_web`].
    ///
    /// # Errors
    /// When nginx fails.
    pub fn start_web(&self) -> Result<()> {
        let lab_directory = self.prefix.parent().context("no lab directory")?;
        let logs = lab_directory.join("logs");
        let errors = logs.join(format!("nginx-{}.log", self.name));
        let config = self.prefix.join("nginx.conf");
        fs::write(&config, nginx_config(&self.name, lab_directory, &errors))?;
        let mut command = self.namespace.lasting_command("nginx");
        command.arg("-p").arg(&self.prefix).arg("-c").arg(&config).arg("-e").arg(&errors);
        let mut web = Service::start(&format!("nginx-{}", self.name), &mut command, &logs)?;
        let listening = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 80);
        web.wait_until(START_LIMIT, |_| {
            matches!(self.namespace.enter(|| TcpStream::connect(listening)), Ok(Ok(_)))
        })
        .with_context(|| fs::read_to_string(&errors).unwrap_or_default())?;
        *self.web.borrow_mut() = Some(web);
        Ok(())
    }

    /// Stops nginx: from now on the server refuses connections.
    ///
    /// # Errors
    /// When it does not stop in time.
    pub fn stop_web(&self) -> Result<()> {
        if let Some(mut web) = self.web.borrow_mut().take() {
            web.stop()?;
        }
        Ok(())
    }

    /// Its name, which is also what it answers to `GET /`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its own address.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Its namespace.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Changes the way back to the client, the VIP on `lo`, and the decapsulator.
    ///
    /// # Errors
    /// When `ip` says no or the decapsulator does not start.
    pub fn set_method(&self, method: Method, logs: &Path) -> Result<()> {
        let mut decapsulator = self.decapsulator.borrow_mut();
        if method != Method::Tunnel {
            *decapsulator = None;
        }
        let gateway = if method == Method::Nat { DIRECTOR_INSIDE } else { ROUTER };
        self.namespace.ip(&format!("route replace 10.9.0.0/16 via {gateway}"))?;
        if method == Method::Nat {
            // Its one address with this prefix length; flushing what is not there is no error.
            self.namespace.ip(&format!("addr flush dev lo to {VIP}/32"))?;
        } else {
            self.namespace.ip(&format!("addr replace {VIP}/32 dev lo"))?;
        }
        if method == Method::Tunnel && decapsulator.is_none() {
            let mut command = self.namespace.lasting_command(own_binary("ipip-decap")?);
            let name = format!("ipip-decap-{}", self.name);
            let mut service = Service::start(&name, &mut command, logs)?;
            service.wait_until(START_LIMIT, |service| service.out().contains("ready"))?;
            self.namespace.ip("link set ipip0 up")?;
            *decapsulator = Some(service);
        }
        Ok(())
    }
}

/// Every path that nginx would take from the system is given, so that it writes below `-p` only.
fn nginx_config(name: &str, lab_directory: &Path, errors: &Path) -> String {
    let (directory, errors) = (lab_directory.display(), errors.display());
    format!(
        "daemon off;
# One process: what we started is what we stop.
master_process off;
user root;
pid nginx.pid;
error_log {errors};
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    sendfile on;
    server {{
        listen 80 backlog=4096;
        default_type text/plain;
        location = / {{
            # Answers with `Connection: close`: one request, one connection.
            keepalive_timeout 0;
            return 200 \"{name}\\n\";
        }}
        location = /big {{ alias {directory}/big; }}
    }}
}}
"
    )
}

/// Writes the file behind `/big` of all servers and returns its SHA-256.
///
/// Every 8 bytes hold their own offset: a lost, doubled or moved piece changes the sum.
///
/// # Errors
/// When the disk is full or `sha256sum` missing.
pub fn write_big_file(lab_directory: &Path, mebibytes: u64) -> Result<String> {
    let path = lab_directory.join("big");
    let mut file = BufWriter::with_capacity(1 << 20, File::create(&path)?);
    for offset in (0..mebibytes << 20).step_by(8) {
        file.write_all(&offset.to_le_bytes())?;
    }
    file.flush()?;
    drop(file);
    sha256(&path, Duration::from_secs(30 + mebibytes / 10))
}

/// The SHA-256 of a file, in hexadecimal.
///
/// # Errors
/// When it cannot be read within `limit`.
pub fn sha256(path: &Path, limit: Duration) -> Result<String> {
    let line = must(Command::new("sha256sum").arg(path), limit)?;
    Ok(line.split_whitespace().next().unwrap_or_default().to_owned())
}
