//! Writing a session. The header knows how it ended, so the events wait in a file beside until they are complete.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use enfilade_proto::{RoomKind, Seq};
use serde_json::json;

use super::{Event, Header, VERSION, What, local_author};
use crate::clock::{Micros, SECOND};
use crate::replica::Replica;

/// What a session says of itself beside what it counts.
#[derive(Clone, Debug, Default)]
pub struct Title {
    pub title: Option<String>,
    pub licence: Option<String>,
    pub source: Option<String>,
}

/// Takes events in the order of their times. Without [`finish`](Self::finish) nothing is left behind.
#[derive(Debug)]
pub struct SessionWriter {
    path: PathBuf,
    part: PathBuf,
    body: BufWriter<File>,
    at: Micros,
    people: u32,
    number: Seq,
    replica: Replica,
}

impl SessionWriter {
    /// # Errors
    /// When the file beside cannot be created.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let body = BufWriter::new(File::create(&part)?);
        let replica = Replica::default();
        Ok(Self { path: path.to_owned(), part, body, at: 0, people: 0, number: Seq(0), replica })
    }

    /// The number that the next op will have; a `restore` names such a number.
    #[must_use]
    pub fn next_number(&self) -> Seq {
        self.number.next()
    }

    /// # Errors
    /// When it cannot be written.
    pub fn event(&mut self, event: &Event) -> io::Result<()> {
        // Never back in time, whatever the caller's clock did.
        let at = event.at.max(self.at);
        let interval = seconds(at - self.at);
        self.at = at;
        match &event.what {
            What::Scene(op) => writeln!(self.body, "[{interval},\"scene\",null,{}]", json!(op))?,
            What::Join { person, name } => {
                writeln!(self.body, "[{interval},\"join\",{person},{}]", json!({ "name": name }))?;
            }
            What::Leave { person } => writeln!(self.body, "[{interval},\"leave\",{person}]")?,
            What::Op { person, op } => writeln!(self.body, "[{interval},\"op\",{person},{}]", json!(op))?,
            What::Signal { person, key, body } => {
                writeln!(
                    self.body,
                    "[{interval},\"signal\",{person},{}]",
                    json!({ "key": key, "body": body })
                )?;
            }
        }
        if let What::Join { person, .. } = event.what {
            self.people = self.people.max(person + 1);
        }
        if let Some((person, op)) = event.what.op() {
            self.number = self.number.next();
            self.replica.apply(self.number, local_author(person), op);
        }
        Ok(())
    }

    /// Writes the header and, below it, the events.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn finish(mut self, title: Title) -> io::Result<Header> {
        self.body.flush()?;
        let header = Header {
            version: VERSION,
            kind: RoomKind::Board,
            title: title.title,
            people: self.people.max(1),
            duration: self.at as f64 / SECOND as f64,
            final_hash: Some(self.replica.hash()),
            licence: title.licence,
            source: title.source,
        };
        let mut out = BufWriter::new(File::create(&self.path)?);
        serde_json::to_writer(&mut out, &header)?;
        out.write_all(b"\n")?;
        io::copy(&mut BufReader::new(File::open(&self.part)?), &mut out)?;
        out.into_inner()?.sync_all()?;
        Ok(header)
    }
}

impl Drop for SessionWriter {
    fn drop(&mut self) {
        // It may be gone, or was never more than empty; there is nobody left to tell.
        let _ = std::fs::remove_file(&self.part);
    }
}

/// Exact to the microsecond and no longer than it needs to be, so that no rounding adds up.
pub(crate) fn seconds(micros: Micros) -> String {
    let (whole, rest) = (micros / SECOND, micros % SECOND);
    if rest == 0 {
        return whole.to_string();
    }
    format!("{whole}.{rest:06}").trim_end_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use enfilade_proto::{DisplayName, Op};
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::session::read_session;

    fn op(id: u8) -> Op {
        let data =
            json!({"element":format!("e{id}"),"color":"#1a1a1a","width":2.5,"points":[[id,0.25],[3,4]]});
        serde_json::from_value(json!({"type":"add_stroke","data":data})).unwrap()
    }

    fn what() -> impl Strategy<Value = What> {
        let body = prop_oneof![Just(Value::Null), any::<i32>().prop_map(|x| json!({"x":x,"y":[1.5,"ü"]}))];
        prop_oneof![
            any::<u8>().prop_map(|id| What::Op { person: 1, op: op(id) }),
            body.prop_map(|body| What::Signal { person: 0, key: "stroke.1".into(), body }),
        ]
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(steps in prop::collection::vec((0..9_000_000u64, what()), 0..30)) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.enfilade.ndjson");
            let mut writer = SessionWriter::create(&path).unwrap();
            let mut events = vec![Event { at: 0, what: What::Scene(op(0)) }];
            for person in 0..2 {
                let name = DisplayName::new("Zoë \"Z\"").unwrap();
                events.push(Event { at: 0, what: What::Join { person, name } });
            }
            let mut at = 0;
            for (interval, what) in steps {
                at += interval;
                events.push(Event { at, what });
            }
            for event in &events {
                writer.event(event).unwrap();
            }
            let header = writer.finish(Title { title: Some("T".into()), ..Title::default() }).unwrap();
            let session = read_session(BufReader::new(File::open(&path).unwrap())).unwrap();
            prop_assert_eq!(session.events, events);
            prop_assert_eq!(&session.header, &header);
            prop_assert_eq!(header.people, 2);
            prop_assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        }
    }
}
