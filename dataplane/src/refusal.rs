//! Why the director did not do what control asked.

/// Reasons, each with the kernel's error number; `ctl` has their texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The virtual service is there already (EEXIST).
    ServiceExists,
    /// There is no such virtual service (ESRCH of a service command or a list).
    NoSuchService,
    /// No scheduler or persistence engine has the given name (ENOENT of a service command).
    SchedulerOrEngineNotFound,
    /// The service of a server command is not there (ESRCH of a server command).
    ServiceNotDefined,
    /// The real server is there already (EEXIST).
    ServerExists,
    /// The service has no such real server (ENOENT of a server command).
    NoSuchServer,
    /// A value that makes no sense here, such as an address that is not unicast (EINVAL).
    InvalidOperation,
    /// A number out of its range, such as a lower threshold above the upper one (ERANGE).
    OutOfRange,
    /// Out of memory (ENOMEM).
    NoMemory,
    /// A sync daemon of this role runs already (EEXIST).
    DaemonRuns,
    /// No sync daemon of this role runs (ESRCH).
    NoDaemon,
    /// No such network interface (ENODEV).
    NoDevice,
    /// The multicast group cannot be reached (ENETUNREACH).
    NetworkUnreachable,
    /// The caller may not do this (EPERM).
    PermissionDenied,
    /// This version lacks it; the text says what.
    Unsupported(&'static str),
}
