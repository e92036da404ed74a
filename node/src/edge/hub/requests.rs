//! What clients want: answered at once where that can be done, or left to be waited for.

use bytes::Bytes;
use enfilade_actors::bus::Submission;
use enfilade_actors::trace::Span;
use enfilade_actors::{Refusal, Stopwatch};
use enfilade_proto::limits::{OPS_IN_FLIGHT, ROOMS_PER_CONNECTION, SIGNAL_BYTES};
use enfilade_proto::{
    Accepted, Activity, CloseCode, Codec, Done, Error, ErrorCode, Incoming, Join, Message, Read, Refresh,
    Rejected, Request, Role, RoomId, Seq, Signal, SignalOut, Submit, UserId,
};

use super::connection::{Connection, Joined};
use super::pace::Pace;
use super::unseen::Arrived;
use super::{ConnectionId, Hub};
use crate::edge::entering::Entrant;
use crate::edge::frame;
use crate::edge::inbox::Inbound;
use crate::named;
use crate::people::Principal;

/// Frames in a row that could not be understood, before the connection is closed.
const MALFORMED: u16 = 16;
/// Requests in a row that were refused for their number, before the connection is closed.
const FLOODING: u16 = 1_000;

/// What came of something that a client sent.
#[derive(Debug)]
pub(crate) enum Taken {
    Done,
    /// It takes time, and what the client sent after it has to wait.
    Later(Box<Later>),
    /// The connection is over, with these words if it is for us to say them.
    End(Option<CloseCode>),
}

/// Requests that others have to be asked about.
#[derive(Debug)]
pub(crate) enum Later {
    Join { id: Option<u32>, join: Join, entrant: Entrant },
    Read { id: Option<u32>, read: Read, reader: Option<UserId> },
}

impl Hub {
    /// Takes in bytes of a connection. Nothing if the hub has given it up: what it still says is not for us.
    pub(crate) fn hear(&mut self, who: ConnectionId, bytes: &mut [u8]) -> Option<Vec<Inbound>> {
        let now_ms = self.now_ms();
        self.figures.received_bytes.increment(bytes.len() as u64);
        let connection = self.connection(who)?;
        connection.line.heard_ms.set(now_ms);
        Some(connection.inbox.feed(bytes))
    }

    pub(crate) fn take(&mut self, who: ConnectionId, inbound: Inbound) -> Taken {
        match inbound {
            Inbound::Request { incoming: Ok(incoming), weight } => {
                if let Some(connection) = self.connection(who) {
                    connection.malformed = 0;
                }
                self.request(who, incoming, weight)
            }
            Inbound::Request { incoming: Err(Rejected { id, code, message }), .. } => {
                self.not_understood(who, id, code, message)
            }
            Inbound::Malformed(message) => self.not_understood(who, None, ErrorCode::MalformedFrame, message),
            Inbound::Ping(payload) => {
                self.send(who, &[frame::pong(&payload)]);
                Taken::Done
            }
            Inbound::Pong => Taken::Done,
            Inbound::Close => {
                self.send(who, &[frame::close_reply()]);
                Taken::End(None)
            }
            Inbound::Broken(code) => Taken::End(Some(code)),
        }
    }

    fn not_understood(
        &mut self,
        who: ConnectionId,
        id: Option<u32>,
        code: ErrorCode,
        message: String,
    ) -> Taken {
        self.refuse(who, id, Error::new(code, message));
        let Some(connection) = self.connection(who) else { return Taken::End(None) };
        // A message that a later version knows is no nonsense.
        connection.malformed += u16::from(code != ErrorCode::UnknownType);
        if connection.malformed >= MALFORMED { Taken::End(Some(CloseCode::Malformed)) } else { Taken::Done }
    }

    fn request(&mut self, who: ConnectionId, incoming: Incoming, weight: u32) -> Taken {
        let Incoming { id, request } = incoming;
        let answer = match request {
            Request::Submit(submit) => self.submit(who, id, submit, weight).map(|()| None),
            Request::Signal(signal) => self.take_signal(who, id, signal, weight).map(|()| None),
            Request::Join(join) => self.may_join(who, id, join).map(Some),
            Request::Leave(leave) => self.take_leave(who, id, leave.room).map(|()| None),
            Request::Read(read) => self.may_read(who, id, read).map(Some),
            Request::Refresh(refresh) => self.refresh(who, id, &refresh).map(|()| None),
            Request::Message(message) => self.message(who, &message).map(|()| None),
            Request::Activity(activity) => self.take_activity(who, id, activity).map(|()| None),
            Request::Pong(_) => {
                let now_ms = self.now_ms();
                if let Some(connection) = self.connection(who) {
                    connection.ponged(now_ms);
                }
                self.done(who, id);
                Ok(None)
            }
            Request::Hello(_) => Err(error(ErrorCode::HelloRepeated, "hello was said before")),
        };
        self.taken(who, id, answer)
    }

