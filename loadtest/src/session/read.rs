//! Reading a session: one line at a time, each within its bound, and only what makes sense.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, BufRead, Read};

use enfilade_proto::{DisplayName, ErrorCode, Op, RoomKind, Seq};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{
    Event, Header, MAX_DURATION, MAX_EVENTS, MAX_LINE_BYTES, MAX_PEOPLE, VERSION, What, local_author,
};
use crate::clock::Micros;
use crate::replica::{Replica, StateHash};

#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error("cannot read the session: {0}")]
    Io(#[from] io::Error),
    #[error("line {line}: {problem}")]
    Line { line: u64, problem: String },
    #[error("the session has more than {MAX_EVENTS} events")]
    TooLong,
    #[error("the ops make the state {made}, but the header says {said}: the file was changed or cut")]
    FinalHash { made: StateHash, said: StateHash },
}

/// A session in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    pub header: Header,
    pub events: Vec<Event>,
    /// Lines of kinds that this version does not know.
    pub skipped: u64,
}

/// Reads all of it and checks the state hash that the header promises.
///
/// # Errors
/// When the input cannot be read, or is not a session.
pub fn read_session(input: impl BufRead) -> Result<Recorded, SessionError> {
    let mut reader = SessionReader::new(input)?;
    let mut events = Vec::new();
    let mut replica = Replica::default();
    let mut number = Seq(0);
    for event in reader.by_ref() {
        let event = event?;
        if events.len() == MAX_EVENTS {
            return Err(SessionError::TooLong);
        }
        if let Some((person, op)) = event.what.op() {
            number = number.next();
            replica.apply(number, local_author(person), op);
        }
        events.push(event);
    }
    if let Some(said) = reader.header.final_hash.filter(|said| *said != replica.hash()) {
        return Err(SessionError::FinalHash { made: replica.hash(), said });
    }
    Ok(Recorded { header: reader.header, events, skipped: reader.skipped })
}

impl What {
    /// The op in it and whose it is; nobody's if it belongs to the scene.
    #[must_use]
    pub fn op(&self) -> Option<(Option<u32>, &Op)> {
        match self {
            Self::Scene(op) => Some((None, op)),
            Self::Op { person, op } => Some((Some(*person), op)),
            Self::Join { .. } | Self::Leave { .. } | Self::Signal { .. } => None,
        }
    }
}

/// The events of a session, one after another.
#[derive(Debug)]
pub struct SessionReader<R> {
    pub header: Header,
    pub skipped: u64,
    input: R,
    line: u64,
    buffer: Vec<u8>,
    at: Micros,
    present: Vec<bool>,
    begun: bool,
}

impl<R: BufRead> SessionReader<R> {
    /// # Errors
    /// When there is no header of this version.
    pub fn new(mut input: R) -> Result<Self, SessionError> {
        let (mut line, mut buffer) = (0, Vec::new());
        if !next_line(&mut input, &mut line, &mut buffer)? {
            return Err(SessionError::Line { line: 1, problem: "the file is empty".into() });
        }
        let header = read_header(&buffer).map_err(|problem| SessionError::Line { line, problem })?;
        let present = vec![false; header.people as usize];
        Ok(Self { header, skipped: 0, input, line, buffer, at: 0, present, begun: false })
    }

    fn next_event(&mut self) -> Result<Option<Event>, SessionError> {
        while next_line(&mut self.input, &mut self.line, &mut self.buffer)? {
            let buffer = std::mem::take(&mut self.buffer);
            let event = self.read_event(&buffer);
            self.buffer = buffer;
            match event.map_err(|problem| SessionError::Line { line: self.line, problem })? {
                Some(event) => return Ok(Some(event)),
                None => self.skipped += 1,
            }
        }
        Ok(None)
    }

    /// None if the event is of a kind that this version does not know.
    fn read_event(&mut self, line: &[u8]) -> Result<Option<Event>, String> {
        let fields: Fields<'_> = serde_json::from_slice(line).map_err(|e| plain(&e))?;
        self.at = self.at.saturating_add(interval(fields.interval)?);
        if self.at > MAX_DURATION {
            return Err("the session lasts longer than a day".into());
        }
        let what = match &*fields.kind {
            "scene" => What::Scene(fields.data()?),
            "join" => {
                #[derive(Deserialize)]
                struct Join {
                    name: DisplayName,
                }
                What::Join { person: self.person(&fields)?, name: fields.data::<Join>()?.name }
            }
            "leave" => What::Leave { person: self.person(&fields)? },
            "op" => What::Op { person: self.person(&fields)?, op: fields.data()? },
            "signal" => {
                #[derive(Deserialize)]
                struct Signal {
                    key: String,
                    body: Value,
                }
                let Signal { key, body } = fields.data()?;
                What::Signal { person: self.person(&fields)?, key, body }
            }
            _ => return Ok(None),
        };
        self.check(&what)?;
        Ok(Some(Event { at: self.at, what }))
    }

