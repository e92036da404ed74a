//! A small disk that can be full and can stand still, seen only by what runs inside: ext4 on a loop device. Needs root.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::enclosure::{Enclosure, Inside, Kind};
use crate::process::ProcessError;

/// Where the kernel takes orders about whole devices: for the root group, which writes in everybody's name, as the journal does.
const THROTTLE: &str = "/sys/fs/cgroup/blkio/blkio.throttle.write_bps_device";

#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error("the disk's device cannot be found: {0}")]
    Device(io::Error),
    #[error("{THROTTLE}: {0}")]
    Throttle(io::Error),
}

/// A disk on a folder; gone when dropped, with what is on it.
#[derive(Debug)]
pub struct SmallDisk {
    /// Its number as the kernel writes it.
    device: String,
    /// As this process sees it.
    ballast: PathBuf,
    enclosure: Enclosure,
}

impl SmallDisk {
    /// # Errors
    /// When this user may not, or there is no loop device or no `mkfs.ext4`.
    pub async fn mount(folder: &Path, megabytes: u32, logs: &Path) -> Result<Self, DiskError> {
        // The folder is ours: it has no quotes in it.
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let images = folder.with_file_name("disks");
        let image = images.join(&*name);
        let furnish = format!(
            "mkdir -p '{}'; truncate -s {megabytes}M '{image}'; PATH=$PATH:/usr/sbin:/sbin mkfs.ext4 -q -F -m 0 '{image}'; \
             mount -o loop '{image}' '{}'",
            images.display(),
            folder.display(),
            image = image.display(),
        );
        let enclosure = Enclosure::build(&format!("disk-{name}"), Kind::Mounts, &furnish, logs).await?;
        let outside = enclosure.inside().outside(folder);
        let number = outside.metadata().map_err(DiskError::Device)?.dev();
        let device = format!("{}:{}", rustix::fs::major(number), rustix::fs::minor(number));
        let disk = Self { device, ballast: outside.join("ballast"), enclosure };
        // One of this number may have been left standing still.
        if Path::new(THROTTLE).exists() {
            disk.flow()?;
        }
        Ok(disk)
    }

    /// What runs there sees the disk.
    #[must_use]
    pub fn inside(&self) -> Inside {
        self.enclosure.inside()
    }

    /// From now on not a byte more fits.
    ///
    /// # Errors
    /// When it cannot be written for another reason than that.
    pub fn fill(&self) -> io::Result<()> {
        let mut ballast = File::create(&self.ballast)?;
        // The last bytes as well.
        for size in [1 << 16, 1 << 10, 1] {
            loop {
                match ballast.write(&vec![0; size]) {
                    Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                    written => written?,
                };
            }
        }
        ballast.sync_all()
    }

    /// There is room again.
    ///
    /// # Errors
    /// When the ballast cannot be removed.
    pub fn free(&self) -> io::Result<()> {
        std::fs::remove_file(&self.ballast)
    }

    /// From now on it writes a byte a second. What is in memory can be read.
    ///
    /// # Errors
    /// When the kernel does not take such orders.
    pub fn stall(&self) -> Result<(), DiskError> {
        self.throttle(1)
    }

    /// It writes as it did.
    ///
    /// # Errors
    /// As [`SmallDisk::stall`].
    pub fn flow(&self) -> Result<(), DiskError> {
        self.throttle(0)
    }

    fn throttle(&self, bytes_per_second: u64) -> Result<(), DiskError> {
        std::fs::write(THROTTLE, format!("{} {bytes_per_second}", self.device)).map_err(DiskError::Throttle)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Whoever waits for it could not even be killed.
        let _ = self.flow();
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    async fn disk(place: &Path, logs: &Path) -> Option<SmallDisk> {
        std::fs::create_dir(place).unwrap();
        let disk = SmallDisk::mount(place, 4, logs).await;
        disk.inspect_err(|error| eprintln!("skipped: no disk can be mounted here: {error}")).ok()
    }

    fn write(disk: &SmallDisk, place: &Path) -> Child {
        let script = format!("head -c 100000 /dev/zero | dd of={}/file conv=fsync", place.display());
        let mut command = disk.inside().command("sh");
        command.args(["-c", &script]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    #[tokio::test]
    async fn a_full_disk_is_full_inside_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("place");
        let Some(disk) = disk(&place, folder.path()).await else { return };
        let writes = || write(&disk, &place).wait().unwrap().success();
        assert!(writes());
        std::fs::remove_file(disk.inside().outside(&place).join("file")).unwrap();
        disk.fill().unwrap();
        assert!(!writes());
        disk.free().unwrap();
        assert!(writes());
        assert_eq!(std::fs::read_dir(&place).unwrap().count(), 0, "outside there is no disk");
    }

    #[tokio::test]
    async fn whoever_writes_to_a_disk_that_stands_still_waits_until_it_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("place");
        let Some(disk) = disk(&place, folder.path()).await else { return };
        if let Err(error) = disk.stall() {
            return eprintln!("skipped: {error}");
        }
        let mut writer = write(&disk, &place);
        // It cannot be shown that somebody waits for ever; this is a thousand times what the disk needs.
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(writer.try_wait().unwrap().is_none());
        disk.flow().unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while writer.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "it goes on");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(writer.wait().unwrap().success());
    }
}
