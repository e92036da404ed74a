//! What happened in one room, as the pages of HARs tell it together.

use std::collections::HashMap;

use enfilade_proto::{
    Accepted, ClientId, Error, Joined, LoggedOp, Op, OpId, Presence, Request, Retry, RoomId, RoomKind, Seq,
    ServerMessage, Signal, SignalOut, Submit, User, UserId,
};

use super::timeline::{Moment, Said, SocketId, Timeline};
use super::{HarError, unpack};
use crate::clock::Micros;
use crate::import::Imported;
use crate::import::draft::{Draft, DraftOp, LeftOut, name};
use crate::session::{Local, MAX_PEOPLE};

pub(super) struct RoomStory {
    room: RoomId,
    draft: Draft,
    local: Local,
    left_out: LeftOut,
    /// Whose page a socket belongs to.
    clients: HashMap<SocketId, ClientId>,
    people: HashMap<ClientId, Person>,
    users: HashMap<ClientId, UserId>,
    names: HashMap<UserId, String>,
    /// Ops that are in the draft. A resent one is there already.
    ops: HashMap<(ClientId, OpId), DraftOp>,
    /// What a reply on a socket would answer.
    submits: HashMap<(SocketId, u32), DraftOp>,
    begin: Option<Begin>,
}

struct Begin {
    at: Micros,
    /// Ops up to here were shown to some page.
    seq: Seq,
    /// Of the signals of those who have no page: all pages see the same ones, and this one tells of them.
    witness: ClientId,
}

struct Person {
    number: u32,
    /// The connection by which they are in the room now; nobody's if they have no page.
    present: Option<Option<SocketId>>,
}

impl RoomStory {
    pub(super) fn tell(timeline: Timeline, room: RoomId) -> Result<Imported, HarError> {
        let Timeline { moments, clients, left_out } = timeline;
        let mut story = Self {
            room,
            draft: Draft::default(),
            local: Local::default(),
            left_out,
            clients,
            people: HashMap::new(),
            users: HashMap::new(),
            names: HashMap::new(),
            ops: HashMap::new(),
            submits: HashMap::new(),
            begin: None,
        };
        for Moment { at, socket, id, said } in moments {
            match said {
                Said::Sent(request) => story.sent(at, socket, id, request),
                Said::Heard(message) => story.heard(at, socket, id, message)?,
            }
        }
        if story.begin.is_none() {
            return Err(HarError::NotThere(room));
        }
        let events = story.draft.finish(&mut story.left_out)?;
        Ok(Imported { events, left_out: story.left_out })
    }

    fn since_begin(&self, at: Micros) -> Micros {
        at.saturating_sub(self.begin.as_ref().map_or(at, |begin| begin.at))
    }

    // ---- what the pages sent ------------------------------------------------------------------------------------

    fn sent(&mut self, at: Micros, socket: SocketId, id: Option<u32>, request: Request) {
        let Some(client) = self.clients.get(&socket).copied() else { return };
        match request {
            Request::Submit(submit) if submit.room == self.room => {
                self.submit(at, client, (socket, id), submit);
            }
            Request::Signal(signal) if signal.room == self.room => self.signal(at, client, socket, signal),
            Request::Submit(_) => self.left_out.count("ops in other rooms", 1),
            Request::Signal(_) => self.left_out.count("signals in other rooms", 1),
            Request::Leave(leave) if leave.room == self.room => {
                // The one that it moved away from says goodbye, too; the person stays.
                let by_this = |person: &&mut Person| person.present == Some(Some(socket));
                if let Some(person) = self.people.get_mut(&client).filter(by_this) {
                    person.present = None;
                    let number = person.number;
                    self.draft.leave(self.since_begin(at), number);
                }
            }
            _ => {}
        }
    }

    fn submit(&mut self, at: Micros, client: ClientId, by: (SocketId, Option<u32>), submit: Submit) {
        let key = (client, submit.op_id);
        if !self.ops.contains_key(&key) {
            let Some(op) = self.add(at, client, Some(by.0), &submit.op) else { return };
            self.ops.insert(key, op);
        }
        if let (socket, Some(id)) = by {
            self.submits.insert((socket, id), self.ops[&key]);
        }
    }

