//! Whose process a PostgreSQL server is.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;
use std::process::Command;

use crate::enclosure::Inside;

/// Whose process the server is: PostgreSQL refuses to be root's.
#[derive(Clone, Copy, Debug)]
pub(super) enum Account {
    Ours,
    Other { user: u32, group: u32 },
}

impl Account {
    /// Gives the folder to the account.
    pub(super) fn for_server(folder: &Path) -> io::Result<Self> {
        // Whoever makes a file owns it: that is how a process learns its user from the standard library.
        let ours = fs::metadata("/proc/self").or_else(|_| fs::metadata(folder))?.uid();
        if ours != 0 {
            return Ok(Self::Ours);
        }
        let number = |what| {
            let number = number_of("postgres", what).or_else(|_| number_of("nobody", what))?;
            number.parse().map_err(io::Error::other)
        };
        let account = Self::Other { user: number("-u")?, group: number("-g")? };
        account.give(folder)?;
        Ok(account)
    }

    /// Makes a file the account's.
    pub(super) fn give(self, path: &Path) -> io::Result<()> {
        match self {
            Self::Ours => Ok(()),
            Self::Other { user, group } => chown(path, Some(user), Some(group)),
        }
    }

    pub(super) fn command(self, inside: &Inside, program: impl AsRef<OsStr>) -> Command {
        match self {
            Self::Ours => inside.command(program),
            Self::Other { user, group } => {
                let mut command = inside.command("setpriv");
                command.args(["--reuid", &user.to_string(), "--regid", &group.to_string(), "--clear-groups"]);
                command.arg(program);
                command
            }
        }
    }
}

fn number_of(account: &str, what: &str) -> io::Result<String> {
    let output = Command::new("id").args([what, account]).output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("there is no account {account}")));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
