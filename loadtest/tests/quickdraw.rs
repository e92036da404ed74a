//! The importer on all the real drawings there are.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use enfilade_loadtest::import::quickdraw::{Drawing, Drawings, Options, compose};
use enfilade_loadtest::session::{Event, SessionWriter, Title, What, read_session};
use enfilade_proto::Op;

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/quickdraw");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        eprintln!("skipped: there are no drawings at {}", folder.display());
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "ndjson"));
    files.sort();
    files
}

fn drawings(files: &[PathBuf]) -> Drawings {
    let mut drawings = Drawings::default();
    for path in files {
        let name = path.file_name().unwrap().to_string_lossy();
        drawings.read(&name, BufReader::new(File::open(path).unwrap()), 10_000).unwrap();
    }
    drawings
}

#[test]
fn all_real_drawings_become_one_session() {
    let files = files();
    if files.is_empty() {
        return;
    }
    let drawings = drawings(&files);
    assert_eq!((drawings.skipped, drawings.cut), (0, false), "{:?}", drawings.reasons);
    let options = Options { people: 25, spread: 600.0, seed: 3, limit: 10_000 };
    let events = compose(&drawings, &options).unwrap();
    assert_eq!(events, compose(&drawings, &options).unwrap(), "the same seed, the same session");

    let strokes: usize = drawings.drawings.iter().map(Drawing::strokes).sum();
    let ops = events.iter().filter(|event| matches!(event.what, What::Op { .. })).count();
    assert_eq!(ops, strokes);
    assert!(stays_within(&events, (drawings.drawings.len() as f64).sqrt().ceil() * options.spread));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.enfilade.ndjson");
    let mut writer = SessionWriter::create(&path).unwrap();
    events.iter().for_each(|event| writer.event(event).unwrap());
    let header = writer.finish(Title::default()).unwrap();
    let session = read_session(BufReader::new(File::open(&path).unwrap())).unwrap();
    assert_eq!((header.people, session.events), (25, events));
}

fn stays_within(events: &[Event], side: f64) -> bool {
    events.iter().all(|event| match &event.what {
        What::Op { op: Op::AddStroke(stroke), .. } => {
            stroke.points.decode().iter().flatten().all(|coord| (0.0..=side).contains(&coord.units()))
        }
        _ => true,
    })
}