    fn signal(&mut self, at: Micros, client: ClientId, socket: SocketId, signal: Signal) {
        let Some(person) = self.person(at, client, Some(socket)) else { return };
        let Signal { key, mut body, .. } = signal;
        self.local.signal(&key, &mut body);
        self.draft.signal(self.since_begin(at), person, key, body);
    }

    fn add(&mut self, at: Micros, client: ClientId, socket: Option<SocketId>, op: &Op) -> Option<DraftOp> {
        let person = self.person(at, client, socket)?;
        let Some(op) = self.local.op(op) else {
            self.left_out.count("ops that build on what is not in the HAR", 1);
            return None;
        };
        Some(self.draft.op(self.since_begin(at), person, op))
    }

    /// The person whose client this is; they come in with what they do first, if they are not there. None if there are
    /// too many.
    fn person(&mut self, at: Micros, client: ClientId, socket: Option<SocketId>) -> Option<u32> {
        let at = self.since_begin(at);
        let number = self.people.len() as u32;
        if number >= MAX_PEOPLE && !self.people.contains_key(&client) {
            self.left_out.count("deeds of people beyond the most that a session has", 1);
            return None;
        }
        let person = self.people.entry(client).or_insert(Person { number, present: None });
        if person.present.is_none() {
            let user = self.users.get(&client);
            let known = user.and_then(|user| self.names.get(user)).map_or("", String::as_str);
            self.draft.join(at, person.number, name(known, person.number));
        }
        // Who moves is there by the newer connection.
        let newer = socket.max(person.present.flatten());
        person.present = Some(newer);
        Some(person.number)
    }

    // ---- what the pages were told -------------------------------------------------------------------------------

    fn heard(
        &mut self,
        at: Micros,
        socket: SocketId,
        id: Option<u32>,
        message: ServerMessage,
    ) -> Result<(), HarError> {
        let Some(client) = self.clients.get(&socket).copied() else { return Ok(()) };
        match message {
            ServerMessage::Welcome(welcome) => {
                welcome.user.iter().for_each(|user| self.introduce(client, user));
            }
            ServerMessage::Joined(mut joined) if joined.room == self.room => {
                joined.snapshot = unpack::snapshot(joined.snapshot.take(), joined.snapshot_deflate.as_ref());
                if joined.kind != RoomKind::Board {
                    return Err(HarError::Kind(self.room));
                }
                self.joined(at, client, socket, &joined);
            }
            ServerMessage::Accepted(Accepted { seq }) => {
                if let Some(op) = id.and_then(|id| self.submits.remove(&(socket, id))) {
                    self.local.numbered(seq, op.as_seq());
                }
            }
            ServerMessage::Error(error) => self.refused(socket, id, &error),
            ServerMessage::Ops(ops) if ops.room == self.room => self.shown(at, ops.first_seq, &ops.ops),
            ServerMessage::Signals(signals) if signals.room == self.room => {
                self.overheard(at, client, signals.signals);
            }
            ServerMessage::Presence(presence) if presence.room == Some(self.room) => {
                self.presence(at, &presence);
            }
            ServerMessage::Reset(reset) if reset.room == self.room => {
                let snapshot = unpack::snapshot(reset.snapshot, reset.snapshot_deflate.as_ref());
                self.missed(snapshot.map_or(Seq(0), |snapshot| snapshot.seq));
                let ops = reset.ops.as_deref().unwrap_or_default();
                self.shown(at, first_of(reset.position.seq, ops), ops);
            }
            _ => {}
        }
        Ok(())
    }

    fn introduce(&mut self, client: ClientId, user: &User) {
        self.users.insert(client, user.id);
        self.names.insert(user.id, user.name.as_str().to_owned());
    }

