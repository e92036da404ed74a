//! Namespaces of the kernel, each kept by a process that only waits: when it ends, and it ends with this one, the kernel
//! takes away all that was made inside. Needs root, and `unshare` and `nsenter` of util-linux.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::{Launch, Process, ProcessError};

const START: Duration = Duration::from_secs(10);
const READY: &str = "ready";

/// What is separate inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Network,
    Mounts,
}

impl Kind {
    fn flag(self) -> &'static str {
        match self {
            Self::Network => "--net",
            Self::Mounts => "--mount",
        }
    }

    fn file(self) -> &'static str {
        match self {
            Self::Network => "net",
            Self::Mounts => "mnt",
        }
    }
}

/// A namespace; gone when dropped, and whatever still runs inside has lost what it had there.
#[derive(Debug)]
pub struct Enclosure {
    kind: Kind,
    holder: Process,
}

impl Enclosure {
    /// Makes one and runs a script of the shell in it, which furnishes it.
    ///
    /// # Errors
    /// When this user or kernel may not, or the script fails.
    pub async fn build(name: &str, kind: Kind, furnish: &str, logs: &Path) -> Result<Self, ProcessError> {
        let script = format!("set -e; {furnish}; echo {READY}; exec sleep infinity");
        let launch = Launch::new(name, "unshare").args([kind.flag(), "sh", "-c", &script]);
        let holder = launch.start(logs)?;
        let mut enclosure = Self { kind, holder };
        let log = enclosure.holder.log().to_owned();
        let furnished =
            async || std::fs::read_to_string(&log).is_ok_and(|text| text.lines().any(|line| line == READY));
        enclosure.holder.wait_until("furnished", START, furnished).await?;
        Ok(enclosure)
    }

    /// The process that keeps it.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.holder.pid()
    }

    /// The way in.
    #[must_use]
    pub fn inside(&self) -> Inside {
        let namespace = format!("{}=/proc/{}/ns/{}", self.kind.flag(), self.pid(), self.kind.file());
        Inside {
            wrapper: vec!["nsenter".into(), namespace.into(), "--".into()],
            root: format!("/proc/{}/root", self.pid()).into(),
        }
    }
}

/// Where a command runs: in an enclosure, or, by default, where this process does.
#[derive(Clone, Debug)]
pub struct Inside {
    /// What to put before a command so that it runs there. It becomes the command, so its process id is the command's.
    pub wrapper: Vec<OsString>,
    /// Its root, as this process sees it.
    root: PathBuf,
}

impl Default for Inside {
    fn default() -> Self {
        Self { wrapper: Vec::new(), root: "/".into() }
    }
}

impl Inside {
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut words = self.wrapper.iter().map(OsString::as_os_str).chain([program.as_ref()]);
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        command
    }

    /// A path of it, as this process sees it.
    #[must_use]
    pub fn outside(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }
}