    fn person(&self, fields: &Fields<'_>) -> Result<u32, String> {
        let person = fields.person.ok_or("the third item says whose event it is")?;
        let people = self.header.people;
        if person < people {
            Ok(person)
        } else {
            Err(format!("person {person} of {people}; they count from 0"))
        }
    }

    /// What the order of events has to be for a replay to make sense.
    fn check(&mut self, what: &What) -> Result<(), String> {
        if let What::Scene(_) = what {
            return if self.begun || self.at > 0 {
                Err("the scene comes before everything else".into())
            } else {
                Ok(())
            };
        }
        self.begun = true;
        match what {
            What::Scene(_) => Ok(()),
            What::Join { person, .. } if std::mem::replace(&mut self.present[*person as usize], true) => {
                Err(format!("person {person} is there already"))
            }
            What::Join { .. } => Ok(()),
            What::Leave { person } if !std::mem::replace(&mut self.present[*person as usize], false) => {
                Err(absent(*person))
            }
            What::Leave { .. } => Ok(()),
            What::Op { person, op } => {
                if matches!(op, Op::Forget(_)) {
                    return Err("only a room forgets elements".into());
                }
                self.here(*person)
            }
            What::Signal { person, key, .. } => {
                if !is_key(key) {
                    return Err("a signal's key is 1 to 32 of A-Z a-z 0-9 _ - . :".into());
                }
                self.here(*person)
            }
        }
    }

    fn here(&self, person: u32) -> Result<(), String> {
        if self.present[person as usize] { Ok(()) } else { Err(absent(person)) }
    }
}

impl<R: BufRead> Iterator for SessionReader<R> {
    type Item = Result<Event, SessionError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_event().transpose()
    }
}

fn absent(person: u32) -> String {
    format!("person {person} has not joined")
}

fn is_key(key: &str) -> bool {
    (1..=32).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.:".contains(&b))
}

fn read_header(line: &[u8]) -> Result<Header, String> {
    let header: Header =
        serde_json::from_slice(line).map_err(|e| format!("not a session's header: {}", plain(&e)))?;
    if header.version != VERSION {
        return Err(format!("version {} of the format; this reads version {VERSION}", header.version));
    }
    if header.kind != RoomKind::Board {
        let (kind, code) = (header.kind.as_str(), ErrorCode::WrongKind.as_str());
        return Err(format!("a session in a {kind}; only boards can be replayed so far ({code})"));
    }
    if !(1..=MAX_PEOPLE).contains(&header.people) {
        return Err(format!("{} people; a session has 1 to {MAX_PEOPLE}", header.people));
    }
    Ok(header)
}

fn interval(seconds: f64) -> Result<Micros, String> {
    let micros = seconds * 1e6;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range check bounds it")]
    if (0.0..=MAX_DURATION as f64).contains(&micros) {
        Ok(micros.round() as Micros)
    } else {
        Err("the first item is the time since the event before, in seconds, not negative and at most a day"
            .into())
    }
}

/// `[interval, kind, person, data]`; further items are skipped.
struct Fields<'a> {
    interval: f64,
    kind: Cow<'a, str>,
    person: Option<u32>,
    data: Option<&'a RawValue>,
}

impl Fields<'_> {
    fn data<T: for<'de> Deserialize<'de>>(&self) -> Result<T, String> {
        let data = self.data.ok_or_else(|| format!("the fourth item of {:?} says what", self.kind))?;
        serde_json::from_str(data.get()).map_err(|e| format!("{}: {}", self.kind, plain(&e)))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items;
        impl<'de> Visitor<'de> for Items {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an event [interval, kind, person, data]")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let interval = items.next_element()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
                let kind =
                    items.next_element::<Text<'de>>()?.ok_or_else(|| A::Error::invalid_length(1, &self))?.0;
                let person = items.next_element::<Option<u32>>()?.flatten();
                let data = items.next_element()?;
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Fields { interval, kind, person, data })
            }
        }
        deserializer.deserialize_seq(Items)
    }
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Reads the next line that says something. Blank lines and those that start with `#` do not.
fn next_line(input: &mut impl BufRead, line: &mut u64, buffer: &mut Vec<u8>) -> Result<bool, SessionError> {
    loop {
        buffer.clear();
        *line += 1;
        let limit = MAX_LINE_BYTES as u64 + 1;
        if input.by_ref().take(limit).read_until(b'\n', buffer)? == 0 {
            return Ok(false);
        }
        if buffer.len() > MAX_LINE_BYTES {
            let problem = format!("the line is longer than {MAX_LINE_BYTES} bytes");
            return Err(SessionError::Line { line: *line, problem });
        }
        let text = buffer.trim_ascii();
        if !text.is_empty() && text[0] != b'#' {
            return Ok(true);
        }
    }
}