    fn joined(&mut self, at: Micros, client: ClientId, socket: SocketId, joined: &Joined) {
        self.named(&joined.presence);
        let ops = joined.ops.as_deref().unwrap_or_default();
        if self.begin.is_none() {
            self.begin = Some(Begin { at, seq: joined.position.seq, witness: client });
            for op in self.local.scene(joined.snapshot.as_ref(), ops) {
                self.draft.scene(op);
            }
        } else {
            self.missed(joined.snapshot.as_ref().map_or(Seq(0), |snapshot| snapshot.seq));
            self.shown(at, first_of(joined.position.seq, ops), ops);
        }
        self.person(at, client, Some(socket));
    }

    fn refused(&mut self, socket: SocketId, id: Option<u32>, error: &Error) {
        // What may be tried again is sent again under the same id.
        if error.code.retry() != Retry::Same
            && let Some(op) = id.and_then(|id| self.submits.remove(&(socket, id)))
        {
            self.left_out.count("ops that were refused", 1);
            self.draft.strike(op);
        }
    }

    /// Ops of the room's history, `first` and on, to some page.
    fn shown(&mut self, at: Micros, first: Seq, ops: &[LoggedOp]) {
        if self.begin.is_none() {
            return;
        }
        for (i, op) in ops.iter().enumerate() {
            let seq = Seq(first.0.saturating_add(i as u64));
            if seq > self.seen() {
                self.missed(Seq(seq.0 - 1));
                self.happened(at, seq, op);
            }
        }
    }

    fn seen(&self) -> Seq {
        self.begin.as_ref().map_or(Seq(0), |begin| begin.seq)
    }

    fn happened(&mut self, at: Micros, seq: Seq, logged: &LoggedOp) {
        if let Some(begin) = &mut self.begin {
            begin.seq = seq;
        }
        let known = self.ops.get(&(logged.client, logged.op_id)).copied();
        let op = known.or_else(|| {
            let client = self.whose(logged)?;
            self.users.insert(client, logged.author);
            self.add(at, client, None, &logged.op)
        });
        if let Some(op) = op {
            self.local.numbered(seq, op.as_seq());
        }
    }

    /// What the room does for somebody is theirs.
    fn whose(&mut self, logged: &LoggedOp) -> Option<ClientId> {
        if logged.client != ClientId::ROOM {
            return Some(logged.client);
        }
        let theirs =
            self.people.keys().find(|client| self.users.get(client) == Some(&logged.author)).copied();
        self.left_out.count("ops of the room itself", theirs.is_none().into());
        theirs
    }

    /// Signals of those who have no page, as one of the pages was told of them.
    fn overheard(&mut self, at: Micros, by: ClientId, signals: Vec<SignalOut>) {
        if self.begin.as_ref().is_none_or(|begin| begin.witness != by) {
            return;
        }
        for SignalOut { author, client, key, mut body } in signals {
            if self.clients.values().any(|page| *page == client) {
                continue;
            }
            self.users.insert(client, author);
            let Some(person) = self.person(at, client, None) else { continue };
            self.local.signal(&key, &mut body);
            self.draft.signal(self.since_begin(at), person, key, body);
        }
    }

    fn presence(&mut self, at: Micros, presence: &Presence) {
        self.named(presence);
        let at = self.since_begin(at);
        for left in presence.left.iter().flatten() {
            let theirs = self.people.iter_mut().filter(|(client, _)| self.users.get(client) == Some(left));
            for person in theirs.map(|(_, person)| person).filter(|person| person.present == Some(None)) {
                person.present = None;
                self.draft.leave(at, person.number);
            }
        }
    }

    fn named(&mut self, presence: &Presence) {
        for member in presence.members.iter().chain(&presence.joined).flatten() {
            self.names.insert(member.id, member.name.as_str().to_owned());
        }
    }

    /// Ops up to this one are not shown any more; those that were not answered either are not known.
    fn missed(&mut self, seq: Seq) {
        let seen = self.seen();
        let Some(begin) = self.begin.as_mut().filter(|_| seq > seen) else { return };
        begin.seq = seq;
        let missed = (seq.0 - seen.0) - self.local.known_between(seen, seq);
        self.left_out.count("ops that no page was shown", missed);
    }
}

/// The seq of the first of the ops that lead to a position.
fn first_of(position: Seq, ops: &[LoggedOp]) -> Seq {
    Seq(position.0.saturating_add(1).saturating_sub(ops.len() as u64))
}
