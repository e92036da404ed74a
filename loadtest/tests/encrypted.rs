//! A node that speaks TLS, measured through a door.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::path::Path;

use common::Node;

const PROGRAM: &str = env!("CARGO_BIN_EXE_enfilade-loadtest");

/// A certificate for a name, which is its own authority, and its key: two files.
fn certify(folder: &Path, name: &str) -> [String; 2] {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    [("crt", made.cert.pem()), ("key", made.signing_key.serialize_pem())].map(|(kind, pem)| {
        let file = folder.join(format!("{name}.{kind}"));
        std::fs::write(&file, pem).unwrap();
        file.to_str().unwrap().to_owned()
    })
}

#[tokio::test]
async fn a_server_that_speaks_tls_is_reached_by_whoever_trusts_it() {
    let Some(binary) = common::node_binary() else { return };
    let folder = tempfile::tempdir().unwrap();
    let [certificate, key] = certify(folder.path(), "draw.example.org");
    let flags = ["--tls-certificate", &certificate, "--tls-key", &key].map(Into::into);
    let node = Node::start_with(&binary, flags.into()).await;
    let url = node.url().replace("http://", "https://");
    let run = |more: &[&str]| {
        let usual = ["run", "rooms", "--url", &url, "--rooms=1", "--members=2", "--speech=ops", "--rate=10"];
        let times = ["--warm-up=100ms", "--measure=1s", "--ramp=100ms", "--max-lag=1m"];
        common::run(PROGRAM, &[&usual[..], &times, more].concat())
    };
    let something_was_said = ["--threshold", "counts.sent >= 1"];
    let trusting =
        [&["--ca", &certificate, "--tls-name", "draw.example.org"], &something_was_said[..]].concat();
    let (code, said, error) = run(&trusting);
    assert_eq!(code, 0, "{said}{error}");
    let (code, _, error) = run(&["--ca", &certificate]);
    assert!(code == 4 && error.contains("not valid for name"), "{code}: {error}");
    let (code, _, error) = run(&[]);
    assert!(code == 5 && error.contains("--ca is needed"), "{code}: {error}");
    let [stranger, _] = certify(folder.path(), "elsewhere.example.org");
    let (code, _, error) = run(&["--ca", &stranger, "--tls-name", "draw.example.org"]);
    assert!(code == 4 && error.contains("invalid peer certificate"), "{code}: {error}");
}