/// The line within the one line is always 1.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let end = text.find(" at line ").unwrap_or(text.len());
    if error.column() > 0 {
        format!("{} (column {})", &text[..end], error.column())
    } else {
        text[..end].to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = r#"{"enfilade_session":1,"kind":"board","people":2,"duration":1.5}"#;

    fn read(events: &str) -> Result<Recorded, SessionError> {
        read_session(format!("{HEADER}\n{events}").as_bytes())
    }

    fn problem(events: &str) -> String {
        read(events).unwrap_err().to_string()
    }

    #[test]
    fn times_add_up_and_comments_say_nothing() {
        let session = read("# a comment\n\n[0,\"join\",0,{\"name\":\"Ada\"}]\n[0.25,\"signal\",0,{\"key\":\"cursor\",\"body\":null}]\n\
             [1.000001,\"leave\",0]\n")
        .unwrap();
        let times: Vec<Micros> = session.events.iter().map(|event| event.at).collect();
        assert_eq!(times, [0, 250_000, 1_250_001]);
        assert_eq!(session.events[2].what, What::Leave { person: 0 });
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let op =
            r##"{"type":"add_stroke","data":{"element":"a","color":"#1a1a1a","width":4,"points":[[1,1]]}}"##;
        assert_eq!(problem(&format!("\n[0,\"op\",0,{op}]\n")), "line 3: person 0 has not joined");
        assert_eq!(problem("[0,\"join\",2,{\"name\":\"Ada\"}]"), "line 2: person 2 of 2; they count from 0");
        assert!(problem("[-1,\"leave\",0]").starts_with("line 2: the first item is the time"));
        assert!(problem("[1e300,\"leave\",0]").starts_with("line 2: the first item is the time"));
        assert!(problem("[0,\"join\",0,{\"name\":\"\"}]").starts_with("line 2: join: a name has 1 to"));
        assert!(problem("[0,\"join\",0]").contains("fourth item"));
        assert!(problem("[0").starts_with("line 2: EOF"));
        assert!(problem("{}").contains("expected an event [interval, kind, person, data]"));
        let joined = "[0,\"join\",0,{\"name\":\"Ada\"}]\n";
        assert_eq!(problem(&format!("{joined}{joined}")), "line 3: person 0 is there already");
        assert!(problem(&format!("{joined}[0,\"scene\",null,{op}]")).contains("the scene comes before"));
        assert!(
            problem(&format!("{joined}[0,\"signal\",0,{{\"key\":\"a b\",\"body\":1}}]"))
                .contains("a signal's key")
        );
        let nan = op.replace("[1,1]", "[1,1e400]");
        assert!(problem(&format!("{joined}[0,\"op\",0,{nan}]")).starts_with("line 3: "));
    }

    #[test]
    fn a_header_that_is_none_is_refused() {
        for (text, says) in [
            ("", "the file is empty"),
            ("[]", "not a session's header"),
            (r#"{"enfilade_session":2,"kind":"board","people":1,"duration":0}"#, "version 2"),
            (
                r#"{"enfilade_session":1,"kind":"chat","people":1,"duration":0}"#,
                "a session in a chat; only boards can be replayed so far (wrong_kind)",
            ),
            (r#"{"enfilade_session":1,"kind":"board","people":0,"duration":0}"#, "0 people"),
            (
                r#"{"enfilade_session":1,"kind":"board","people":4000000000,"duration":0}"#,
                "4000000000 people",
            ),
        ] {
            let error = read_session(text.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("line 1: ") && error.contains(says), "{error}");
        }
    }

    #[test]
    fn kinds_of_tomorrow_are_skipped_and_counted() {
        let session = read("[1,\"applause\",0,{}]\n[0,\"join\",1,{\"name\":\"Bob\"},\"more\"]").unwrap();
        assert_eq!((session.skipped, session.events.len(), session.events[0].at), (1, 1, 1_000_000));
    }

    #[test]
    fn a_line_beyond_the_bound_is_refused_unread() {
        let long = "x".repeat(MAX_LINE_BYTES + 10);
        assert!(problem(&long).contains("longer than"));
    }

    #[test]
    fn a_changed_file_betrays_itself() {
        let header = format!(
            r#"{{"enfilade_session":1,"kind":"board","people":1,"duration":0,"final_hash":"{}"}}"#,
            "0".repeat(32)
        );
        assert!(read_session(header.as_bytes()).is_ok());
        let text = header.replace("00000", "10000");
        assert!(matches!(read_session(text.as_bytes()), Err(SessionError::FinalHash { .. })));
    }
}
