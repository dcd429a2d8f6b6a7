//! The control socket: accepts clients and serves each on a thread of its own.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;
use std::{error, fmt};

use ctl::names::SystemNames;

use super::deadline::Deadline;
use super::{Handle, Remote};

/// Clients served at once; more wait in the listen queue.
const CLIENTS: usize = 256;
/// How long a client may take to send a request or to take a reply.
const PATIENCE: Duration = Duration::from_secs(10);
/// Who may talk to the daemon: owner and group.
const MODE: u32 = 0o660;
/// Who may open the lock file, and with it keep a daemon from starting.
const LOCK_MODE: u32 = 0o600;

/// The control socket, removed when dropped.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    listener: UnixListener,
    /// Held as long as the daemon lives, so that only one has the socket; the kernel lets go of
    /// it however the daemon ends.
    _lock: File,
}

/// Why there is no control socket.
#[derive(Debug)]
pub enum SocketError {
    /// Another daemon has it.
    Taken(PathBuf),
    /// Something that is no socket has its name.
    NoSocket(PathBuf),
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
            Self::Io(path, error) => write!(f, "control socket {}: {error}", path.display()),
        }
    }
}

impl error::Error for SocketError {}

impl ControlSocket {
    /// Binds the socket; one left over from a daemon that was killed is replaced.
    ///
    /// # Errors
    /// When another daemon has it, or the system refuses.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let failed = |error| SocketError::Io(path.to_owned(), error);
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let mut lock_path = path.as_os_str().to_owned();
        lock_path.push(".lock");
        let mut options = File::options();
        let lock = options.create(true).append(true).mode(LOCK_MODE).open(&lock_path);
        let lock = lock.map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(SocketError::Taken(path.to_owned())),
            Err(fs::TryLockError::Error(error)) => return Err(failed(error)),
        }
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(SocketError::NoSocket(path.to_owned()));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        // It has its mode before it has its name, so that nobody gets in between.
        let nameless = path.with_file_name(format!(".{}", std::process::id()));
        let _ = fs::remove_file(&nameless);
        let listener = UnixListener::bind(&nameless).map_err(failed)?;
        fs::set_permissions(&nameless, Permissions::from_mode(MODE))
            .and_then(|()| fs::rename(&nameless, path))
            .inspect_err(|_| drop(fs::remove_file(&nameless)))
            .map_err(failed)?;
        Ok(Self { path: path.to_owned(), listener, _lock: lock })
    }

    /// Serves clients on threads of their own from now on.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn serve(&self, control: Handle) -> io::Result<()> {
        let listener = self.listener.try_clone()?;
        thread::Builder::new().name("control-accept".into()).spawn(move || {
            let clients = Arc::new(AtomicUsize::new(0));
            for stream in listener.incoming() {
                while clients.load(Ordering::Acquire) >= CLIENTS {
                    thread::sleep(Duration::from_millis(5));
                }
                let Ok(stream) = stream else {
                    thread::sleep(Duration::from_millis(5)); // out of file descriptors, say
                    continue;
                };
                clients.fetch_add(1, Ordering::Release);
                let control = control.clone();
                let left = Arc::clone(&clients);
                let serve = move || {
                    // A client that went away or was too slow has itself to blame.
                    let _ = serve_client(stream, control);
                    left.fetch_sub(1, Ordering::Release);
                };
                if thread::Builder::new().name("control-client".into()).spawn(serve).is_err() {
                    clients.fetch_sub(1, Ordering::Release);
                }
            }
        })?;
        Ok(())
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // Gone already when somebody removed it by hand.
        let _ = fs::remove_file(&self.path);
    }
}

fn serve_client(stream: UnixStream, control: Handle) -> io::Result<()> {
    let stream = Deadline::new(stream, PATIENCE);
    ctl::protocol::serve(stream, &mut Remote::new(control), &SystemNames::new())
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
        assert!(matches!(ControlSocket::bind(&path), Err(SocketError::NoSocket(_))));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        fs::remove_file(&path).unwrap();
        // What a killed daemon leaves behind.
        drop(UnixListener::bind(&path).unwrap());
        let socket = ControlSocket::bind(&path).unwrap();
        assert_eq!((mode(&path), mode(&folder.join("s.lock"))), (MODE, LOCK_MODE));
        assert!(matches!(ControlSocket::bind(&path), Err(SocketError::Taken(_))));
        drop(socket);
        assert!(!path.exists());
        let left: Vec<_> =
            fs::read_dir(&folder).unwrap().flatten().map(|f| f.file_name()).collect();
        assert_eq!(left, ["s.lock"]);
        fs::remove_dir_all(&folder).unwrap();
    }
}
