//! `record`: sits in a room as a guest and writes down what happens, as a session that can be replayed.
//!
//! Ids of people, elements and ops become the recording's own; what was there before becomes its scene.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use bytes::Bytes;
use enfilade_proto::{
    ClientId, Codec, DisplayName, Guest, Join, LoggedOp, Member, Pong, Presence, Request, RoomId, Seq,
    ServerMessage, SignalOut, Snapshot, UserId,
};
use uuid::Uuid;

use crate::clock::{Clock, Micros};
use crate::connection::{ConnectError, Incoming, Visit};
use crate::session::{Event, Header, Local, MAX_PEOPLE, SessionWriter, Title, What};
use crate::target::Target;

#[derive(Clone, Debug)]
pub struct Options {
    pub target: Target,
    pub room: RoomId,
    pub link: Option<String>,
    pub codec: Codec,
    pub title: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("cannot write the session: {0}")]
    Io(#[from] io::Error),
}

/// What was recorded.
#[derive(Debug)]
pub struct Recording {
    pub header: Header,
    pub ops: u64,
    pub signals: u64,
    /// Ops and signals that a replay could not repeat: the room's own housekeeping, and more people than fit.
    pub left_out: u64,
    /// Why it ended before it was told to.
    pub ended: Option<String>,
}

/// Records until `enough`, or until the connection ends; what was recorded by then is written in any case.
///
/// # Errors
/// When the room cannot be joined or the file not written.
pub async fn record(
    options: &Options,
    out: &Path,
    enough: impl Future<Output = ()>,
    mut progress: impl FnMut(u64, u64),
) -> Result<Recording, RecordError> {
    let client = ClientId(Uuid::new_v4());
    let join = Join { room: options.room, link: options.link.clone(), since: None };
    let mut visit =
        Visit::begin(&options.target, options.codec, client, Guest { name: "Recorder".into() }, join).await?;
    let mut scribe = Scribe::new(SessionWriter::create(out)?, client);
    scribe.scene(visit.joined.snapshot.as_ref(), visit.joined.ops.as_deref().unwrap_or_default())?;
    scribe.seq = visit.joined.position.seq;
    scribe.presence(&visit.joined.presence);
    let clock = Clock::start();
    let mut outgoing: Vec<Bytes> = Vec::new();
    for frame in std::mem::take(&mut visit.rest) {
        scribe.hear(0, frame.message, options.codec, &mut outgoing)?;
    }
    let mut enough = std::pin::pin!(enough);
    let ended = loop {
        let incoming = tokio::select! {
            () = &mut enough => break None,
            incoming = visit.socket.next(|| outgoing.pop()) => incoming,
        };
        let frame = match incoming {
            Incoming::Frame(frame) => frame,
            Incoming::Closed(code) => break Some(ConnectError::Closed(code).to_string()),
            Incoming::Broken(problem) => break Some(ConnectError::Malformed(problem).to_string()),
        };
        let now = clock.now();
        match options.codec.decode_server(&frame) {
            Ok(messages) => {
                for message in messages {
                    scribe.hear(now, message.message, options.codec, &mut outgoing)?;
                }
            }
            Err(e) => break Some(ConnectError::Malformed(e.to_string()).to_string()),
        }
        if let Some(problem) = scribe.lost.take() {
            break Some(problem);
        }
        progress(scribe.ops, scribe.signals);
    };
    visit.socket.close(|| None).await;
    let title = options.title.clone().unwrap_or_else(|| visit.joined.title.as_str().to_owned());
    let source = Some("recorded with enfilade-loadtest".to_owned());
    let title = Title { title: Some(title), licence: None, source };
    let Scribe { writer, ops, signals, left_out, .. } = scribe;
    Ok(Recording { header: writer.finish(title)?, ops, signals, left_out, ended })
}

/// Turns what the server says into events.
struct Scribe {
    writer: SessionWriter,
    own: ClientId,
    people: HashMap<ClientId, Person>,
    names: HashMap<UserId, DisplayName>,
    local: Local,
    seq: Seq,
    ops: u64,
    signals: u64,
    left_out: u64,
    lost: Option<String>,
}

