//! The kernel's files under a folder laid out like `/proc`, for programs that read those.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ctl::backend::Backend;
use ctl::print::proc;
use dataplane::refusal::Refusal;

use crate::claim::Claim;
use crate::say::complain;

use super::{Handle, Remote};

/// How old a file may be.
const PERIOD: Duration = Duration::from_secs(1);
/// At most one part in so many of the time goes into the connections' files: they are older when
/// there are very many connections, but no older than [`LONGEST`].
const SHARE: u32 = 50;
const LONGEST: Duration = Duration::from_secs(10);

/// The folder, emptied when dropped.
#[derive(Debug)]
pub struct Files {
    net: PathBuf,
    /// Whether the files are to be gone. Locked while they are written.
    over: Arc<Mutex<bool>>,
    _claim: Claim,
}

/// Every file, with what it shows.
const NAMES: [&str; 5] =
    ["ip_vs", "ip_vs_stats", "ip_vs_stats_percpu", "ip_vs_conn", "ip_vs_conn_sync"];

/// A file on its way to its name.
const NEW: &str = ".new";

impl Files {
    /// Makes the folder `proc/net` in `run`, for this daemon alone.
    ///
    /// # Errors
    /// In words for the user.
    pub fn claim(run: &Path) -> Result<Self, String> {
        let net = run.join("proc/net");
        let shown = net.display();
        let advice = "choose another --run, or --run none to have no such files";
        let failed = |error: io::Error| format!("files in {shown}: {error}; {advice}");
        fs::create_dir_all(&net).map_err(failed)?;
        match Claim::of(&run.join("proc")).map_err(failed)? {
            Some(claim) => Ok(Self { net, over: Arc::default(), _claim: claim }),
            None => Err(format!("another pollvsd writes files in {shown}: {advice}")),
        }
    }

    /// Keeps the files fresh from now on, on a thread of its own, until control has ended.
    ///
    /// # Errors
    /// When the system has no thread left. Files that cannot be written are complained about.
    pub fn keep_fresh(&self, control: Handle) -> Result<(), String> {
        let mut writer = Writer {
            net: self.net.clone(),
            over: Arc::clone(&self.over),
            back_end: Remote::new(control, None),
            written: Default::default(),
            connections_due: Instant::now(),
            error: None,
        };
        writer.go_on();
        let run = move || {
            let mut due = Instant::now();
            loop {
                due = (due + PERIOD).max(Instant::now());
                thread::sleep(due - Instant::now());
                if !writer.go_on() {
                    return;
                }
            }
        };
        thread::Builder::new()
            .name("control-files".into())
            .spawn(run)
            .map(drop)
            .map_err(|error| error.to_string())
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // Files of a daemon that has ended would tell of the past. The writer is done for good.
        let mut over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        *over = true;
        for name in NAMES.into_iter().chain([NEW]) {
            let _ = fs::remove_file(self.net.join(name));
        }
        let _ = fs::remove_dir(&self.net);
        let _ = self.net.parent().map(fs::remove_dir);
    }
}

struct Writer {
    net: PathBuf,
    over: Arc<Mutex<bool>>,
    back_end: Remote,
    /// Hash of what is in each file.
    written: [Option<u64>; NAMES.len()],
    connections_due: Instant,
    /// The last complaint, so that it is made once.
    error: Option<String>,
}

impl Writer {
    /// One turn; false when control has ended.
    fn go_on(&mut self) -> bool {
        let error = match self.turn() {
            Ok(still) if !still => return false,
            Ok(_) => None,
            Err(error) => Some(error.to_string()),
        };
        if error != self.error {
            let what = error.as_deref().unwrap_or("written again");
            complain(format_args!("pollvsd: files in {}: {what}", self.net.display()));
            self.error = error;
        }
        true
    }

    /// Writes what has changed; false when control has ended, or the files are to be gone.
    fn turn(&mut self) -> io::Result<bool> {
        match self.texts() {
            Ok(texts) => {
                let over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
                if *over {
                    return Ok(false);
                }
                for (place, text) in texts.into_iter().enumerate() {
                    let Some(text) = text else { continue };
                    let hash = Some(hash(&text));
                    let path = self.net.join(NAMES[place]);
                    if hash == self.written[place] && path.exists() {
                        continue;
                    }
                    let new = self.net.join(NEW);
                    fs::create_dir_all(&self.net)?;
                    fs::write(&new, &text)?;
                    fs::rename(&new, path)?;
                    self.written[place] = hash;
                }
                Ok(true)
            }
            Err(_) => Ok(false),
        }
    }

    /// What the files are to hold; `None` for those that are not due.
    fn texts(&mut self) -> Result<[Option<String>; NAMES.len()], Refusal> {
        let back_end = &mut self.back_end;
        let services = proc::ip_vs(&back_end.table()?);
        let totals = back_end.totals()?;
        let started = Instant::now();
        let mut connections = [None, None];
        if started >= self.connections_due {
            let rows = back_end.connections()?;
            connections = [proc::ip_vs_conn(&rows), proc::ip_vs_conn_sync(&rows)].map(Some);
            let pause = (started.elapsed() * SHARE).min(LONGEST);
            self.connections_due = Instant::now() + pause;
        }
        let [connections, sync] = connections;
        Ok([
            Some(services),
            Some(proc::ip_vs_stats(&totals)),
            Some(proc::ip_vs_stats_percpu(&totals)),
            connections,
            sync,
        ])
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
