//! Reads journals, one line at a time, and several of them side by side in the order of their times.

use std::io::{self, BufRead};
use std::sync::Arc;

use super::{Begin, Bound, Fault, Journaled, Line, VERSION};
use crate::clock::{MILLISECOND, Micros};

/// When something happened, and where that is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Microseconds since 1970; none for what has no time.
    pub at: Option<Micros>,
    pub file: Option<Arc<str>>,
    pub line: u64,
}

impl Moment {
    #[must_use]
    pub fn at(at: Micros) -> Self {
        Self { at: Some(at), ..Self::default() }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("cannot read {file}: {source}")]
    Io { file: Arc<str>, source: io::Error },
    #[error("{file}:{line}: {problem}")]
    Line { file: Arc<str>, line: u64, problem: String },
}

/// A journal as a stream. A last line that was cut off (its writer was killed) is left out.
#[derive(Debug)]
pub struct JournalReader<R> {
    input: R,
    file: Arc<str>,
    line: u64,
    wall_us: Option<Micros>,
    text: String,
}

impl<R: BufRead> JournalReader<R> {
    pub fn new(input: R, file: &str) -> Self {
        Self { input, file: file.into(), line: 0, wall_us: None, text: String::new() }
    }

    fn read_text(&mut self) -> Result<bool, JournalError> {
        self.text.clear();
        let read = self.input.read_line(&mut self.text);
        let read = read.map_err(|source| JournalError::Io { file: self.file.clone(), source })?;
        self.line += 1;
        Ok(read > 0)
    }

    /// # Errors
    /// When it cannot be read, or a line is not a journal's.
    pub fn read(&mut self) -> Result<Option<(Moment, Journaled)>, JournalError> {
        while self.read_text()? {
            let whole = self.text.ends_with('\n');
            let text = self.text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            match parse(text) {
                Ok(Parsed::Begin(begin)) if begin.enfilade_journal == VERSION => {
                    self.wall_us = Some(begin.wall_us);
                }
                Ok(Parsed::Begin(begin)) => {
                    return Err(self.wrong(format!("version {} is not known here", begin.enfilade_journal)));
                }
                Ok(Parsed::Line(line)) => {
                    let Some(wall_us) = self.wall_us else {
                        return Err(self.wrong("the first line does not say enfilade_journal".into()));
                    };
                    return Ok(Some((
                        self.moment(wall_us.saturating_add(line.t)),
                        Journaled::Entry(line.entry),
                    )));
                }
                Ok(Parsed::Mark(at, told)) => {
                    return Ok(Some((self.moment((at.max(0.0) * MILLISECOND as f64) as Micros), told)));
                }
                Err(_) if !whole && self.line > 1 => return Ok(None),
                Err(problem) => return Err(self.wrong(problem)),
            }
        }
        Ok(None)
    }

    fn moment(&self, at: Micros) -> Moment {
        Moment { at: Some(at), file: Some(self.file.clone()), line: self.line }
    }

    fn wrong(&self, problem: String) -> JournalError {
        JournalError::Line { file: self.file.clone(), line: self.line, problem }
    }
}

enum Parsed {
    Begin(Begin),
    Line(Line),
    Mark(f64, Journaled),
}

/// Lines of clients are most of all; whatever is none of these is told apart by its fields.
fn parse(text: &str) -> Result<Parsed, String> {
    let problem = match serde_json::from_str(text) {
        Ok(line) => return Ok(Parsed::Line(line)),
        Err(problem) => problem.to_string(),
    };
    if let Ok(begin) = serde_json::from_str(text) {
        return Ok(Parsed::Begin(begin));
    }
    if let Ok(fault) = serde_json::from_str::<Fault>(text) {
        return Ok(Parsed::Mark(fault.at, Journaled::Fault(fault)));
    }
    let bound: Option<Bound> = serde_json::from_str(text).ok();
    bound.map(|bound| Parsed::Mark(bound.at, Journaled::Bound(bound))).ok_or(problem)
}

/// Reads a whole journal.
///
/// # Errors
/// When it cannot be read, or a line is not a journal's.
pub fn read_journal(input: impl BufRead, file: &str) -> Result<Vec<(Moment, Journaled)>, JournalError> {
    let mut reader = JournalReader::new(input, file);
    std::iter::from_fn(|| reader.read().transpose()).collect()
}