struct Person {
    number: u32,
    user: UserId,
    present: bool,
}

impl Scribe {
    fn new(writer: SessionWriter, own: ClientId) -> Self {
        Self {
            writer,
            own,
            people: HashMap::new(),
            names: HashMap::new(),
            local: Local::default(),
            seq: Seq(0),
            ops: 0,
            signals: 0,
            left_out: 0,
            lost: None,
        }
    }

    fn scene(&mut self, snapshot: Option<&Snapshot>, ops: &[LoggedOp]) -> io::Result<()> {
        for op in self.local.scene(snapshot, ops) {
            self.writer.event(&Event { at: 0, what: What::Scene(op) })?;
        }
        Ok(())
    }

    fn hear(
        &mut self,
        now: Micros,
        message: ServerMessage,
        codec: Codec,
        outgoing: &mut Vec<Bytes>,
    ) -> io::Result<()> {
        match message {
            ServerMessage::Ops(ops) => {
                for (i, op) in ops.ops.iter().enumerate() {
                    self.op(now, Seq(ops.first_seq.0 + i as u64), op)?;
                }
            }
            ServerMessage::Signals(signals) => {
                for signal in signals.signals {
                    self.signal(now, signal)?;
                }
            }
            ServerMessage::Presence(presence) => {
                self.presence(&presence);
                self.departures(now, &presence)?;
            }
            ServerMessage::Ping(_) => {
                outgoing.push(codec.encode_request(None, &Request::Pong(Pong {})).into());
            }
            ServerMessage::Reset(_) => self.lost = Some("the recorder fell behind and missed ops".into()),
            ServerMessage::Closing(closing) => {
                self.lost = Some(format!("the server said: {}", closing.reason));
            }
            _ => {}
        }
        Ok(())
    }

    fn op(&mut self, now: Micros, seq: Seq, op: &LoggedOp) -> io::Result<()> {
        if seq <= self.seq {
            return Ok(());
        }
        if seq != self.seq.next() {
            self.lost = Some(format!("the op after {} did not come", self.seq));
            return Ok(());
        }
        self.seq = seq;
        let Some(person) = self.person(now, op.client, op.author)? else { return Ok(()) };
        let Some(local) = self.local.op(&op.op) else {
            self.left_out += 1;
            return Ok(());
        };
        self.local.numbered(seq, self.writer.next_number());
        self.ops += 1;
        self.writer.event(&Event { at: now, what: What::Op { person, op: local } })
    }

    fn signal(&mut self, now: Micros, signal: SignalOut) -> io::Result<()> {
        if signal.client == self.own {
            return Ok(());
        }
        let Some(person) = self.person(now, signal.client, signal.author)? else { return Ok(()) };
        self.signals += 1;
        let (key, mut body) = (signal.key, signal.body);
        self.local.signal(&key, &mut body);
        self.writer.event(&Event { at: now, what: What::Signal { person, key, body } })
    }

    fn presence(&mut self, presence: &Presence) {
        let named: Vec<&Member> = presence.members.iter().chain(&presence.joined).flatten().collect();
        // Bounded like the people themselves; beyond, names are made up.
        for member in named.into_iter().take(MAX_PEOPLE as usize) {
            if self.names.len() < 4 * MAX_PEOPLE as usize {
                self.names.insert(member.id, member.name.clone());
            }
        }
    }

    fn departures(&mut self, now: Micros, presence: &Presence) -> io::Result<()> {
        for user in presence.left.iter().flatten() {
            for person in self.people.values_mut().filter(|person| person.user == *user && person.present) {
                person.present = false;
                self.writer.event(&Event { at: now, what: What::Leave { person: person.number } })?;
            }
        }
        Ok(())
    }