    /// What becomes of a connection whose request was taken or refused.
    pub(crate) fn taken(
        &mut self,
        who: ConnectionId,
        id: Option<u32>,
        answer: Result<Option<Later>, Error>,
    ) -> Taken {
        let Some(connection) = self.connection(who) else { return Taken::End(None) };
        match answer {
            Ok(later) => {
                connection.flooding = 0;
                later.map_or(Taken::Done, |later| Taken::Later(Box::new(later)))
            }
            Err(refusal) => {
                let flooding = refusal.code == ErrorCode::RateLimited;
                connection.flooding = if flooding { connection.flooding + 1 } else { 0 };
                let enough = connection.flooding >= FLOODING;
                self.refuse(who, id, refusal);
                if enough { Taken::End(Some(CloseCode::Flooding)) } else { Taken::Done }
            }
        }
    }

    // ---- what clients want ------------------------------------------------------------------------------------

    fn submit(
        &mut self,
        who: ConnectionId,
        id: Option<u32>,
        submit: Submit,
        weight: u32,
    ) -> Result<(), Error> {
        let now_ms = self.now_ms();
        let ends = self.ends.clone();
        let connection = self.known(who)?;
        let role = joined(connection, submit.room)?.role;
        let writer = connection.writer().ok_or_else(only_watches)?;
        connection.meters().op(&ends.allowances, now_ms).map_err(too_many)?;
        if usize::from(connection.in_flight) >= OPS_IN_FLIGHT {
            return Err(Error {
                retry_after_ms: Some(100),
                ..error(ErrorCode::Busy, "too many ops without an answer")
            });
        }
        let Submit { room, op_id, op } = submit;
        let watch = Stopwatch::start();
        let mut span = ends.sampling.op(connection.trace());
        let trace = span.as_ref().map(Span::context);
        let submission = Submission { writer, role, op_id, op, weight, trace };
        // In order into the room's queue; the answer is waited for elsewhere.
        let answer =
            ends.cluster.submit(room, submission).map_err(|refusal| refused(refusal, span.as_mut()))?;
        connection.in_flight += 1;
        let codec = connection.codec();
        let Some(desk) = self.desk.upgrade() else { return Ok(()) };
        tokio::task::spawn_local(async move {
            let result = answer.wait().await;
            let accepted = result.as_ref().ok().copied();
            let message = match result {
                Ok(seq) => codec.encode(id, "accepted", &Accepted { seq }),
                Err(refusal) => codec.encode(id, "error", &refused(refusal, span.as_mut())),
            };
            let frame = frame::message(codec == Codec::Json, &message);
            let op = Arrived { watch, trace: trace.map(|context| context.trace) };
            desk.with(|hub| {
                hub.op_answered(who, frame);
                hub.measure_answer(room, accepted, op);
            });
            if let (Some(span), Some(seq)) = (&mut span, accepted) {
                span.note("op.seq", seq.0);
            }
        });
        Ok(())
    }

    fn op_answered(&mut self, who: ConnectionId, frame: Bytes) {
        if let Some(connection) = self.connection(who) {
            connection.in_flight = connection.in_flight.saturating_sub(1);
            self.send(who, &[frame]);
        }
    }

    /// Measures how long an op took until it was answered, and until it was told as well.
    fn measure_answer(&mut self, room: RoomId, accepted: Option<Seq>, op: Arrived) {
        let Some(seq) = accepted else { return self.figures.ops_refused.increment(1) };
        self.figures.ops_accepted.increment(1);
        self.figures.op_ack.record(op, &self.ends.sampling.tracer);
        let Some(entry) = self.rooms.get_mut(&room) else { return };
        let members = &entry.seats[Pace::Member as usize];
        if members.is_empty() {
            return;
        }
        let told = members.told();
        if let Some(op) = entry.unseen.accepted(seq, op, told) {
            self.figures.op_visible.record(op, &self.ends.sampling.tracer);
        }
    }

    fn take_signal(
        &mut self,
        who: ConnectionId,
        id: Option<u32>,
        signal: Signal,
        weight: u32,
    ) -> Result<(), Error> {
        let (now_ms, allowed) = (self.now_ms(), self.ends.allowances);
        let connection = self.known(who)?;
        if joined(connection, signal.room)?.role < Role::Editor {
            return Err(error(ErrorCode::Forbidden, "a viewer does not signal"));
        }
        connection.meters().signal(&allowed, now_ms).map_err(too_many)?;
        // A frame that is small enough has no body that is too large.
        if weight as usize > SIGNAL_BYTES
            && Codec::MessagePack.encode_value(&signal.body).len() > SIGNAL_BYTES
        {
            return Err(error(ErrorCode::InvalidRequest, "a signal's body has at most 4096 bytes"));
        }
        let Signal { room, key, body } = signal;
        let writer = connection.writer().ok_or_else(only_watches)?;
        self.signal(who, room, SignalOut { author: writer.author, client: writer.client, key, body });
        self.done(who, id);
        Ok(())
    }

