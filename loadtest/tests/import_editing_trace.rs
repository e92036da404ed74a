//! Editing traces are read, held against what they say they make, and become sessions in documents.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs::File;
use std::io::{BufReader, Write as _};
use std::path::Path;

use enfilade_loadtest::clock::{MILLISECOND, SECOND};
use enfilade_loadtest::import::editing_trace::{Kind, Pace, Trace, TraceError, write};
use enfilade_loadtest::session::{SessionError, Title, read_session};
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use serde_json::{Value, json};

const PACE: Pace = Pace { longest_pause: SECOND, without_times: 100 * MILLISECOND };

fn read(trace: &Value) -> Result<Trace, TraceError> {
    Trace::read(trace.to_string().as_bytes())
}

fn error(trace: &Value) -> String {
    read(trace).unwrap_err().to_string()
}

/// A trace of one person: each patch a transaction, so many milliseconds after the one before.
fn sequential(end: &str, edits: &[(u32, usize, usize, &str)]) -> Value {
    let mut ms = 0;
    let txns: Vec<Value> = edits
        .iter()
        .map(|(pause, at, delete, insert)| {
            ms += pause;
            let time = format!("2021-04-19T06:{:02}:{:02}.{:03}Z", ms / 60_000, ms / 1000 % 60, ms % 1000);
            json!({"time": time, "patches": [[at, delete, insert]]})
        })
        .collect();
    json!({"startContent": "", "endContent": end, "txns": txns})
}

