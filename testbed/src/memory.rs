//! A bound on the memory of what runs inside: a control group of version 1. Needs root.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::PathBuf;

const GROUPS: &str = "/sys/fs/cgroup/memory";
/// Every group of ours is called this, the process that made it, and a name.
const PREFIX: &str = "enfilade-testbed";

/// A control group; gone when dropped after what ran inside has ended.
#[derive(Debug)]
pub struct MemoryGroup {
    folder: PathBuf,
}

impl MemoryGroup {
    /// # Errors
    /// When this user may not, or the kernel has no such groups.
    pub fn make(name: &str) -> io::Result<Self> {
        sweep()?;
        let folder = PathBuf::from(GROUPS).join(format!("{PREFIX}-{}-{name}", std::process::id()));
        fs::create_dir(&folder)?;
        Ok(Self { folder })
    }

    /// What to put before a command so that it runs inside. It becomes the command, so its process id is the command's.
    #[must_use]
    pub fn wrapper(&self) -> Vec<OsString> {
        let script = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", self.folder.display());
        ["sh", "-c", &script, "sh"].map(OsString::from).into()
    }

    /// What is used at present, in bytes.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn usage(&self) -> io::Result<u64> {
        self.read("memory.usage_in_bytes")?.trim().parse().map_err(io::Error::other)
    }

    /// More than this it may not have from now on: where it wants more, it is killed. The kernel takes no bound below what it cannot
    /// get back.
    ///
    /// # Errors
    /// When that is so, with `ResourceBusy`, or it may not be written.
    pub fn limit(&self, bytes: u64) -> io::Result<()> {
        fs::write(self.folder.join("memory.limit_in_bytes"), bytes.to_string())
    }

    /// It may have as much as there is.
    ///
    /// # Errors
    /// When it may not be written.
    pub fn free(&self) -> io::Result<()> {
        fs::write(self.folder.join("memory.limit_in_bytes"), "-1")
    }

    /// How often the kernel killed what ran inside because of its memory.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn kills(&self) -> io::Result<u64> {
        let text = self.read("memory.oom_control")?;
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok());
        count.ok_or_else(|| io::Error::other("the kernel does not count whom it kills"))
    }

    fn read(&self, file: &str) -> io::Result<String> {
        fs::read_to_string(self.folder.join(file))
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // The next one that is made sweeps up what is left.
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Removes the groups of processes that are gone; one in which something runs stays.
fn sweep() -> io::Result<()> {
    for entry in fs::read_dir(GROUPS)?.flatten() {
        let name = entry.file_name();
        let of =
            name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').nth(1)?.parse::<u32>().ok());
        if of.is_some_and(|of| !PathBuf::from(format!("/proc/{of}")).exists()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Command;

    use super::*;

    #[test]
    fn who_wants_more_than_the_bound_is_killed_and_counted() {
        let Ok(group) = MemoryGroup::make("test") else {
            return eprintln!("skipped: there are no control groups of version 1 for memory here");
        };
        let run = |megabytes: u32| {
            let wrapper = group.wrapper();
            let mut command = Command::new(&wrapper[0]);
            // `dd` holds a whole block in memory.
            command.args(&wrapper[1..]).args([
                "dd",
                "if=/dev/zero",
                "of=/dev/null",
                "count=1",
                &format!("bs={megabytes}M"),
            ]);
            command.output().unwrap().status
        };
        group.limit(16 << 20).unwrap();
        assert!(run(2).success());
        assert_eq!(group.kills().unwrap(), 0);
        assert_eq!(run(64).signal(), Some(9));
        assert_eq!(group.kills().unwrap(), 1);
        group.free().unwrap();
        assert!(run(64).success());
    }
}
