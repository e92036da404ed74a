//! What a backup says of itself.
//!
//! A backup is one file: an SQLite database, and after it one line, the manifest. So it can be written in one go, is found cut off
//! when the line is missing, and still opens as a database in any tool, because SQLite does not look behind its last page.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::BackupError;

/// Before the manifest, on its line. The line before it is the database's last page, whatever is in it.
const MARK: &str = "\nenfilade-backup ";
const FORMAT: u32 = 1;
/// The manifest with its mark is no longer.
pub(super) const LONGEST: usize = 1024;

/// How a backup was made, and what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    format: u32,
    /// The program that made it.
    pub version: String,
    /// When it was begun, by the database's clock, as in `2026-01-01T00:00:00Z`: nothing that was committed before is missing.
    pub made_at: String,
    #[serde(flatten)]
    pub contents: Contents,
    /// Of the database: how long it is, and the SHA-256 of it in hexadecimal.
    pub bytes: u64,
    pub sha256: String,
}

/// What is in a database, as far as it can be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// The last migration that was applied to it.
    pub schema: i64,
    pub people: u64,
    pub rooms: u64,
    /// That are in the log; those that were pruned behind a checkpoint are not.
    pub ops: u64,
}

impl Manifest {
    pub(super) fn new(
        version: &str,
        made_at: String,
        contents: Contents,
        bytes: u64,
        sha256: String,
    ) -> Self {
        Self { format: FORMAT, version: version.to_owned(), made_at, contents, bytes, sha256 }
    }

    /// What is written after the database.
    pub(super) fn line(&self) -> Result<String, BackupError> {
        let json = serde_json::to_string(self).map_err(|error| BackupError::Broken(error.to_string()))?;
        Ok(format!("{MARK}{json}\n"))
    }

    /// The manifest of a file of `len` bytes of which these are the last.
    pub(super) fn read(end: &[u8], len: u64) -> Result<Self, BackupError> {
        let missing = || BackupError::Broken("it does not end with a manifest: cut off, or no backup".into());
        let at = end.windows(MARK.len()).rposition(|part| part == MARK.as_bytes()).ok_or_else(missing)?;
        let json = end[at + MARK.len()..].strip_suffix(b"\n").filter(|json| !json.contains(&b'\n'));
        let json = json.ok_or_else(missing)?;
        #[derive(Deserialize)]
        struct Form {
            format: u32,
        }
        let wrong =
            |error: serde_json::Error| BackupError::Broken(format!("its manifest is damaged: {error}"));
        let Form { format } = serde_json::from_slice(json).map_err(wrong)?;
        if format != FORMAT {
            return Err(BackupError::Format(format));
        }
        let manifest: Self = serde_json::from_slice(json).map_err(wrong)?;
        let behind = (end.len() - at) as u64;
        if manifest.bytes.checked_add(behind) != Some(len) {
            return Err(BackupError::Broken(format!(
                "its database should have {} bytes and has {}",
                manifest.bytes,
                len.saturating_sub(behind)
            )));
        }
        Ok(manifest)
    }
}

impl fmt::Display for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Contents { schema, people, rooms, ops } = self.contents;
        write!(
            f,
            "{people} people, {rooms} rooms, {ops} ops as of {} ({} bytes, schema {schema}, enfilade {})",
            self.made_at, self.bytes, self.version
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn manifest(bytes: u64) -> Manifest {
        let contents = Contents { schema: 6, people: 1, rooms: 2, ops: 3 };
        Manifest::new("0.1.0", "2026-01-01T00:00:00Z".into(), contents, bytes, "ab".repeat(32))
    }

    fn file(database: &[u8]) -> Vec<u8> {
        let line = manifest(database.len() as u64).line().unwrap();
        assert!(line.len() <= LONGEST);
        [database, line.as_bytes()].concat()
    }

    fn read(file: &[u8]) -> Result<Manifest, BackupError> {
        Manifest::read(&file[file.len().saturating_sub(LONGEST)..], file.len() as u64)
    }

    #[test]
    fn a_backup_of_a_later_form_is_told_from_a_broken_one() {
        let text =
            String::from_utf8(file(b"data")).unwrap().replace("\"format\":1", "\"format\":2,\"more\":1");
        assert!(matches!(read(text.as_bytes()), Err(BackupError::Format(2))));
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(database: Vec<u8>) {
            prop_assert_eq!(read(&file(&database)).unwrap(), manifest(database.len() as u64));
        }

        #[test]
        fn what_was_cut_off_anywhere_or_added_to_is_refused(database: Vec<u8>, cut in 1usize..400, more in "[ -~\n]{1,20}") {
            let whole = file(&database);
            let shorter = &whole[..whole.len().saturating_sub(cut)];
            prop_assert!(matches!(read(shorter), Err(BackupError::Broken(_))));
            let longer = [&whole[..], more.as_bytes()].concat();
            prop_assert!(matches!(read(&longer), Err(BackupError::Broken(_))));
            let beginning_is_missing = &whole[cut.min(database.len())..];
            prop_assert!(database.is_empty() || matches!(read(beginning_is_missing), Err(BackupError::Broken(_))));
        }

        #[test]
        fn any_bytes_are_looked_at_without_harm(bytes: Vec<u8>) {
            prop_assert!(read(&bytes).is_err());
        }
    }
}