    fn may_join(&mut self, who: ConnectionId, id: Option<u32>, join: Join) -> Result<Later, Error> {
        let (index, now_ms, allowed) = (self.index, self.now_ms(), self.ends.allowances);
        let connection = self.known(who)?;
        if connection.rooms().len() >= ROOMS_PER_CONNECTION && connection.joined(join.room).is_none() {
            return Err(error(ErrorCode::TooManyRooms, "leave a room first"));
        }
        connection.meters().join(&allowed, now_ms).map_err(too_many)?;
        let entrant = Entrant {
            hub: index,
            person: connection.person.as_deref().cloned(),
            audience: connection.audience,
            client: connection.client(),
            reads: connection.reads(),
        };
        Ok(Later::Join { id, join, entrant })
    }

    fn take_leave(&mut self, who: ConnectionId, id: Option<u32>, room: RoomId) -> Result<(), Error> {
        joined(self.known(who)?, room)?;
        self.leave(who, room, true);
        self.done(who, id);
        Ok(())
    }

    fn may_read(&mut self, who: ConnectionId, id: Option<u32>, read: Read) -> Result<Later, Error> {
        let (now_ms, allowed) = (self.now_ms(), self.ends.allowances);
        let connection = self.known(who)?;
        joined(connection, read.room)?;
        connection.meters().op(&allowed, now_ms).map_err(too_many)?;
        // Of a guest it is not kept.
        let reader = connection.device().map(|(user, _)| user);
        Ok(Later::Read { id, read, reader })
    }

    fn refresh(&mut self, who: ConnectionId, id: Option<u32>, refresh: &Refresh) -> Result<(), Error> {
        let renewed = self.ends.people.principal(&refresh.token).map_err(|refusal| Error::from(&refusal))?;
        let connection = self.known(who)?;
        let login = |principal: &Principal| principal.signed_in.map(|signed_in| signed_in.login);
        let same = connection.login().is_some() && login(&renewed) == connection.login();
        let Some(signed_in) = renewed.signed_in.filter(|_| same) else {
            return Err(error(ErrorCode::Unauthenticated, "the token is of another login"));
        };
        connection.person = Some(Box::new(renewed));
        self.expire_at(who, signed_in.expires_ms);
        self.done(who, id);
        Ok(())
    }

    fn take_activity(&mut self, who: ConnectionId, id: Option<u32>, activity: Activity) -> Result<(), Error> {
        let (now_ms, allowed) = (self.now_ms(), self.ends.allowances);
        self.known(who)?.meters().signal(&allowed, now_ms).map_err(too_many)?;
        self.activity(who, activity.active);
        self.done(who, id);
        Ok(())
    }

    fn message(&mut self, who: ConnectionId, message: &Message) -> Result<(), Error> {
        joined(self.known(who)?, message.room_id)?;
        Err(error(ErrorCode::WrongKind, "messages are for chat rooms"))
    }

    // ---- replies ----------------------------------------------------------------------------------------------

    /// The connection of a request. It may have been given up since the request was read.
    fn known(&mut self, who: ConnectionId) -> Result<&mut Connection, Error> {
        self.connection(who).ok_or_else(|| error(ErrorCode::Internal, "the connection is closed"))
    }

    fn refuse(&mut self, who: ConnectionId, id: Option<u32>, mut error: Error) {
        named::name(&mut error, None);
        metrics::counter!("enfilade_refusals_total", "code" => error.code.as_str()).increment(1);
        self.reply(who, id, "error", &error);
    }

    pub(crate) fn done(&mut self, who: ConnectionId, id: Option<u32>) {
        if id.is_some() {
            self.reply(who, id, "ok", &Done {});
        }
    }

    fn reply<T: serde::Serialize>(
        &mut self,
        who: ConnectionId,
        id: Option<u32>,
        message_type: &str,
        data: &T,
    ) {
        let Some(connection) = self.connection(who) else { return };
        let codec = connection.codec();
        let frame = frame::message(codec == Codec::Json, &codec.encode(id, message_type, data));
        self.send(who, &[frame]);
    }
}

fn joined(connection: &Connection, room: RoomId) -> Result<&Joined, Error> {
    connection.joined(room).ok_or_else(|| error(ErrorCode::NotJoined, "join the room first"))
}

fn error(code: ErrorCode, message: &str) -> Error {
    Error::new(code, message)
}

/// What a room, or the way to it, said no to. The error is found by the op's trace, if there is one.
fn refused(refusal: Refusal, span: Option<&mut Span>) -> Error {
    let trace = span.as_ref().map(|span| span.context().trace);
    if let Some(span) = span {
        span.fail(refusal.code.as_str());
    }
    let mut error = Error::from(refusal);
    named::name(&mut error, trace);
    error
}

fn only_watches() -> Error {
    error(ErrorCode::Forbidden, "an audience only watches")
}

fn too_many(wait_ms: u64) -> Error {
    Error { retry_after_ms: Some(wait_ms), ..error(ErrorCode::RateLimited, "too many at a time") }
}
