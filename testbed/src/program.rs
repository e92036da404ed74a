//! Where programs are.

use std::path::{Path, PathBuf};

/// The program that a variable names, or else the first of this name on the path or in further folders.
#[must_use]
pub fn find(variable: &str, name: &str, also_in: &[&str]) -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(variable) {
        return Some(PathBuf::from(named));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let folders = on_path.iter().map(PathBuf::as_path).chain(also_in.iter().map(Path::new));
    folders.map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// A program of this workspace: the one that a variable names, or the newer of those that were built.
#[must_use]
pub fn built(variable: &str, name: &str) -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(variable) {
        return Some(PathBuf::from(named));
    }
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from);
    let changed = |program: &PathBuf| program.metadata().and_then(|metadata| metadata.modified()).ok();
    let programs = ["release", "debug"].map(|profile| target.join(profile).join(name));
    let newest = programs.into_iter().filter(|program| program.is_file()).max_by_key(changed)?;
    // Shorter in messages, and the same from any folder.
    newest.canonicalize().ok()
}

/// Tag and commit of the release before this one.
const PREVIOUS: &str = include_str!("../previous-release");

/// The node of the release before this one, if `tools/previous` built it: the one that $ENFILADE_PREVIOUS_BIN names, or the one of the
/// same profile as this node, or of another.
#[must_use]
pub fn previous(node: &Path) -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("ENFILADE_PREVIOUS_BIN") {
        return Some(PathBuf::from(named));
    }
    let commit = PREVIOUS.split_whitespace().nth(1)?;
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/previous").join(commit);
    let same = node.parent().and_then(Path::file_name).unwrap_or_default();
    let profiles = [same, "release".as_ref(), "debug".as_ref()];
    let program = profiles
        .into_iter()
        .map(|profile| place.join(profile).join("enfilade"))
        .find(|program| program.is_file())?;
    program.canonicalize().ok()
}
