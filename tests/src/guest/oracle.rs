//! Where the oracle is, and whether it has been built.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::requirements::installed;

/// The folder with the program that boots the kernel, and what that has been built into.
#[derive(Clone, Debug)]
pub struct Oracle {
    /// `run` of the oracle.
    pub run: PathBuf,
    /// The kernel and its files.
    pub work: PathBuf,
}

impl Oracle {
    /// Finds it by `ORACLE` and `IPVS_VM_WORK`.
    ///
    /// # Errors
    /// What is missing, and what to do about it.
    pub fn find() -> Result<Self> {
        installed(&[("unshare", "util-linux"), ("setpriv", "util-linux")])?;
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let folder = env::var_os("ORACLE").unwrap_or_else(|| "../shared/ipvs-oracle".into());
        let work = env::var_os("IPVS_VM_WORK").unwrap_or_else(|| "/tmp/ipvs-vm".into());
        // As for `tests/oracle-build`, which goes to the root of the sources first.
        let (folder, work) = (root.join(folder), root.join(work));
        let run = folder.join("run");
        ensure!(run.is_file(), "no oracle in {} (ORACLE=folder)", folder.display());
        let is_built = work.join("uml-bookworm.done").exists() && work.join("root/init").exists();
        ensure!(is_built, "the oracle is not built in {} (tests/oracle-build)", work.display());
        Ok(Self { run: run.canonicalize()?, work: work.canonicalize()? })
    }
}