    /// The person whose client this is; they join with the first thing they do. What the room does for somebody is
    /// theirs. None if nobody of the recording did it.
    fn person(&mut self, now: Micros, client: ClientId, user: UserId) -> io::Result<Option<u32>> {
        if client == ClientId::ROOM {
            let theirs = self.people.values().find(|person| person.user == user && person.present);
            self.left_out += u64::from(theirs.is_none());
            return Ok(theirs.map(|person| person.number));
        }
        let number = self.people.len() as u32;
        if number >= MAX_PEOPLE && !self.people.contains_key(&client) {
            self.left_out += 1;
            return Ok(None);
        }
        let person = self.people.entry(client).or_insert(Person { number, user, present: false });
        let number = person.number;
        if !std::mem::replace(&mut person.present, true) {
            #[expect(clippy::expect_used, reason = "a word and a number")]
            let made_up = || DisplayName::new(&format!("Person {}", number + 1)).expect("a name");
            let name = self.names.get(&user).cloned().unwrap_or_else(made_up);
            self.writer.event(&Event { at: now, what: What::Join { person: number, name } })?;
        }
        Ok(Some(number))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::BufReader;

    use enfilade_proto::board::AllElements;
    use enfilade_proto::{Epoch, OpId, Ops, Role, Signals};
    use serde_json::json;

    use super::*;
    use crate::replica::Replica;
    use crate::session::{Recorded, read_session};

    const ADA: u128 = 1;
    const BOB: u128 = 2;

    fn logged(who: u128, op: serde_json::Value) -> LoggedOp {
        let (author, client) = (UserId(Uuid::from_u128(who)), ClientId(Uuid::from_u128(who + 100)));
        LoggedOp { author, client, op_id: OpId(1), at: 0, op: serde_json::from_value(op).unwrap() }
    }

    fn line(id: &str) -> serde_json::Value {
        json!({"type":"add_line","data":{"element":id,"color":"#000000","width":1,"from":[0,0],"to":[1,1]}})
    }

    fn delete(id: &str) -> serde_json::Value {
        json!({"type":"delete","data":{"elements":[id]}})
    }

    struct Desk {
        folder: tempfile::TempDir,
        scribe: Scribe,
        now: Micros,
    }

    impl Desk {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let writer = SessionWriter::create(&folder.path().join("s")).unwrap();
            Self { scribe: Scribe::new(writer, ClientId(Uuid::from_u128(999))), folder, now: 0 }
        }

        fn hear(&mut self, message: ServerMessage) -> Vec<Bytes> {
            self.now += 1_000;
            let mut outgoing = Vec::new();
            self.scribe.hear(self.now, message, Codec::Json, &mut outgoing).unwrap();
            outgoing
        }

        fn ops(&mut self, first: u64, ops: Vec<LoggedOp>) {
            let room = RoomId(Uuid::nil());
            self.hear(ServerMessage::Ops(Ops { room, epoch: Epoch(1), first_seq: Seq(first), ops }));
        }

        fn finish(self) -> (Recorded, u64) {
            self.scribe.writer.finish(Title::default()).unwrap();
            let file = File::open(self.folder.path().join("s")).unwrap();
            (read_session(BufReader::new(file)).unwrap(), self.scribe.left_out)
        }
    }

    fn whats(session: &Recorded) -> Vec<String> {
        let what = |event: &Event| match &event.what {
            What::Scene(op) => format!("scene {}", json!(op)["data"]),
            What::Join { person, name } => format!("join {person} {name}"),
            What::Leave { person } => format!("leave {person}"),
            What::Op { person, op } => format!("op {person} {} {}", json!(op)["type"], json!(op)["data"]),
            What::Signal { person, key, body } => format!("signal {person} {key} {body}"),
        };
        session.events.iter().map(what).collect()
    }

