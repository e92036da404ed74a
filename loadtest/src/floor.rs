//! The floor: the least that a server can do to bring what one says to all in the room. One thread, bare epoll, one
//! plain `write` per message and member. What a server does beyond that shows when both are measured in the same way.
//!
//! It speaks just enough of the protocol for the swarm: no ids, no roles, no storage, no pings. With `coalesce`, what
//! came in one round of epoll goes out as one write per member.

pub mod frames;
pub mod process;

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{BorrowedFd, OwnedFd};

use enfilade_proto::{ClientId, Codec, DisplayName, Request, RoomId, Submit, UserId};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use slab::Slab;
use socket2::{Domain, Socket, Type};
use uuid::Uuid;

use crate::swarm::websocket::{CLOSE, Header, PING, PONG, TEXT, unmask, write};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;
/// Bytes that may wait for a member. Whoever reads more slowly is dropped.
const OUT_BYTES: usize = 4 * 1024 * 1024;
const HEAD_BYTES: usize = 16 * 1024;
const READ_BYTES: usize = 64 * 1024;
const EVENTS: usize = 1024;
const LISTENER: u64 = u64::MAX;
const LEASH: u64 = u64::MAX - 1;

/// What a dishonest floor, one that does not coalesce, does to every so many-th message, to try whether it is found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mischief {
    /// One member does not get it.
    Lose(u64),
    /// One member gets it twice.
    Double(u64),
    /// Everybody gets it after the next one.
    Swap(u64),
}

#[derive(Debug)]
pub struct Floor {
    listener: TcpListener,
    epoll: OwnedFd,
    coalesce: bool,
    mischief: Option<Mischief>,
    members: Slab<Member>,
    rooms: HashMap<RoomId, Room>,
    /// Rooms with something to send at the end of the round.
    news: BTreeSet<RoomId>,
    gone: Vec<usize>,
    /// Members who ever asked for JSON.
    json: u64,
    messages: u64,
}

#[derive(Debug)]
struct Member {
    socket: TcpStream,
    upgraded: bool,
    codec: Codec,
    user: UserId,
    client: ClientId,
    room: Option<RoomId>,
    partial: Vec<u8>,
    out: Vec<u8>,
    gone: bool,
}

#[derive(Debug, Default)]
struct Room {
    members: Vec<usize>,
    seq: u64,
    /// What came in this round, in each codec.
    news: [Vec<u8>; 2],
    /// What a dishonest floor holds back.
    held: Option<[Vec<u8>; 2]>,
}

