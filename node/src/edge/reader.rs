//! The reader: what a client sends, understood and passed on. One small task per connection.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use enfilade_actors::bus::{Notice, Submission, Writer};
use enfilade_proto::limits::{
    FRAME_BYTES, OPS_BURST, OPS_IN_FLIGHT, OPS_PER_SECOND, ROOMS_PER_CONNECTION, SIGNAL_BYTES, SIGNALS_BURST,
    SIGNALS_PER_SECOND,
};
use enfilade_proto::{
    Accepted, Activity, ClientId, CloseCode, Codec, Done, Error, ErrorCode, Incoming, Join, Member, Message,
    Read, Refresh, Rejected, Request, Role, RoomId, Signal, SignalOut, Submit,
};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Ends;
use super::frame::{self, Event, Parser};
use super::hub::{Command, ConnectionId, Membership, Pulse};
use super::joined;
use super::meter::Meter;
use super::room::{EdgeRoom, Joiner};
use crate::people::{self, Principal};

/// Frames in a row that could not be understood, before the connection is closed.
const MALFORMED: u32 = 16;
/// Requests in a row that were refused for their number, before the connection is closed.
const FLOODING: u32 = 1_000;

/// A join may bring a whole board: all rooms of a connection at once, and then a few a second.
const JOINS_PER_SECOND: u32 = 20;
const JOINS_BURST: u32 = 2 * ROOMS_PER_CONNECTION as u32;

thread_local! {
    /// Bytes are read into this and leave nothing behind: an idle connection has no buffer.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; 64 * 1024]);
}

/// What came from a client, taken apart.
#[derive(Debug)]
pub(crate) enum Inbound {
    Request {
        incoming: Result<Incoming, Rejected>,
        weight: u32,
    },
    /// A frame that was no message at all.
    Malformed(String),
    Ping(Bytes),
    Pong,
    Close,
    /// The client broke the rules of WebSocket: nothing comes after this.
    Broken(CloseCode),
}

/// Takes bytes apart. Replies go out in the codec of the handshake, or of the first frame.
#[derive(Debug)]
pub(crate) struct Inbox {
    parser: Parser,
    codec: Option<Codec>,
}

impl Inbox {
    pub(crate) fn new(codec: Option<Codec>) -> Self {
        Self { parser: Parser::new(FRAME_BYTES), codec }
    }

    pub(crate) fn codec(&self) -> Codec {
        self.codec.unwrap_or(Codec::Json)
    }

    pub(crate) fn feed(&mut self, bytes: &mut [u8]) -> Vec<Inbound> {
        let Self { parser, codec } = self;
        let mut came = Vec::new();
        let fed = parser.feed(bytes, |event| match event {
            Event::Message { text, payload } => {
                let written_in = if text { Codec::Json } else { Codec::MessagePack };
                codec.get_or_insert(written_in);
                match written_in.decode_requests(payload) {
                    Ok(requests) => {
                        let weight = (payload.len() / requests.len().max(1)) as u32;
                        came.extend(
                            requests.into_iter().map(|incoming| Inbound::Request { incoming, weight }),
                        );
                    }
                    Err(error) => came.push(Inbound::Malformed(error.to_string())),
                }
            }
            Event::Ping(payload) => came.push(Inbound::Ping(Bytes::copy_from_slice(payload))),
            Event::Pong => came.push(Inbound::Pong),
            Event::Close => came.push(Inbound::Close),
        });
        came.extend(fed.err().map(Inbound::Broken));
        came
    }
}

#[derive(Debug)]
pub(crate) struct Reader {
    ends: Arc<Ends>,
    socket: Arc<TcpStream>,
    hub: usize,
    connection: ConnectionId,
    inbox: Inbox,
    client: ClientId,
    principal: Principal,
    rooms: HashMap<RoomId, (Role, Arc<EdgeRoom>)>,
    ops: Meter,
    signals: Meter,
    joins: Meter,
    in_flight: Arc<Semaphore>,
    malformed: u32,
    flooding: u32,
    pulse: Arc<Pulse>,
    _slot: OwnedSemaphorePermit,
}

/// Why a connection is not read any more.
enum End {
    /// It is gone, or said goodbye.
    Gone,
    Close(CloseCode),
}

