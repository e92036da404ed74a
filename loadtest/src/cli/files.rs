//! Files that commands read and write, and errors that name them.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;

use anyhow::Context as _;

pub(super) fn open(path: &Path) -> anyhow::Result<BufReader<File>> {
    Ok(BufReader::new(File::open(path).with_context(|| format!("cannot read {}", path.display()))?))
}

pub(super) fn write(path: &Path, content: impl AsRef<[u8]>) -> anyhow::Result<()> {
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}