/// Hands over what several journals hold, the earliest first.
///
/// # Errors
/// When one of them cannot be read. What came before was handed over.
pub fn read_side_by_side<R: BufRead>(
    readers: Vec<JournalReader<R>>,
    mut take: impl FnMut(&Moment, &Journaled),
) -> Result<(), JournalError> {
    let mut heads = Vec::new();
    for mut reader in readers {
        if let Some(head) = reader.read()? {
            heads.push((head, reader));
        }
    }
    // Journals are few: looking at each is quicker than keeping them in order.
    while let Some(i) = (0..heads.len()).min_by_key(|i| heads[*i].0.0.at) {
        let ((moment, told), reader) = &mut heads[i];
        take(moment, told);
        match reader.read()? {
            Some(next) => (*moment, *told) = next,
            None => drop(heads.swap_remove(i)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use enfilade_proto::{ClientId, Epoch, OpId, RoomId, Seq};
    use uuid::Uuid;

    use super::*;
    use crate::clock::Clock;
    use crate::digest::RangeDigest;
    use crate::journal::{Entry, Journal};

    const ROOM: RoomId = RoomId(Uuid::from_u128(1));
    const CLIENT: ClientId = ClientId(Uuid::from_u128(2));

    fn ops(first: u64, last: u64) -> Entry {
        let digest = Some(RangeDigest::sum(Seq(first), first..=last));
        let (first, last) = (Seq(first), Seq(last));
        Entry::Ops { client: CLIENT, connection: 1, room: ROOM, epoch: Epoch(1), first, last, digest }
    }

    fn written(entries: &[(Micros, Entry)]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let journal = Journal::create(&path, Clock::start()).unwrap();
        entries.iter().for_each(|(t, entry)| journal.note(*t, entry.clone()));
        journal.finish().unwrap();
        std::fs::read_to_string(&path).unwrap()
    }

    fn entries(text: &str) -> Vec<Entry> {
        let entry = |(_, told)| match told {
            Journaled::Entry(entry) => entry,
            other => panic!("{other:?}"),
        };
        read_journal(text.as_bytes(), "j").unwrap().into_iter().map(entry).collect()
    }

    #[test]
    fn a_journal_is_read_as_it_was_written_even_cut_off() {
        let expected = [
            Entry::Room { room: ROOM, link: Some("secret".into()), alone: true },
            Entry::Accepted { client: CLIENT, room: ROOM, op_id: OpId(1), seq: Seq(7), epoch: None },
        ];
        let text = written(&[(1, expected[0].clone()), (2, expected[1].clone())]);
        assert_eq!(entries(&text), expected);
        let cut = format!("{text}{{\"room\":\"0000");
        assert_eq!(entries(&cut), expected);
        let spoilt = format!("{cut}\n{text}");
        let error = read_journal(spoilt.as_bytes(), "j").unwrap_err().to_string();
        assert!(error.starts_with("j:4: "), "{error}");
        assert!(read_journal(&b"nonsense"[..], "j").is_err());
        assert!(read_journal(&b""[..], "j").unwrap().is_empty());
    }

    #[test]
    fn pushes_that_follow_each_other_share_a_line() {
        let answered = Entry::Submit { client: CLIENT, room: ROOM, op_id: OpId(1) };
        let told = [ops(1, 2), answered.clone(), ops(3, 3), ops(5, 6), ops(7, 7)];
        let text = written(&told.map(|entry| (1, entry)));
        assert_eq!(entries(&text), [answered, ops(1, 3), ops(5, 7)]);
    }

    #[test]
    fn journals_are_read_in_the_order_of_their_wall_clocks() {
        let journal = |wall_us: u64, times: &[u64]| {
            let line = |t: &u64| {
                format!(
                    "{{\"t\":{t},\"k\":\"submit\",\"client\":\"{CLIENT}\",\"room\":\"{ROOM}\",\"op_id\":{t}}}\n"
                )
            };
            let lines: String = times.iter().map(line).collect();
            format!("{{\"enfilade_journal\":2,\"wall_us\":{wall_us}}}\n{lines}")
        };
        let (a, b) = (journal(1_000, &[5, 30, 31]), journal(1_010, &[1, 15, 90]));
        let marks = "{\"at\":1.02,\"fault\":\"kill owner\",\"phase\":\"inject\"}\n\
                     {\"at\":9,\"metric\":\"mailbox_bytes\",\"value\":1,\"bound\":2}\n";
        let readers = [(&a[..], "a"), (&b[..], "b"), (marks, "m")];
        let mut times = Vec::new();
        let readers = readers.map(|(text, name)| JournalReader::new(text.as_bytes(), name)).into();
        read_side_by_side(readers, |moment, told| {
            times.push((moment.at.unwrap(), matches!(told, Journaled::Entry(_))));
        })
        .unwrap();
        let expected = [
            (1_005, true),
            (1_011, true),
            (1_020, false),
            (1_025, true),
            (1_030, true),
            (1_031, true),
            (1_100, true),
            (9_000, false),
        ];
        assert_eq!(times, expected);
    }
}
