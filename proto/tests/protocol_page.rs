//! `PROTOCOL.md` says what the code does: its tables of codes are those of the code.
//!
//! `BLESS=1 cargo test -p enfilade-proto --test protocol_page` writes them anew.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use enfilade_proto::limits::Limits;
use enfilade_proto::{CloseCode, ErrorCode, Reconnect, Retry};

fn page() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("PROTOCOL.md")
}

fn error_codes() -> String {
    let mut table = "| code | HTTP | retry | meaning |\n|---|---|---|---|\n".to_owned();
    for code in ErrorCode::ALL {
        let retry = match code.retry() {
            Retry::Same => "same",
            Retry::Refresh => "refresh",
            Retry::Never => "never",
        };
        writeln!(table, "| `{code}` | {} | {retry} | {} |", code.http_status(), code.meaning()).unwrap();
    }
    table
}

fn close_codes() -> String {
    let mut table = "| code | reason | meaning |\n|---|---|---|\n".to_owned();
    for code in CloseCode::ALL {
        writeln!(table, "| {} | `{}` | {} |", code.code(), code.reason(), code.meaning()).unwrap();
    }
    table
}

/// The page with everything between a marker and the next heading replaced.
fn with_table(page: &str, marker: &str, table: &str) -> String {
    let (before, after) = page.split_once(marker).unwrap();
    let end = after.find("\n## ").unwrap();
    format!("{before}{marker}\n\n{table}{}", &after[end..])
}

#[test]
fn the_tables_of_codes_are_those_of_the_code() {
    let written = fs::read_to_string(page()).unwrap();
    let wanted = with_table(&written, "<!-- error-codes -->", &error_codes());
    let wanted = with_table(&wanted, "<!-- close-codes -->", &close_codes());
    if std::env::var_os("BLESS").is_some() {
        fs::write(page(), &wanted).unwrap();
    } else {
        assert!(written == wanted, "PROTOCOL.md has other tables than the code: run this test with BLESS=1");
    }
}

#[test]
fn the_limits_are_those_of_the_code() {
    let page = fs::read_to_string(page()).unwrap();
    let limits = serde_json::to_value(Limits::default()).unwrap();
    for (name, value) in limits.as_object().unwrap() {
        assert!(
            page.contains(&format!("\"{name}\":{value}")),
            "the example of `welcome` lacks {name} = {value}"
        );
    }
}

#[test]
fn codes_are_written_once_and_their_ranges_are_kept() {
    for (i, code) in ErrorCode::ALL.iter().enumerate() {
        assert!(ErrorCode::ALL[i + 1..].iter().all(|other| other.as_str() != code.as_str()));
        assert!(code.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
    }
    for code in CloseCode::ALL {
        let verdict = match code.code() / 100 {
            40 => Reconnect::WithJitter,
            41 => Reconnect::Now,
            42 => Reconnect::AfterRefresh,
            43 => Reconnect::FromScratch,
            _ => Reconnect::Never,
        };
        assert_eq!(CloseCode::verdict(code.code()), verdict);
        assert!(code.reason().len() <= 123, "a close frame has no room for more");
    }
    assert_eq!(CloseCode::verdict(1006), Reconnect::WithJitter);
}