impl Reader {
    #[expect(clippy::too_many_arguments, reason = "each is another thing that the greeting found out")]
    pub(crate) fn new(
        ends: Arc<Ends>,
        socket: Arc<TcpStream>,
        hub: usize,
        connection: ConnectionId,
        inbox: Inbox,
        client: ClientId,
        principal: Principal,
        pulse: Arc<Pulse>,
        slot: OwnedSemaphorePermit,
    ) -> Self {
        let now_ms = ends.clock.now_ms();
        Self {
            ends,
            socket,
            hub,
            connection,
            inbox,
            client,
            principal,
            rooms: HashMap::new(),
            ops: Meter::new(OPS_PER_SECOND, OPS_BURST, now_ms),
            signals: Meter::new(SIGNALS_PER_SECOND, SIGNALS_BURST, now_ms),
            joins: Meter::new(JOINS_PER_SECOND, JOINS_BURST, now_ms),
            in_flight: Arc::new(Semaphore::new(OPS_IN_FLIGHT)),
            malformed: 0,
            flooding: 0,
            pulse,
            _slot: slot,
        }
    }

    /// Reads until the connection ends. `came` was read by the greeting.
    pub(crate) async fn run(mut self, came: Vec<Inbound>) {
        let end = self.read(came).await;
        let command = match end {
            End::Gone => Command::Closed(self.connection),
            End::Close(code) => Command::Close { who: self.connection, code },
        };
        let closes = matches!(end, End::Close(_));
        self.tell(command).await;
        if closes {
            self.read_out().await;
        }
    }

    async fn read(&mut self, mut came: Vec<Inbound>) -> End {
        loop {
            for inbound in came {
                if self.pulse.is_closed() {
                    self.read_out().await;
                    return End::Gone;
                }
                // Boxed, so that a connection that waits is not as large as one that works.
                if let Err(end) = Box::pin(self.take(inbound)).await {
                    return end;
                }
            }
            if self.ready().await.is_err() {
                return End::Gone;
            }
            match self.read_some() {
                Ok(more) => came = more,
                Err(_) => return End::Gone,
            }
        }
    }

    /// Not `readable()`: that would keep the waker of the finished HTTP task, and the task, alive.
    async fn ready(&self) -> io::Result<()> {
        poll_fn(|context| self.socket.poll_read_ready(context)).await
    }