/// Whose, after which, and what.
type Txn<'a> = (u32, &'a [usize], (usize, usize, &'a str));

/// A trace of two people.
fn concurrent(end: &str, txns: &[Txn<'_>]) -> Value {
    let txns: Vec<Value> = txns
        .iter()
        .map(|(agent, parents, patch)| {
            json!({"agent": agent, "parents": parents, "patches": [patch], "time": "1970-01-01T00:00:00+00:00"})
        })
        .collect();
    json!({"kind": "concurrent", "endContent": end, "numAgents": 2, "txns": txns})
}

/// Both type into the other's text without having seen it; then one goes on with both.
fn fork() -> Value {
    concurrent(
        "1 two 3",
        &[
            (0, &[], (0, 0, "one 3")),
            (0, &[0], (0, 3, "1")),
            (1, &[0], (4, 0, "two ")),
            (1, &[1, 2], (6, 0, "")),
        ],
    )
}

fn lines(trace: &Trace, pace: Pace) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    write(trace, pace, &path, Title { title: Some("T".into()), ..Title::default() }).unwrap();
    std::fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn places_are_counted_in_code_points() {
    let trace = sequential("𝄞ä!b", &[(0, 0, 0, "𝄞ab"), (900, 1, 1, "ä"), (5000, 2, 0, "!")]);
    let trace = read(&trace).unwrap();
    let statistics = trace.statistics();
    assert_eq!((statistics.characters, statistics.beyond_ascii, statistics.surrogates), (4, 2, 1));
    assert_eq!((statistics.inserted, statistics.deleted, statistics.merges), (5, 1, 0));
    assert_eq!(
        (statistics.duration, statistics.longest_pause),
        (Some(5_900 * MILLISECOND), Some(5 * SECOND))
    );
    let session = lines(&trace, PACE);
    assert_eq!(session[0]["kind"], "document");
    assert_eq!(session[0]["duration"], 1.9, "the long pause was made short");
    assert_eq!(
        session[1..],
        [
            json!([0, "join", 0, {"name": "Writer 1"}]),
            json!([0, "edit", 0, {"patches": [[0, 0, "𝄞ab"]]}]),
            json!([0.9, "edit", 0, {"patches": [[1, 1, "ä"]]}]),
            json!([1, "edit", 0, {"patches": [[2, 0, "!"]]}]),
        ]
    );
}

#[test]
fn what_two_people_type_at_once_is_merged() {
    let trace = read(&fork()).unwrap();
    assert_eq!((trace.kind, trace.agents, trace.statistics().merges), (Kind::Concurrent, 2, 1));
    assert_eq!(trace.statistics().duration, None, "nobody looked at a clock");
    let session = lines(&trace, PACE);
    assert_eq!(
        session[3..],
        [
            json!([0.1, "edit", 0, {"patches": [[0, 0, "one 3"]]}]),
            json!([0.1, "edit", 0, {"patches": [[0, 3, "1"]]}]),
            json!([0.1, "edit", 1, {"patches": [[4, 0, "two "]], "parents": [1]}]),
            json!([0.1, "edit", 1, {"patches": [[6, 0, ""]], "parents": [2, 3]}]),
        ]
    );
}

#[test]
fn gzipped_traces_are_read() {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(fork().to_string().as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    assert_eq!(Trace::read(&packed[..]).unwrap(), read(&fork()).unwrap());
    assert!(matches!(Trace::read(&packed[..packed.len() / 2]), Err(TraceError::Io(_))));
}

#[test]
fn a_document_has_the_hash_of_its_text() {
    // printf 'yoooo ho ho\n' | sha256sum | cut -c1-32
    let trace = sequential("yoooo ho ho\n", &[(0, 0, 0, "yoooo ho ho\n")]);
    assert_eq!(lines(&read(&trace).unwrap(), PACE)[0]["final_hash"], "ecd2ab73182a4f706cd5bcf949754768");
}

#[test]
fn a_text_that_was_there_before_is_the_scene() {
    let mut trace = sequential("abc", &[(0, 1, 0, "b")]);
    trace["startContent"] = "ac".into();
    let session = lines(&read(&trace).unwrap(), PACE);
    assert_eq!(session[1], json!([0, "scene", null, {"text": "ac"}]));
}

#[test]
fn documents_are_not_replayed_yet() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    write(&read(&fork()).unwrap(), PACE, &path, Title::default()).unwrap();
    let error = read_session(BufReader::new(File::open(path).unwrap())).unwrap_err();
    assert!(matches!(&error, SessionError::Line { line: 1, .. }), "{error}");
    assert!(
        error
            .to_string()
            .ends_with("a session in a document; only boards can be replayed so far (wrong_kind)")
    );
}

#[test]
fn a_trace_that_does_not_make_its_end_is_refused() {
    let wrong = sequential("ab", &[(0, 0, 0, "ax")]);
    assert_eq!(
        error(&wrong),
        "the patches make another text than endContent says: they differ from character 1 on"
    );
    let beyond = sequential("ab", &[(0, 0, 0, "ab"), (1, 2, 1, "")]);
    assert_eq!(error(&beyond), "transaction 1: 1 characters from 2 on, in a text of 2");
    let mut merged = fork();
    merged["endContent"] = "1 two 4".into();
    assert!(error(&merged).contains("differ from character 6"));
    let unseen = concurrent("ab", &[(0, &[], (0, 0, "ab")), (1, &[0], (3, 0, "c"))]);
    assert!(error(&unseen).starts_with("transaction 1: 0 characters from 3 on: so many it does not see"));
}

#[test]
fn a_history_that_is_none_is_refused() {
    let change = |txn: usize, field: &str, value: Value| {
        let mut trace = fork();
        trace["txns"][txn][field] = value;
        error(&trace)
    };
    assert_eq!(change(1, "parents", json!([1])), "transaction 1: its parent 1 does not come before it");
    assert_eq!(change(2, "parents", json!([])), "transaction 2: the first one has no parents, and no other");
    assert_eq!(
        change(3, "parents", json!([0, 2])),
        "transaction 3: of its parents 0 and 2 one follows the other"
    );
    assert_eq!(
        change(3, "parents", json!([1, 1])),
        "transaction 3: of its parents 1 and 1 one follows the other"
    );
    assert_eq!(change(3, "parents", json!([1])), "transaction 3: agent 1 does not know what they did before");
    assert_eq!(change(1, "agent", json!(2)), "transaction 1: agent 2 of 2; they count from 0");
    assert_eq!(change(1, "patches", json!([])), "transaction 1: it has no patches");
    assert_eq!(
        change(0, "numChildren", json!(3)),
        "transaction 0: it has 2 children, not as many as it says"
    );
    assert_eq!(change(3, "parents", json!([2])), "transaction 3: the last one does not follow all others");
}

#[test]
fn what_is_no_trace_is_refused() {
    let text = |text: &str| Trace::read(text.as_bytes()).unwrap_err().to_string();
    assert!(text("").starts_with("not an editing trace: EOF"));
    assert!(text("{}").contains("missing field"));
    let mut trace = fork();
    trace["kind"] = "hexagonal".into();
    assert!(error(&trace).contains("kind \"hexagonal\" is not known"));
    trace["kind"] = "concurrent".into();
    trace["numAgents"] = 4_000_000_000_u32.into();
    assert!(error(&trace).contains("4000000000 agents"));
    let mut timeless = sequential("a", &[(0, 0, 0, "a")]);
    timeless["txns"][0]["time"] = "yesterday".into();
    assert_eq!(error(&timeless), "transaction 0: \"yesterday\" is no time in UTC");
}

#[test]
fn a_trace_whose_times_make_too_long_a_session_is_refused() {
    let trace = read(&sequential("a", &[(0, 0, 0, "a")])).unwrap();
    let slow = Pace { without_times: 100_000 * SECOND, ..PACE };
    let folder = tempfile::tempdir().unwrap();
    let written = write(&trace, slow, &folder.path().join("s"), Title::default());
    assert!(matches!(written, Err(TraceError::TooMuch(_))), "{written:?}");
}

#[test]
fn the_traces_of_real_texts_hold() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/editing-traces");
    let trace = |name: &str| {
        let file = File::open(folder.join(name)).ok()?;
        Some(Trace::read(BufReader::new(file)).unwrap())
    };
    let Some(blog) = trace("json-crdt-blog-post.json.gz") else {
        return eprintln!("skipped: there are no traces at {}", folder.display());
    };
    assert_eq!((blog.transactions.len(), blog.statistics().beyond_ascii), (21_411, 19));
    let friends = trace("friendsforever.json.gz").unwrap();
    assert_eq!((friends.agents, friends.transactions.len(), friends.statistics().merges), (2, 26_078, 2_258));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Trace::read(&bytes[..]);
        let _ = Trace::read(&[&[0x1f, 0x8b], &bytes[..]].concat()[..]);
    }

    #[test]
    fn no_history_makes_it_panic(
        txns in prop::collection::vec(
            (0..3u32, prop::collection::vec(0..12usize, 0..3), 0..9usize, 0..4usize, "[ab]{0,2}"), 0..12),
    ) {
        let txns: Vec<_> =
            txns.iter().map(|(agent, parents, at, delete, insert)| (*agent, &parents[..], (*at, *delete, &insert[..]))).collect();
        let _ = read(&concurrent("ab", &txns));
    }
}
