//! DPDK's environment: initialised once for the process.

use core::ffi::{CStr, c_char, c_int};
use core::fmt;
use std::ffi::CString;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use super::ffi;

/// Whether to use hugepages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Hugepages {
    /// When the machine has free ones.
    #[default]
    Auto,
    /// Always; starting fails without.
    Yes,
    /// Never.
    No,
}

/// How to initialise the environment.
#[derive(Clone, Debug)]
pub struct EalConfig {
    /// Whether to use hugepages.
    pub hugepages: Hugepages,
    /// Memory for frames, in MiB.
    pub memory: FrameMemory,
    /// PCI devices that may be used, by address.
    pub pci: Vec<String>,
}

/// Memory for frames in MiB, by where they lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameMemory {
    /// In hugepages.
    pub huge_mib: u32,
    /// In ordinary pages, which hold one frame each.
    pub ordinary_mib: u32,
}

/// Proof that the environment is initialised. It stays so until the process ends, which is soon
/// after the ports are closed: cleaning up would unmap frames that rings between workers still hold.
#[derive(Debug)]
pub struct Eal {
    hugepages: bool,
}

/// Why the environment could not be initialised.
#[derive(Debug)]
pub enum EalError {
    /// It was initialised before in this process; DPDK allows that once.
    Again,
    /// An argument holds a zero byte.
    Argument(String),
    /// DPDK refused.
    Init {
        /// DPDK's error text.
        error: String,
        /// Whether hugepages were asked for.
        hugepages: bool,
        /// Memory asked for, in MiB.
        memory_mib: u32,
    },
}

impl fmt::Display for EalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Again => write!(f, "DPDK can be initialised only once in a process"),
            Self::Argument(text) => write!(f, "zero byte in {text:?}"),
            Self::Init { error, hugepages: true, memory_mib } => write!(
                f,
                "DPDK does not start: {error}. Are {memory_mib} MiB of hugepages free (see \
                 /proc/meminfo)? Reserve some with 'sysctl vm.nr_hugepages=N', go without with \
                 --hugepages no, or need less with fewer --workers or ports"
            ),
            Self::Init { error, hugepages: false, memory_mib } => write!(
                f,
                "DPDK does not start: {error}. Are {memory_mib} MiB of memory free? Fewer --workers \
                 or ports need less"
            ),
        }
    }
}

impl std::error::Error for EalError {}

impl Eal {
    /// Initialises DPDK without files, telemetry or cores of its own: workers are our threads.
    ///
    /// # Errors
    /// When DPDK refuses, or was initialised before.
    pub fn init(config: &EalConfig) -> Result<Self, EalError> {
        static INITIALISED: AtomicBool = AtomicBool::new(false);
        let hugepages = match config.hugepages {
            Hugepages::Yes => true,
            Hugepages::No => false,
            Hugepages::Auto => free_hugepage_mib() >= u64::from(config.memory.huge_mib),
        };
        let memory = config.memory;
        let memory_mib = if hugepages { memory.huge_mib } else { memory.ordinary_mib };
        let arguments = arguments(config, hugepages, memory_mib)?;
        if INITIALISED.swap(true, Ordering::SeqCst) {
            return Err(EalError::Again);
        }
        // DPDK keeps pointers into its arguments and may reorder them: they live for ever.
        let mut pointers: Vec<*mut c_char> = arguments.into_iter().map(CString::into_raw).collect();
        let count = pointers.len() as c_int;
        pointers.push(core::ptr::null_mut());
        let pointers = pointers.leak();
        // SAFETY: a null-terminated array of `count` zero-terminated strings, alive for ever.
        let result = unsafe { ffi::pv_eal_init(count, pointers.as_mut_ptr()) };
        if result < 0 {
            return Err(EalError::Init { error: last_error(), hugepages, memory_mib });
        }
        Ok(Self { hugepages })
    }

    /// Cycles per second of the time stamp counter; `None` where there is none.
    #[must_use]
    pub fn tsc_hz(&self) -> Option<u64> {
        // SAFETY: the environment is initialised, and has measured it then.
        Some(unsafe { ffi::pv_tsc_hz() }).filter(|&hz| hz > 0)
    }

    /// Whether frames lie in hugepages.
    #[must_use]
    pub fn uses_hugepages(&self) -> bool {
        self.hugepages
    }
}

/// The words of DPDK's command line.
fn arguments(
    config: &EalConfig,
    hugepages: bool,
    memory_mib: u32,
) -> Result<Vec<CString>, EalError> {
    // One lcore that may run anywhere: otherwise DPDK pins the calling thread, and all threads
    // that it starts, to the first core.
    let cores: Vec<_> = core_affinity::get_core_ids()
        .unwrap_or_default()
        .iter()
        .map(|core| core.id.to_string())
        .collect();
    let mut words: Vec<String> =
        ["pollvsd", "--no-telemetry", "--log-level=*:error"].map(str::to_owned).into();
    words.push(format!("--lcores=0@({})", cores.join(",")));
    words.push(format!("-m{memory_mib}"));
    if hugepages {
        words.push("--in-memory".into());
    } else {
        words.extend(["--no-huge", "--no-shconf", "--iova-mode=va"].map(str::to_owned));
    }
    if config.pci.is_empty() {
        words.push("--no-pci".into());
    }
    for address in &config.pci {
        words.extend(["-a".to_owned(), address.clone()]);
    }
    words
        .into_iter()
        .map(|word| CString::new(word.clone()).map_err(|_| EalError::Argument(word)))
        .collect()
}

/// Free hugepages of the machine, in MiB, over all sizes and nodes.
fn free_hugepage_mib() -> u64 {
    let Ok(sizes) = fs::read_dir("/sys/kernel/mm/hugepages") else { return 0 };
    let free = |folder: fs::DirEntry| {
        let name = folder.file_name().into_string().ok()?;
        let kib: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
        let pages = fs::read_to_string(folder.path().join("free_hugepages")).ok()?;
        Some(kib * pages.trim().parse::<u64>().ok()? / 1024)
    };
    sizes.filter_map(Result::ok).filter_map(free).sum()
}

/// The text of DPDK's last error on this thread.
pub(super) fn last_error() -> String {
    // SAFETY: reads a thread-local number.
    describe(unsafe { ffi::pv_errno() })
}

/// The text of an error number, positive or negative.
pub(super) fn describe(error: c_int) -> String {
    // SAFETY: returns a zero-terminated string that stays valid until the next call on this
    // thread; it is copied at once.
    let text = unsafe { CStr::from_ptr(ffi::pv_strerror(error.abs())) };
    text.to_string_lossy().into_owned()
}