    fn read_some(&mut self) -> io::Result<Vec<Inbound>> {
        SCRATCH.with_borrow_mut(|scratch| match self.socket.try_read(scratch) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                self.pulse.heard(self.ends.clock.now_ms());
                metrics::counter!("enfilade_received_bytes_total").increment(read as u64);
                Ok(self.inbox.feed(&mut scratch[..read]))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Vec::new()),
            Err(error) => Err(error),
        })
    }

    /// Reads what still comes and throws it away: closing on unread bytes would tear our last words away.
    async fn read_out(&self) {
        loop {
            if self.ready().await.is_err() {
                return;
            }
            let read = SCRATCH.with_borrow_mut(|scratch| self.socket.try_read(scratch));
            match read {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }

    async fn take(&mut self, inbound: Inbound) -> Result<(), End> {
        match inbound {
            Inbound::Request { incoming: Ok(incoming), weight } => {
                self.malformed = 0;
                self.request(incoming, weight).await
            }
            Inbound::Request { incoming: Err(rejected), .. } => {
                let Rejected { id, code, message } = rejected;
                self.not_understood(id, code, message).await
            }
            Inbound::Malformed(message) => {
                self.not_understood(None, ErrorCode::MalformedFrame, message).await
            }
            Inbound::Ping(payload) => {
                self.tell(Command::Send { to: self.connection, frame: frame::pong(&payload) }).await;
                Ok(())
            }
            Inbound::Pong => Ok(()),
            Inbound::Close => {
                self.tell(Command::Send { to: self.connection, frame: frame::close_reply() }).await;
                Err(End::Gone)
            }
            Inbound::Broken(code) => Err(End::Close(code)),
        }
    }

    async fn not_understood(&mut self, id: Option<u32>, code: ErrorCode, message: String) -> Result<(), End> {
        // A message that a later version knows is no nonsense.
        self.malformed += u32::from(code != ErrorCode::UnknownType);
        self.refuse(id, Error { code, message, retry_after_ms: None }).await;
        if self.malformed >= MALFORMED { Err(End::Close(CloseCode::Malformed)) } else { Ok(()) }
    }

    async fn request(&mut self, incoming: Incoming, weight: u32) -> Result<(), End> {
        let Incoming { id, request } = incoming;
        let result = match request {
            Request::Submit(submit) => self.submit(id, submit, weight),
            Request::Signal(signal) => self.signal(id, signal, weight).await,
            Request::Join(join) => self.join(id, join).await,
            Request::Leave(leave) => self.leave(id, leave.room).await,
            Request::Read(read) => self.mark_read(id, read).await,
            Request::Refresh(refresh) => self.refresh(id, &refresh).await,
            Request::Message(message) => self.message(&message),
            Request::Activity(activity) => self.activity(id, activity).await,
            Request::Pong(_) => {
                self.done(id).await;
                Ok(())
            }
            Request::Hello(_) => Err(error(ErrorCode::HelloRepeated, "hello was said before")),
        };
        match result {
            Ok(()) => self.flooding = 0,
            Err(refusal) => {
                let flooding = refusal.code == ErrorCode::RateLimited;
                self.flooding = if flooding { self.flooding + 1 } else { 0 };
                self.refuse(id, refusal).await;
            }
        }
        if self.flooding >= FLOODING { Err(End::Close(CloseCode::Flooding)) } else { Ok(()) }
    }

    // ---- what clients want ------------------------------------------------------------------------------------

    fn submit(&mut self, id: Option<u32>, submit: Submit, weight: u32) -> Result<(), Error> {
        let (role, _) = self.joined(submit.room)?;
        self.ops.take(self.ends.clock.now_ms()).map_err(too_many)?;
        let Ok(permit) = self.in_flight.clone().try_acquire_owned() else {
            return Err(Error {
                retry_after_ms: Some(100),
                ..error(ErrorCode::Busy, "too many ops without an answer")
            });
        };
        let trace = self.ends.sample();
        let submission = Submission {
            writer: self.writer(),
            role,
            op_id: submit.op_id,
            op: submit.op,
            weight,
            trace: trace.clone(),
        };
        // In order into the room's queue; the answer is waited for elsewhere.
        let answer = self.ends.cluster.submit(submit.room, submission)?;
        let (hub, connection, codec) =
            (self.ends.hubs[self.hub].clone(), self.connection, self.inbox.codec());
        tokio::spawn(async move {
            let result = answer.wait().await;
            if let Some(trace) = trace {
                tracing::info!(traceparent = trace.0, seq = ?result.as_ref().ok(), "the op is answered");
            }
            let message = match result {
                Ok(seq) => codec.encode(id, "accepted", &Accepted { seq }),
                Err(refusal) => codec.encode(id, "error", &Error::from(refusal)),
            };
            drop(permit);
            let frame = frame::message(codec == Codec::Json, &message);
            hub.tell(Command::Send { to: connection, frame }).await;
        });
        Ok(())
    }

    async fn signal(&mut self, id: Option<u32>, signal: Signal, weight: u32) -> Result<(), Error> {
        let (role, _) = self.joined(signal.room)?;
        if role < Role::Editor {
            return Err(error(ErrorCode::Forbidden, "a viewer does not signal"));
        }
        self.signals.take(self.ends.clock.now_ms()).map_err(too_many)?;
        // A frame that is small enough has no body that is too large.
        if weight as usize > SIGNAL_BYTES
            && Codec::MessagePack.encode_value(&signal.body).len() > SIGNAL_BYTES
        {
            return Err(error(ErrorCode::InvalidRequest, "a signal's body has at most 4096 bytes"));
        }
        let Signal { room, key, body } = signal;
        let signal = SignalOut { author: self.principal.user.id, client: self.client, key, body };
        self.tell(Command::Signal { from: self.connection, room, signal }).await;
        self.done(id).await;
        Ok(())
    }

    async fn join(&mut self, id: Option<u32>, join: Join) -> Result<(), Error> {
        if self.rooms.len() >= ROOMS_PER_CONNECTION && !self.rooms.contains_key(&join.room) {
            return Err(error(ErrorCode::TooManyRooms, "leave a room first"));
        }
        self.joins.take(self.ends.clock.now_ms()).map_err(too_many)?;
        let access_changes = self.ends.access_changes();
        let visitor = self.principal.visitor(join.link.as_deref().map(people::link_hash));
        let admission =
            self.ends.people.access(join.room, &visitor).await.map_err(|refusal| Error::from(&refusal))?;
        let user = &self.principal.user;
        let joiner = Joiner {
            hub: self.hub,
            member: Member { id: user.id, name: user.name.clone(), role: admission.role },
            since: join.since,
            codec: self.inbox.codec(),
        };
        let (room, joining) = loop {
            let room = self.ends.room(join.room);
            match room.join(&joiner).await {
                Ok(Some(joining)) => break (room, joining),
                // Given up while we were about to enter: a new one takes its place.
                Ok(None) => self.ends.forget(&room),
                Err(refusal) => {
                    room.drop_if_empty();
                    return Err(refusal.into());
                }
            }
        };
        if admission.role >= Role::Editor {
            self.ends.cluster.notify(join.room, Notice::WriterBack(self.writer()));
        }
        self.rooms.insert(join.room, (admission.role, room.clone()));
        let membership =
            Membership { room, user: user.id, title: admission.title, role: admission.role, visitor };
        // Written here and not in the hub: what a joiner costs is the joiner's own time.
        let frames = joined::frames(self.inbox.codec(), id, &membership, &joining).await;
        let who = self.connection;
        self.tell(Command::Join { who, membership, frames, cursor: joining.cursor, access_changes }).await;
        Ok(())
    }

    async fn leave(&mut self, id: Option<u32>, room: RoomId) -> Result<(), Error> {
        self.joined(room)?;
        self.rooms.remove(&room);
        self.tell(Command::Leave { who: self.connection, room }).await;
        self.done(id).await;
        Ok(())
    }

    async fn mark_read(&mut self, id: Option<u32>, read: Read) -> Result<(), Error> {
        self.joined(read.room)?;
        self.ops.take(self.ends.clock.now_ms()).map_err(too_many)?;
        if self.principal.signed_in.is_some() {
            let marked =
                self.ends.people.directory().mark_read(read.room, self.principal.user.id, read.seq).await;
            marked.map_err(|failure| Error::from(&people::Refusal::from(failure)))?;
        }
        self.done(id).await;
        Ok(())
    }

    async fn refresh(&mut self, id: Option<u32>, refresh: &Refresh) -> Result<(), Error> {
        let renewed = self.ends.people.principal(&refresh.token).map_err(|refusal| Error::from(&refusal))?;
        let login = |principal: &Principal| principal.signed_in.map(|signed_in| signed_in.login);
        let Some(signed_in) = renewed.signed_in.filter(|_| login(&renewed) == login(&self.principal)) else {
            return Err(error(ErrorCode::Unauthenticated, "the token is of another login"));
        };
        self.principal = renewed;
        self.tell(Command::Refreshed { who: self.connection, expires_ms: signed_in.expires_ms }).await;
        self.done(id).await;
        Ok(())
    }

    async fn activity(&mut self, id: Option<u32>, activity: Activity) -> Result<(), Error> {
        self.signals.take(self.ends.clock.now_ms()).map_err(too_many)?;
        self.tell(Command::Activity { who: self.connection, active: activity.active }).await;
        self.done(id).await;
        Ok(())
    }

    fn message(&self, message: &Message) -> Result<(), Error> {
        self.joined(message.room_id)?;
        Err(error(ErrorCode::WrongKind, "messages are for chat rooms"))
    }

    // ---- replies ----------------------------------------------------------------------------------------------

    fn writer(&self) -> Writer {
        Writer { author: self.principal.user.id, client: self.client }
    }

    fn joined(&self, room: RoomId) -> Result<(Role, &Arc<EdgeRoom>), Error> {
        let known = self.rooms.get(&room).map(|(role, room)| (*role, room));
        known.ok_or_else(|| error(ErrorCode::NotJoined, "join the room first"))
    }

    async fn refuse(&self, id: Option<u32>, error: Error) {
        metrics::counter!("enfilade_refusals_total", "code" => error.code.as_str()).increment(1);
        self.reply(id, "error", &error).await;
    }

    async fn done(&self, id: Option<u32>) {
        if id.is_some() {
            self.reply(id, "ok", &Done {}).await;
        }
    }

    async fn reply<T: serde::Serialize>(&self, id: Option<u32>, message_type: &str, data: &T) {
        let codec = self.inbox.codec();
        let frame = frame::message(codec == Codec::Json, &codec.encode(id, message_type, data));
        self.tell(Command::Send { to: self.connection, frame }).await;
    }

    async fn tell(&self, command: Command) {
        self.ends.hubs[self.hub].tell(command).await;
    }
}

fn error(code: ErrorCode, message: &str) -> Error {
    Error { code, message: message.to_owned(), retry_after_ms: None }
}

fn too_many(wait_ms: u64) -> Error {
    Error { retry_after_ms: Some(wait_ms), ..error(ErrorCode::RateLimited, "too many at a time") }
}