    #[test]
    fn what_was_there_before_becomes_the_scene() {
        let mut replica = Replica::default();
        let ops = [
            line("under"),
            line("gone"),
            line("over"),
            json!({"type":"move","data":{"elements":["under"],"offsets":[[5,0]]}}),
            json!({"type":"reorder","data":{"elements":["under"],"z":[99]}}),
        ];
        for (i, op) in ops.into_iter().enumerate() {
            replica.apply(Seq(i as u64 + 1), UserId(Uuid::from_u128(ADA)), &logged(ADA, op).op);
        }
        let elements = replica.pile().into_iter().cloned().collect();
        let snapshot = Snapshot { seq: Seq(5), elements: Some(AllElements(elements)) };
        let mut desk = Desk::new();
        desk.scribe.scene(Some(&snapshot), &[logged(ADA, delete("gone"))]).unwrap();
        let (session, _) = desk.finish();
        let scene = whats(&session);
        assert_eq!(scene.len(), 3, "{scene:?}");
        assert!(scene[0].contains("\"e1\"") && scene[1].contains("\"e2\""), "{scene:?}");
        assert_eq!(scene[2], r#"scene {"elements":["e2"],"offsets":[[5,0]]}"#);
    }

    #[test]
    fn ids_become_the_recordings_own() {
        let mut desk = Desk::new();
        desk.scribe.seq = Seq(40);
        let name = |name| DisplayName::new(name).unwrap();
        let member =
            |who, text| Member { id: UserId(Uuid::from_u128(who)), name: name(text), role: Role::Editor };
        let joined = Some(vec![member(ADA, "Ada"), member(BOB, "Bob")]);
        desk.hear(ServerMessage::Presence(Presence { count: 2, joined, ..Presence::default() }));
        desk.ops(41, vec![logged(BOB, line("x-9")), logged(ADA, delete("x-9"))]);
        desk.ops(43, vec![logged(BOB, json!({"type":"restore","data":{"deleted_by":42}}))]);
        let left = Some(vec![UserId(Uuid::from_u128(BOB))]);
        desk.hear(ServerMessage::Presence(Presence { count: 1, left, ..Presence::default() }));
        desk.ops(44, vec![logged(BOB, delete("x-9"))]);
        let (session, left_out) = desk.finish();
        let added = line("e1")["data"].to_string();
        assert_eq!(
            whats(&session),
            [
                "join 0 Bob".to_owned(),
                format!("op 0 \"add_line\" {added}"),
                "join 1 Ada".into(),
                r#"op 1 "delete" {"elements":["e1"]}"#.into(),
                r#"op 0 "restore" {"deleted_by":2}"#.into(),
                "leave 0".into(),
                "join 0 Bob".into(),
                r#"op 0 "delete" {"elements":["e1"]}"#.into(),
            ]
        );
        assert_eq!((left_out, session.header.people), (0, 2));
    }

    #[test]
    fn what_cannot_be_repeated_is_left_out_and_counted() {
        let mut desk = Desk::new();
        let forget = LoggedOp {
            client: ClientId::ROOM,
            ..logged(ADA, json!({"type":"forget","data":{"elements":["a"]}}))
        };
        let restore = json!({"type":"restore","data":{"deleted_by":900}});
        desk.ops(1, vec![forget, logged(ADA, restore)]);
        let (session, left_out) = desk.finish();
        assert_eq!((whats(&session), left_out), (vec!["join 0 Person 1".to_owned()], 2));
    }

    #[test]
    fn signals_lose_what_a_replay_added() {
        let mut desk = Desk::new();
        let signal = |client: u128, key: &str, body| SignalOut {
            author: UserId(Uuid::from_u128(ADA)),
            client: ClientId(Uuid::from_u128(client)),
            key: key.into(),
            body,
        };
        let signals = vec![
            signal(101, "stroke.0", json!({"element":"x","at":0,"points":[1,2],"replay":7})),
            signal(999, "cursor", json!({"x":1,"y":1})),
            signal(101, "cursor", json!(null)),
        ];
        desk.hear(ServerMessage::Signals(Signals { room: RoomId(Uuid::nil()), signals }));
        let (session, _) = desk.finish();
        assert_eq!(
            whats(&session),
            [
                "join 0 Person 1",
                r#"signal 0 stroke.0 {"at":0,"element":"e1","points":[1,2]}"#,
                "signal 0 cursor null"
            ]
        );
    }

    #[test]
    fn a_recorder_that_misses_something_says_so() {
        let mut desk = Desk::new();
        desk.ops(2, vec![logged(ADA, line("a"))]);
        assert!(desk.scribe.lost.as_ref().unwrap().contains("after 0 did not come"));
        let pongs = desk.hear(ServerMessage::Ping(enfilade_proto::Ping { heads: vec![] }));
        assert_eq!(pongs.len(), 1);
    }
}
