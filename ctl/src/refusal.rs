//! The words for a director's refusal.

pub use dataplane::refusal::Refusal;

/// The operation that was refused, as far as texts differ by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Add, edit, delete, zero or list a service; flush; anything else.
    Service,
    /// Add, edit or delete a real server.
    Server,
    /// Start or stop a sync daemon.
    Daemon,
}

impl Operation {
    /// The line that the tool prints when this operation is refused, without its end of line.
    ///
    /// A back end need not care whether a missing service is "no such" or "not defined", and a missing server's
    /// service or a missing daemon's likewise: the operation decides.
    #[must_use]
    pub fn message(self, refusal: Refusal) -> &'static str {
        match (refusal, self) {
            (Refusal::NoSuchService | Refusal::ServiceNotDefined, Self::Server) => {
                "Service not defined"
            }
            (Refusal::NoSuchService | Refusal::ServiceNotDefined, _) => "No such service",
            (Refusal::ServiceExists, _) => "Service already exists",
            (Refusal::SchedulerOrEngineNotFound, _) => "Scheduler or persistence engine not found",
            (Refusal::ServerExists, _) => "Destination already exists",
            (Refusal::NoSuchServer, _) => "No such destination",
            (Refusal::InvalidOperation, _) => {
                "Invalid operation.  Possibly wrong module version, address not unicast, ..."
            }
            (Refusal::OutOfRange, _) => "Numerical result out of range",
            (Refusal::NoMemory, _) => "Memory allocation problem",
            (Refusal::DaemonRuns, _) => "Daemon has already run",
            (Refusal::NoDaemon, _) => "No daemon is running",
            (Refusal::NoDevice, _) => "No such device",
            (Refusal::NetworkUnreachable, _) => "Network is unreachable",
            (Refusal::PermissionDenied, _) => "Permission denied (you must be root)",
            (Refusal::Unsupported(what), _) => what,
        }
    }
}
