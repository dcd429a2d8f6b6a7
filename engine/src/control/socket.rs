//! The control socket: accepts clients and serves each on a thread of its own.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;
use std::{error, fmt};

use nix::sys::socket::{Backlog, listen};

use crate::claim::Claim;

use super::clients::Clients;
use super::deadline::Deadline;

/// How long a client may take to send a request or to take a reply.
const PATIENCE: Duration = Duration::from_secs(10);
/// Clients that wait to be let in. Each 256 that say nothing cost the next one 100 ms.
const QUEUE: i32 = 1024;
/// Who may talk to the daemon: its owner, and a group if one is named.
const OWNER: u32 = 0o600;
const OWNER_AND_GROUP: u32 = 0o660;

/// The control socket, removed when dropped.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    listener: UnixListener,
    _claim: Claim,
}

/// Why there is no control socket.
#[derive(Debug)]
pub enum SocketError {
    /// Another daemon has it.
    Taken(PathBuf),
    /// Something that is no socket has its name.
    NoSocket(PathBuf),
    /// There is no such group.
    NoGroup(String),
    /// The system refused.
    Io(PathBuf, io::Error),
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken(path) => write!(
                f,
                "another pollvsd serves {}: stop it, or choose another --socket",
                path.display()
            ),
            Self::NoSocket(path) => write!(
                f,
                "{} is there and is no socket: remove it, or choose another --socket",
                path.display()
            ),
            Self::NoGroup(group) => write!(f, "there is no group {group:?} for the control socket"),
            Self::Io(path, error) => write!(f, "control socket {}: {error}", path.display()),
        }
    }
}

impl error::Error for SocketError {}

impl ControlSocket {
    /// Binds the socket, for the daemon's user and a group; one left over from a daemon that was killed is
    /// replaced.
    ///
    /// # Errors
    /// When another daemon has it, there is no such group, or the system refuses.
    pub fn bind(path: &Path, group: Option<&str>) -> Result<Self, SocketError> {
        let group = match group {
            Some(name) => {
                Some(group_id(name).ok_or_else(|| SocketError::NoGroup(name.to_owned()))?)
            }
            None => None,
        };
        let failed = |error| SocketError::Io(path.to_owned(), error);
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let claim = Claim::of(path).map_err(failed)?;
        let claim = claim.ok_or_else(|| SocketError::Taken(path.to_owned()))?;
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(SocketError::NoSocket(path.to_owned()));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        // It has its group and mode before anybody can reach it, whatever the umask says.
        let hidden = path.with_file_name(format!(".{}", std::process::id()));
        let _ = fs::remove_dir_all(&hidden);
        DirBuilder::new().mode(0o700).create(&hidden).map_err(failed)?;
        let listener = Self::bind_in(&hidden, path, group);
        let _ = fs::remove_dir_all(&hidden);
        Ok(Self { path: path.to_owned(), listener: listener.map_err(failed)?, _claim: claim })
    }

    /// Binds in a folder of our own, and moves the socket to its name.
    fn bind_in(hidden: &Path, path: &Path, group: Option<u32>) -> io::Result<UnixListener> {
        let nameless = hidden.join("s");
        let listener = UnixListener::bind(&nameless)?;
        listen(&listener, Backlog::new(QUEUE)?)?;
        let mode = if group.is_some() { OWNER_AND_GROUP } else { OWNER };
        if group.is_some() {
            chown(&nameless, None, group)?;
        }
        fs::set_permissions(&nameless, Permissions::from_mode(mode))?;
        fs::rename(&nameless, path)?;
        Ok(listener)
    }

    /// Serves clients on threads of their own from now on, each by `serve`.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn serve(
        &self,
        serve: impl Fn(Deadline) -> io::Result<()> + Clone + Send + 'static,
    ) -> io::Result<()> {
        let listener = self.listener.try_clone()?;
        let accept = move || {
            let clients = Clients::default();
            for stream in listener.incoming() {
                let Ok(stream) = stream else {
                    thread::sleep(Duration::from_millis(5)); // out of file descriptors, say
                    continue;
                };
                let Ok(client) = clients.admit(&stream) else { continue };
                let serve = serve.clone();
                let work = move || {
                    // A client that went away or was too slow has itself to blame.
                    let _ = serve(Deadline::new(stream, PATIENCE, client));
                };
                // Without a thread the client finds its connection closed.
                let _ = thread::Builder::new().name("control-client".into()).spawn(work);
            }
        };
        thread::Builder::new().name("control-accept".into()).spawn(accept).map(drop)
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // Gone already when somebody removed it by hand.
        let _ = fs::remove_file(&self.path);
    }
}

/// The number of a group, by name or as it is.
fn group_id(name: &str) -> Option<u32> {
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    let groups = fs::read_to_string("/etc/group").ok()?;
    let line = groups.lines().find(|line| line.split(':').next() == Some(name))?;
    line.split(':').nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn only_a_socket_is_replaced() {
        let folder = std::env::temp_dir().join(format!("pollvs-socket-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("s");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(ControlSocket::bind(&path, None), Err(SocketError::NoSocket(_))));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        fs::remove_file(&path).unwrap();
        // What a killed daemon leaves behind.
        drop(UnixListener::bind(&path).unwrap());
        let socket = ControlSocket::bind(&path, None).unwrap();
        assert_eq!((mode(&path), mode(&folder.join("s.lock"))), (OWNER, 0o600));
        assert!(matches!(ControlSocket::bind(&path, None), Err(SocketError::Taken(_))));
        drop(socket);
        assert!(!path.exists());
        let error = ControlSocket::bind(&path, Some("no such group")).unwrap_err();
        assert!(error.to_string().contains("no such group"), "{error}");
        assert_eq!((group_id("root"), group_id("4711")), (Some(0), Some(4711)));
        let left: Vec<_> =
            fs::read_dir(&folder).unwrap().flatten().map(|f| f.file_name()).collect();
        assert_eq!(left, ["s.lock"]);
        fs::remove_dir_all(&folder).unwrap();
    }
}
