//! A small disk of memory that can be full, seen only by what runs inside. Needs root.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::enclosure::{Enclosure, Kind};
use crate::process::ProcessError;

/// A disk on a folder; gone when dropped, with what is on it.
#[derive(Debug)]
pub struct SmallDisk {
    enclosure: Enclosure,
    /// As this process sees it.
    ballast: PathBuf,
}

impl SmallDisk {
    /// # Errors
    /// When this user may not.
    pub async fn mount(folder: &Path, megabytes: u32, logs: &Path) -> Result<Self, ProcessError> {
        // The folder is ours: it has no quotes in it.
        let furnish = format!("mount -t tmpfs -o size={megabytes}m tmpfs '{}'", folder.display());
        let enclosure = Enclosure::build("disk", Kind::Mounts, &furnish, logs).await?;
        let root = PathBuf::from(format!("/proc/{}/root", enclosure.pid()));
        let ballast = root.join(folder.strip_prefix("/").unwrap_or(folder)).join("ballast");
        Ok(Self { enclosure, ballast })
    }

    /// What to put before a command so that it sees the disk.
    #[must_use]
    pub fn wrapper(&self) -> Vec<OsString> {
        self.enclosure.wrapper()
    }

    /// From now on not a byte more fits.
    ///
    /// # Errors
    /// When it cannot be written for another reason than that.
    pub fn fill(&self) -> io::Result<()> {
        let mut ballast = File::create(&self.ballast)?;
        loop {
            match ballast.write(&[0; 1 << 16]) {
                Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(()),
                written => written?,
            };
        }
    }

    /// There is room again.
    ///
    /// # Errors
    /// When the ballast cannot be removed.
    pub fn free(&self) -> io::Result<()> {
        std::fs::remove_file(&self.ballast)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[tokio::test]
    async fn a_full_disk_is_full_inside_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("disk");
        std::fs::create_dir(&place).unwrap();
        let Ok(disk) = SmallDisk::mount(&place, 1, folder.path()).await else {
            return eprintln!("skipped: mounting is not permitted here");
        };
        let writes = || {
            let wrapper = disk.wrapper();
            let script = format!("head -c 100000 /dev/zero >> {}/file", place.display());
            let mut command = Command::new(&wrapper[0]);
            command.args(&wrapper[1..]).args(["sh", "-c", &script]).output().unwrap().status.success()
        };
        assert!(writes());
        disk.fill().unwrap();
        assert!(!writes());
        disk.free().unwrap();
        assert!(writes());
        assert_eq!(std::fs::read_dir(&place).unwrap().count(), 0, "outside there is no disk");
    }
}