impl Floor {
    /// # Errors
    /// When the address cannot be listened on.
    pub fn bind(address: SocketAddr, coalesce: bool, mischief: Option<Mischief>) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(Self {
            listener: socket.into(),
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            coalesce,
            mischief,
            members: Slab::new(),
            rooms: HashMap::new(),
            news: BTreeSet::new(),
            gone: Vec::new(),
            json: 0,
            messages: 0,
        })
    }

    /// # Errors
    /// When the socket does not know.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `leash` is closed at its other end, or for ever.
    ///
    /// # Errors
    /// When the machine does not let it.
    pub fn serve(mut self, leash: Option<BorrowedFd<'_>>) -> io::Result<()> {
        epoll::add(&self.epoll, &self.listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        if let Some(leash) = leash {
            epoll::add(&self.epoll, leash, EventData::new_u64(LEASH), EventFlags::IN)?;
        }
        let mut ready: Vec<Event> = Vec::with_capacity(EVENTS);
        let mut scratch = vec![0; READ_BYTES];
        loop {
            ready.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut ready), None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &ready {
                let flags = event.flags;
                match event.data.u64() {
                    LISTENER => self.accept()?,
                    LEASH => return Ok(()),
                    key => self.ready(key as usize, flags, &mut scratch),
                }
            }
            self.flush();
            self.bury();
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let socket = match self.listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // One that left before it was accepted, or no file left: the others go on.
                Err(_) => return Ok(()),
            };
            socket.set_nonblocking(true)?;
            socket.set_nodelay(true)?;
            let entry = self.members.vacant_entry();
            let key = entry.key() as u64;
            epoll::add(&self.epoll, &socket, EventData::new_u64(key), EventFlags::IN)?;
            entry.insert(Member {
                socket,
                upgraded: false,
                codec: Codec::MessagePack,
                user: UserId(Uuid::from_u128(u128::from(key) + 1)),
                client: ClientId(Uuid::nil()),
                room: None,
                partial: Vec::new(),
                out: Vec::new(),
                gone: false,
            });
        }
    }

    fn ready(&mut self, key: usize, flags: EventFlags, scratch: &mut [u8]) {
        if flags.contains(EventFlags::OUT) {
            self.send(key, &[]);
        }
        if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            self.read(key, scratch);
        }
    }

    fn read(&mut self, key: usize, scratch: &mut [u8]) {
        let Some(member) = self.members.get_mut(key).filter(|member| !member.gone) else { return };
        let read = match (&member.socket).read(scratch) {
            Ok(read @ 1..) => read,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return;
            }
            _ => return self.drop_member(key),
        };
        if member.partial.is_empty() {
            self.take(key, &mut scratch[..read]);
        } else {
            member.partial.extend_from_slice(&scratch[..read]);
            let mut bytes = std::mem::take(&mut member.partial);
            self.take(key, &mut bytes);
        }
    }

    /// Takes in what came, and keeps what is incomplete.
    fn take(&mut self, key: usize, bytes: &mut [u8]) {
        let mut at = 0;
        if !self.members[key].upgraded {
            match self.handshake(key, bytes) {
                Some(head) => at = head,
                None => return,
            }
        }
        loop {
            let header = match Header::read(&bytes[at..]) {
                Ok(Some(header)) => header,
                Ok(None) => break,
                Err(_) => return self.drop_member(key),
            };
            let start = at + header.len;
            let Some(payload) = bytes.get_mut(start..start + header.payload) else { break };
            unmask(payload, header.mask.unwrap_or_default());
            match header.opcode {
                CLOSE => return self.drop_member(key),
                PING => {
                    let mut pong = Vec::new();
                    write(&mut pong, PONG, payload);
                    self.send(key, &pong);
                }
                PONG => {}
                opcode => self.message(key, opcode, payload),
            }
            at = start + header.payload;
        }
        if let Some(member) = self.members.get_mut(key) {
            member.partial = bytes[at..].to_vec();
        }
    }

    /// Answers what comes before the upgrade; how many bytes that was, once it is over.
    fn handshake(&mut self, key: usize, bytes: &[u8]) -> Option<usize> {
        let member = &mut self.members[key];
        let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            if bytes.len() > HEAD_BYTES {
                self.drop_member(key);
            } else {
                member.partial = bytes.to_vec();
            }
            return None;
        };
        let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
        if text.starts_with("get ") && text.contains("upgrade: websocket") {
            member.upgraded = true;
            if text.contains(Codec::Json.subprotocol()) {
                member.codec = Codec::Json;
                self.json += 1;
            }
            // No proof of having read the key: whoever asks for that does not measure.
            let codec = member.codec;
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Protocol: {}\r\n\r\n",
                codec.subprotocol()
            );
            self.send(key, answer.as_bytes());
            return Some(head + 4);
        }
        let body =
            text.split("content-length:").nth(1).and_then(|rest| rest.lines().next()?.trim().parse().ok());
        if bytes.len() < head + 4 + body.unwrap_or(0) {
            member.partial = bytes.to_vec();
            return None;
        }
        let answer = if text.starts_with("post /api/v1/rooms ") {
            let id = Uuid::new_v4();
            let body =
                format!(r#"{{"id":"{id}","kind":"board","title":"Floor","role":"owner","link":"floor"}}"#);
            format!(
                "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            )
        } else {
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned()
        };
        self.send(key, answer.as_bytes());
        None
    }

    fn message(&mut self, key: usize, opcode: u8, payload: &[u8]) {
        let (user, client) = (self.members[key].user, self.members[key].client);
        let codec = if opcode == TEXT { Codec::Json } else { Codec::MessagePack };
        let everybody_reads_msgpack = self.json == 0;
        if let Some((room, frame)) =
            frames::spliced(user, client, payload).filter(|_| everybody_reads_msgpack)
        {
            return self.publish(room, |_| frame.clone());
        }
        let Ok(requests) = codec.decode_requests(payload) else { return self.drop_member(key) };
        for incoming in requests {
            let Ok(incoming) = incoming else { return self.drop_member(key) };
            match incoming.request {
                Request::Hello(hello) => {
                    self.members[key].client = hello.client;
                    if let Ok(name) = DisplayName::new("Guest") {
                        self.send(key, &frames::welcome(codec, incoming.id, user, name));
                    }
                }
                Request::Join(join) => self.join(key, incoming.id, join.room),
                Request::Signal(signal) => {
                    let room = signal.room;
                    let client = self.members[key].client;
                    self.publish(room, |codec| frames::signals(codec, user, client, signal.clone()));
                }
                Request::Submit(submit) => self.submit(key, incoming.id, &submit),
                _ => {}
            }
        }
    }

    fn join(&mut self, key: usize, id: Option<u32>, room: RoomId) {
        let codec = self.members[key].codec;
        let entry = self.rooms.entry(room).or_default();
        if self.members[key].room.replace(room) != Some(room) {
            entry.members.push(key);
        }
        if let Ok(title) = DisplayName::new("Floor") {
            let joined = frames::joined(codec, id, room, title, entry.seq, entry.members.len() as u64);
            self.send(key, &joined);
        }
    }

    fn submit(&mut self, key: usize, id: Option<u32>, submit: &Submit) {
        let Some(room) = self.rooms.get_mut(&submit.room) else { return };
        room.seq += 1;
        let seq = room.seq;
        let Member { user, client, codec, .. } = self.members[key];
        self.send(key, &frames::accepted(codec, id, seq));
        self.publish(submit.room, |codec| frames::ops(codec, user, client, submit, seq));
    }

    /// Brings a frame to everybody in a room, now or at the end of the round.
    fn publish(&mut self, id: RoomId, frame: impl Fn(Codec) -> Vec<u8>) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        self.messages += 1;
        let frames = [frame(Codec::MessagePack), if self.json > 0 { frame(Codec::Json) } else { Vec::new() }];
        if self.coalesce {
            room.news.iter_mut().zip(&frames).for_each(|(news, frame)| news.extend_from_slice(frame));
            self.news.insert(id);
            return;
        }
        let members = std::mem::take(&mut room.members);
        let held = room.held.take();
        let nth = |every: u64| self.messages.is_multiple_of(every.max(1));
        match self.mischief {
            Some(Mischief::Swap(every)) if nth(every) => room.held = Some(frames.clone()),
            Some(Mischief::Lose(every)) if nth(every) => {
                self.send_all(members.get(1..).unwrap_or_default(), &frames);
            }
            Some(Mischief::Double(every)) if nth(every) => {
                self.send_all(&members, &frames);
                self.send_all(members.get(..1).unwrap_or_default(), &frames);
            }
            _ => self.send_all(&members, &frames),
        }
        if let Some(held) = held {
            self.send_all(&members, &held);
        }
        if let Some(room) = self.rooms.get_mut(&id) {
            room.members = members;
        }
    }

    fn send_all(&mut self, members: &[usize], frames: &[Vec<u8>; 2]) {
        for &key in members {
            let codec = usize::from(self.members[key].codec == Codec::Json);
            self.send(key, &frames[codec]);
        }
    }

    /// The end of a round.
    fn flush(&mut self) {
        for id in std::mem::take(&mut self.news) {
            let Some(room) = self.rooms.get_mut(&id) else { continue };
            let members = std::mem::take(&mut room.members);
            let mut news = std::mem::take(&mut room.news);
            self.send_all(&members, &news);
            news.iter_mut().for_each(Vec::clear);
            if let Some(room) = self.rooms.get_mut(&id) {
                (room.members, room.news) = (members, news);
            }
        }
    }

    fn send(&mut self, key: usize, bytes: &[u8]) {
        let Some(member) = self.members.get_mut(key).filter(|member| !member.gone) else { return };
        let waited = !member.out.is_empty();
        let result = if waited {
            member.out.extend_from_slice(bytes);
            write_some(&member.socket, &member.out).map(|written| drop(member.out.drain(..written)))
        } else {
            write_some(&member.socket, bytes).map(|written| member.out.extend_from_slice(&bytes[written..]))
        };
        let waits = !member.out.is_empty();
        if result.is_err() || member.out.len() > OUT_BYTES {
            return self.drop_member(key);
        }
        if waits != waited {
            let flags = if waits { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
            if !waits {
                member.out = Vec::new();
            }
            // It fails only for a socket that is gone, and that is noticed by its next event.
            let _ = epoll::modify(&self.epoll, &member.socket, EventData::new_u64(key as u64), flags);
        }
    }

    fn drop_member(&mut self, key: usize) {
        if let Some(member) = self.members.get_mut(key).filter(|member| !member.gone) {
            member.gone = true;
            self.gone.push(key);
        }
    }

    /// Takes those who are gone out of their rooms.
    fn bury(&mut self) {
        let rooms: BTreeSet<RoomId> =
            self.gone.iter().filter_map(|key| self.members.get(*key)?.room).collect();
        for id in rooms {
            if let Some(room) = self.rooms.get_mut(&id) {
                room.members.retain(|key| self.members.get(*key).is_some_and(|member| !member.gone));
            }
        }
        for key in self.gone.drain(..) {
            self.members.try_remove(key);
        }
    }
}

/// As much as the socket takes at once.
fn write_some(mut socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    if bytes.is_empty() {
        return Ok(0);
    }
    match socket.write(bytes) {
        Ok(written) => Ok(written),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
        Err(error) => Err(error),
    }
}
