//! Files of which somebody must be able to say that they are there, whole and on disk.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::BackupError;

const BUFFER: usize = 1 << 20;

/// The path with something added to the name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

pub(super) fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    move |source| BackupError::File { what, path: path.to_owned(), source }
}

/// What belongs to an SQLite database beside its file: whoever puts another file in its place must not leave them to that.
pub(super) const PARTS: [&str; 2] = ["-wal", "-shm"];

/// Makes an empty file for a database that its owner alone can read: keys will stand in it. Whatever a crash left there is gone.
pub(super) fn create_anew(path: &Path) -> Result<File, BackupError> {
    for left in [path.to_owned()].into_iter().chain(PARTS.map(|part| beside(path, part))) {
        if let Err(error) = fs::remove_file(&left)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(failed("removing it", &left)(error));
        }
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(failed("creating it", path))
}

/// Length and SHA-256 of the first `most` bytes.
pub(super) fn digest(path: &Path, most: u64) -> Result<(u64, String), BackupError> {
    copy(path, most, &mut io::sink())
}

/// Writes the first `most` bytes of a file, and says how many there were, and their SHA-256.
pub(super) fn copy(path: &Path, most: u64, to: &mut impl Write) -> Result<(u64, String), BackupError> {
    let mut file = File::open(path).map_err(failed("opening it", path))?.take(most);
    let (mut hash, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; BUFFER]);
    loop {
        let read = file.read(&mut buffer).map_err(failed("reading it", path))?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        to.write_all(&buffer[..read]).map_err(failed("copying it", path))?;
        bytes += read as u64;
    }
    let hex = hash.finalize().iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string does not fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    Ok((bytes, hex))
}

/// The length of a file, and its last bytes.
pub(super) fn end(path: &Path, most: usize) -> Result<(u64, Vec<u8>), BackupError> {
    let file = File::open(path).map_err(failed("opening it", path))?;
    let read = || {
        let len = file.metadata()?.len();
        (&file).seek(SeekFrom::Start(len.saturating_sub(most as u64)))?;
        let mut end = Vec::new();
        (&file).take(most as u64).read_to_end(&mut end)?;
        Ok((len, end))
    };
    read().map_err(failed("reading it", path))
}

/// Adds to a file's end.
pub(super) fn append(path: &Path, bytes: &[u8]) -> Result<(), BackupError> {
    let file = OpenOptions::new().append(true).open(path);
    file.and_then(|mut file| file.write_all(bytes)).map_err(failed("writing it", path))
}

/// Gives a file its name once it is on disk, instead of whatever has that name. There is no moment at which neither has it.
pub(super) fn put_in_place(path: &Path, name: &Path) -> Result<(), BackupError> {
    // Not every system lets a file be synced that was opened to read.
    let file = OpenOptions::new().write(true).open(path).and_then(|file| file.sync_all());
    file.map_err(failed("writing it to disk", path))?;
    fs::rename(path, name).map_err(failed("renaming it", path))?;
    sync_folder_of(name)
}

/// A name is on disk only when its folder is.
pub(super) fn sync_folder_of(path: &Path) -> Result<(), BackupError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(failed("writing it to disk", folder))
}
