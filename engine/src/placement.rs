//! Which core each worker runs on.

use core_affinity::CoreId;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::config::ConfigError;
use crate::worker::Idle;

/// Cores of the workers, and what they do when idle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// One for each worker.
    pub cores: Vec<CoreId>,
    /// Those left over, for everything else.
    pub others: Vec<CoreId>,
    /// What an idle worker does.
    pub idle: Idle,
}

impl Placement {
    /// Places workers on the cores asked for, or on the last ones that the process may use, so
    /// that the first are left to control and to the kernel.
    ///
    /// # Errors
    /// When there are too few cores, or not those.
    pub fn new(
        workers: u16,
        wanted: Option<&[usize]>,
        idle: Option<Idle>,
    ) -> Result<Self, ConfigError> {
        let available = core_affinity::get_core_ids().unwrap_or_default();
        Self::among(&available, workers, wanted, idle)
    }

    fn among(
        available: &[CoreId],
        workers: u16,
        wanted: Option<&[usize]>,
        idle: Option<Idle>,
    ) -> Result<Self, ConfigError> {
        let count = usize::from(workers);
        let cores = available.len();
        if count > cores {
            return Err(ConfigError::TooManyWorkers { workers, cores });
        }
        let chosen = match wanted {
            None => available[cores - count..].to_vec(),
            Some(wanted) => {
                let repeats = |n: usize| wanted[..n].contains(&wanted[n]);
                if wanted.len() != count || (0..count).any(repeats) {
                    return Err(ConfigError::CoresMismatch);
                }
                let find = |&id: &usize| {
                    let found = available.iter().find(|core| core.id == id);
                    found.copied().ok_or(ConfigError::NoSuchCore(id))
                };
                wanted.iter().map(find).collect::<Result<_, _>>()?
            }
        };
        let default = if count < cores { Idle::Spin } else { Idle::Yield };
        let is_other = |core: &&CoreId| !chosen.contains(core);
        let others = available.iter().filter(is_other).copied().collect();
        Ok(Self { cores: chosen, others, idle: idle.unwrap_or(default) })
    }

    /// Keeps this thread, and those that it starts, off the workers' cores if others are left.
    pub fn keep_off_workers(&self) {
        let mut cores = CpuSet::new();
        // What the system does not let us do costs workers some time, and nothing else.
        let fits = self.others.iter().all(|core| cores.set(core.id).is_ok());
        if fits && !self.others.is_empty() {
            let _ = sched_setaffinity(Pid::from_raw(0), &cores);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn among(workers: u16, wanted: Option<&[usize]>) -> Result<Vec<usize>, String> {
        let available = [0, 1, 2, 5].map(|id| CoreId { id });
        Placement::among(&available, workers, wanted, None)
            .map(|placement| placement.cores.iter().map(|core| core.id).collect())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_last_cores_are_taken_unless_said() {
        assert_eq!(among(2, None), Ok(vec![2, 5]));
        assert_eq!(among(2, Some(&[5, 0])), Ok(vec![5, 0]));
        assert!(among(5, None).unwrap_err().contains("only 4"));
        assert!(among(1, Some(&[3])).unwrap_err().contains("core 3"));
        for bad in [&[0, 0][..], &[0][..]] {
            assert!(among(2, Some(bad)).unwrap_err().contains("different core"));
        }
    }

    #[test]
    fn a_machine_without_a_core_to_spare_yields() {
        let available = [0, 1].map(|id| CoreId { id });
        let placed = |workers| Placement::among(&available, workers, None, None).unwrap();
        assert_eq!((placed(1).idle, placed(2).idle), (Idle::Spin, Idle::Yield));
        assert_eq!((placed(1).others, placed(2).others), (vec![CoreId { id: 0 }], vec![]));
    }
}
