//! The two codecs: JSON, and its compact twin in MessagePack.
//!
//! A message is `{"id"?, "type", "data"}` in JSON and the array `[type, id or nil, data]` in MessagePack; a frame
//! carries one, or an array of them. `data` has the same names in both; ids are 16 bytes and points are coded in
//! MessagePack. Decoders skip names and trailing array items that they do not know.
//!
//! Decoding allocates in proportion to the bytes that arrived, whatever they announce (tested in
//! `tests/decoding.rs` with a counting allocator, and by the fuzz target).

use std::borrow::Cow;
use std::io::Cursor;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::ErrorCode;
use crate::ids::ClientId;
use crate::limits::{FRAME_BYTES, MESSAGES_PER_FRAME, SIGNAL_DEPTH, SIGNAL_KEY_BYTES};
use crate::message::{Request, ServerMessage};

/// How messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Text frames.
    Json,
    /// Binary frames.
    MessagePack,
}

/// A frame that is not JSON or MessagePack at all, or not made of messages.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct MalformedFrame(String);

/// A request and the id that its reply will bear.
#[derive(Clone, Debug, PartialEq)]
pub struct Incoming {
    pub id: Option<u32>,
    pub request: Request,
}

/// A message that was understood well enough to say what is wrong with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejected {
    pub id: Option<u32>,
    pub code: ErrorCode,
    pub message: String,
}

/// A message from the server; `id` is that of the request it answers.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerFrame {
    pub id: Option<u32>,
    pub message: ServerMessage,
}

impl Codec {
    pub const ALL: [Self; 2] = [Self::Json, Self::MessagePack];

    /// The WebSocket subprotocol that asks for this codec.
    #[must_use]
    pub fn subprotocol(self) -> &'static str {
        match self {
            Self::Json => "enfilade.v1.json",
            Self::MessagePack => "enfilade.v1.msgpack",
        }
    }

    /// Reads a frame from a client: each message by itself, so that a bad one does not spoil its neighbours.
    ///
    /// # Errors
    /// When the frame as a whole cannot be taken apart.
    pub fn decode_requests(self, frame: &[u8]) -> Result<Vec<Result<Incoming, Rejected>>, MalformedFrame> {
        let messages = self.take_apart(frame)?;
        Ok(messages
            .into_iter()
            .map(|envelope| {
                let id = envelope.id;
                envelope
                    .request()
                    .map(|request| Incoming { id, request })
                    .map_err(|(code, message)| Rejected { id, code, message })
            })
            .collect())
    }

    /// Reads a frame from a server.
    ///
    /// # Errors
    /// When the frame cannot be taken apart, or a message of a known type is not what that type is.
    pub fn decode_server(self, frame: &[u8]) -> Result<Vec<ServerFrame>, MalformedFrame> {
        let messages = self.take_apart(frame)?;
        messages
            .into_iter()
            .map(|envelope| Ok(ServerFrame { id: envelope.id, message: envelope.server_message()? }))
            .collect()
    }

    /// Writes any value, without an envelope.
    #[must_use]
    pub fn encode_value<T: Serialize + ?Sized>(self, value: &T) -> Vec<u8> {
        let written = match self {
            Self::Json => serde_json::to_vec(value).map_err(|e| e.to_string()),
            Self::MessagePack => rmp_serde::to_vec_named(value).map_err(|e| e.to_string()),
        };
        #[expect(
            clippy::expect_used,
            reason = "our types have string keys and writing to memory does not fail"
        )]
        written.expect("a message of ours can be written")
    }

    /// Writes a message.
    #[must_use]
    pub fn encode<T: Serialize + ?Sized>(self, id: Option<u32>, message_type: &str, data: &T) -> Vec<u8> {
        self.envelope(id, message_type, &self.encode_value(data))
    }

    /// Writes a request, as a client does.
    #[must_use]
    pub fn encode_request(self, id: Option<u32>, request: &Request) -> Vec<u8> {
        match request {
            Request::Hello(data) => self.encode(id, "hello", data),
            Request::Join(data) => self.encode(id, "join", data),
            Request::Leave(data) => self.encode(id, "leave", data),
            Request::Submit(data) => self.encode(id, "submit", data),
            Request::Signal(data) => self.encode(id, "signal", data),
            Request::Read(data) => self.encode(id, "read", data),
            Request::Refresh(data) => self.encode(id, "refresh", data),
            Request::Activity(data) => self.encode(id, "activity", data),
            Request::Message(data) => self.encode(id, "message", data),
            Request::Pong(data) => self.encode(id, "pong", data),
        }
    }

    fn envelope(self, id: Option<u32>, message_type: &str, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(data.len() + message_type.len() + 40);
        match self {
            Self::Json => {
                out.push(b'{');
                if let Some(id) = id {
                    out.extend_from_slice(format!("\"id\":{id},").as_bytes());
                }
                out.extend_from_slice(format!("\"type\":\"{message_type}\",\"data\":").as_bytes());
                out.extend_from_slice(data);
                out.push(b'}');
            }
            Self::MessagePack => {
                out.push(0x93);
                out.extend_from_slice(&self.encode_value(message_type));
                out.extend_from_slice(&self.encode_value(&id));
                out.extend_from_slice(data);
            }
        }
        out
    }

    fn take_apart(self, frame: &[u8]) -> Result<Vec<Envelope<'_>>, MalformedFrame> {
        let parts = match self {
            Self::Json => json_parts(frame)?,
            Self::MessagePack => msgpack_parts(frame)?,
        };
        parts.into_iter().map(|part| self.open(part)).collect()
    }

    fn open(self, message: &[u8]) -> Result<Envelope<'_>, MalformedFrame> {
        match self {
            Self::Json => {
                #[derive(Deserialize)]
                struct Fields<'a> {
                    id: Option<u32>,
                    #[serde(borrow, rename = "type")]
                    message_type: Cow<'a, str>,
                    #[serde(borrow)]
                    data: Option<&'a RawValue>,
                }
                let fields: Fields<'_> = serde_json::from_slice(message).map_err(malformed)?;
                let data = fields.data.map_or(&b"{}"[..], |data| data.get().as_bytes());
                Ok(Envelope { codec: self, id: fields.id, message_type: fields.message_type, data })
            }
            Self::MessagePack => {
                let mut rest = message;
                let items = array_len(&mut rest).filter(|&items| items >= 2);
                let items =
                    items.ok_or_else(|| MalformedFrame("a message is [type, id or nil, data]".into()))?;
                let message_type: String = rmp_serde::from_slice(cut(&mut rest)?).map_err(malformed)?;
                let id: Option<u32> = rmp_serde::from_slice(cut(&mut rest)?).map_err(malformed)?;
                // An empty map stands for data that was left out.
                let data = if items > 2 { cut(&mut rest)? } else { &[0x80] };
                Ok(Envelope { codec: self, id, message_type: message_type.into(), data })
            }
        }
    }

    fn read<T: DeserializeOwned>(self, data: &[u8]) -> Result<T, String> {
        match self {
            Self::Json => serde_json::from_slice(data).map_err(|e| e.to_string()),
            Self::MessagePack => rmp_serde::from_slice(data).map_err(|e| e.to_string()),
        }
    }
}

/// Writes a message whose fields were written before, each in `codec`: bytes that many share are written once.
#[must_use]
pub fn encode_fields(codec: Codec, id: Option<u32>, message_type: &str, fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut data = Vec::with_capacity(fields.iter().map(|(name, value)| name.len() + value.len() + 8).sum());
    match codec {
        Codec::Json => {
            data.push(b'{');
            for (i, (name, value)) in fields.iter().enumerate() {
                if i > 0 {
                    data.push(b',');
                }
                data.extend_from_slice(format!("\"{name}\":").as_bytes());
                data.extend_from_slice(value);
            }
            data.push(b'}');
        }
        Codec::MessagePack => {
            data.push(0xde);
            data.extend_from_slice(&(fields.len() as u16).to_be_bytes());
            for (name, value) in fields {
                data.extend_from_slice(&codec.encode_value(name));
                data.extend_from_slice(value);
            }
        }
    }
    codec.envelope(id, message_type, &data)
}

/// Writes a message around a last field that is large and shared: what comes before its value, and what comes after.
#[must_use]
pub fn encode_around(
    codec: Codec,
    id: Option<u32>,
    message_type: &str,
    fields: &[(&str, &[u8])],
    last: &str,
) -> (Vec<u8>, &'static [u8]) {
    // A value of one byte stands in for the shared one, and is cut off again with what follows it.
    let (stand_in, after): (&[u8], &'static [u8]) = match codec {
        Codec::Json => (b"0", b"}}"),
        Codec::MessagePack => (&[0xc0], b""),
    };
    let fields: Vec<(&str, &[u8])> = fields.iter().copied().chain([(last, stand_in)]).collect();
    let mut before = encode_fields(codec, id, message_type, &fields);
    before.truncate(before.len() - after.len() - stand_in.len());
    (before, after)
}

struct Envelope<'a> {
    codec: Codec,
    id: Option<u32>,
    message_type: Cow<'a, str>,
    data: &'a [u8],
}

impl Envelope<'_> {
    fn request(&self) -> Result<Request, (ErrorCode, String)> {
        let request = match &*self.message_type {
            "hello" => self.data().map(Request::Hello),
            "join" => self.data().map(Request::Join),
            "leave" => self.data().map(Request::Leave),
            "submit" => self.data().map(Request::Submit),
            "signal" => self.data().map(Request::Signal),
            "read" => self.data().map(Request::Read),
            "refresh" => self.data().map(Request::Refresh),
            "activity" => self.data().map(Request::Activity),
            "message" => self.data().map(Request::Message),
            "pong" => self.data().map(Request::Pong),
            other => {
                let message = format!("there is no message of type {:?}", shorten(other));
                return Err((ErrorCode::UnknownType, message));
            }
        };
        let request = request.map_err(|message| (ErrorCode::InvalidRequest, message))?;
        check(&request).map_err(|message| (ErrorCode::InvalidRequest, message.to_owned()))?;
        Ok(request)
    }

    fn server_message(&self) -> Result<ServerMessage, MalformedFrame> {
        let message = match &*self.message_type {
            "welcome" => self.data().map(ServerMessage::Welcome),
            "joined" => self.data().map(|joined| ServerMessage::Joined(Box::new(joined))),
            "accepted" => self.data().map(ServerMessage::Accepted),
            "ok" => self.data().map(ServerMessage::Done),
            "error" => self.data().map(ServerMessage::Error),
            "ops" => self.data().map(ServerMessage::Ops),
            "signals" => self.data().map(ServerMessage::Signals),
            "presence" => self.data().map(ServerMessage::Presence),
            "reset" => self.data().map(ServerMessage::Reset),
            "renamed" => self.data().map(ServerMessage::Renamed),
            "ping" => self.data().map(ServerMessage::Ping),
            "reconnect" => self.data().map(ServerMessage::Reconnect),
            "closing" => self.data().map(ServerMessage::Closing),
            other => Ok(ServerMessage::Unknown(other.to_owned())),
        };
        message.map_err(|message| MalformedFrame(format!("{}: {message}", self.message_type)))
    }

    fn data<T: DeserializeOwned>(&self) -> Result<T, String> {
        self.codec.read(self.data).map_err(|message| shorten(&message).to_owned())
    }
}

/// What the types do not say by themselves.
fn check(request: &Request) -> Result<(), &'static str> {
    if matches!(request, Request::Hello(hello) if hello.client == ClientId::ROOM) {
        return Err("a client is a UUID of its own, not the nil one");
    }
    if matches!(request, Request::Submit(submit) if submit.op_id.0 == 0) {
        return Err("op ids start above 0");
    }
    let number = match request {
        Request::Submit(submit) => submit.op_id.0,
        Request::Read(read) => read.seq.0,
        Request::Join(join) => join.since.map_or(0, |since| since.seq.0.max(since.epoch.0)),
        _ => 0,
    };
    if number > LAST_NUMBER {
        return Err("numbers stay below 2^53");
    }
    let Request::Signal(signal) = request else { return Ok(()) };
    let plain = signal.key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.:".contains(&b));
    if !plain || !(1..=SIGNAL_KEY_BYTES).contains(&signal.key.len()) {
        return Err("a signal's key is 1 to 32 of A-Z a-z 0-9 _ - . :");
    }
    if deeper_than(&signal.body, SIGNAL_DEPTH) {
        return Err("a signal's body nests at most 8 deep");
    }
    Ok(())
}

/// Where whole numbers end in JavaScript, and so in JSON between strangers.
const LAST_NUMBER: u64 = (1 << 53) - 1;

fn deeper_than(value: &Value, depth: usize) -> bool {
    match value {
        Value::Array(items) => depth == 0 || items.iter().any(|item| deeper_than(item, depth - 1)),
        Value::Object(fields) => depth == 0 || fields.values().any(|field| deeper_than(field, depth - 1)),
        _ => false,
    }
}

/// An error message must not become a way to have the server echo a frame.
fn shorten(text: &str) -> &str {
    text.char_indices().nth(200).map_or(text, |(end, _)| &text[..end])
}

fn malformed(error: impl std::fmt::Display) -> MalformedFrame {
    MalformedFrame(shorten(&error.to_string()).to_owned())
}

fn json_parts(frame: &[u8]) -> Result<Vec<&[u8]>, MalformedFrame> {
    let batch = frame.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'[');
    if !batch {
        return Ok(vec![frame]);
    }
    let parts: Vec<&RawValue> = serde_json::from_slice(frame).map_err(malformed)?;
    within_count(parts.len())?;
    Ok(parts.into_iter().map(|part| part.get().as_bytes()).collect())
}

fn msgpack_parts(frame: &[u8]) -> Result<Vec<&[u8]>, MalformedFrame> {
    let mut rest = frame;
    let count = array_len(&mut rest).ok_or_else(|| MalformedFrame("a message is an array".into()))?;
    let batch = rest.first().is_some_and(|&marker| matches!(marker, 0x90..=0x9f | 0xdc | 0xdd));
    let mut parts = Vec::new();
    if batch || count == 0 {
        within_count(count)?;
        for _ in 0..count {
            parts.push(cut(&mut rest)?);
        }
    } else {
        rest = frame;
        parts.push(cut(&mut rest)?);
    }
    if rest.is_empty() { Ok(parts) } else { Err(MalformedFrame("bytes after the last message".into())) }
}

fn within_count(count: usize) -> Result<(), MalformedFrame> {
    if count <= MESSAGES_PER_FRAME {
        Ok(())
    } else {
        Err(MalformedFrame(format!("a frame has at most {MESSAGES_PER_FRAME} messages")))
    }
}

/// Reads the header of an array.
fn array_len(rest: &mut &[u8]) -> Option<usize> {
    rmp::decode::read_array_len(rest).ok().and_then(|len| usize::try_from(len).ok())
}

/// Takes one whole value off the front, without reading what it says.
fn cut<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], MalformedFrame> {
    let mut deserializer = rmp_serde::Deserializer::new(Cursor::new(*rest));
    deserializer.set_max_depth(MAX_DEPTH);
    IgnoredAny::deserialize(&mut deserializer).map_err(malformed)?;
    let end = usize::try_from(deserializer.position()).map_err(malformed)?;
    let (value, after) = rest.split_at(end);
    *rest = after;
    Ok(value)
}

/// Ours nest less than half as deep; JSON's own limit is 128.
const MAX_DEPTH: usize = 64;

// The JSON of the largest frame still fits what `u32` lengths of MessagePack can say.
const _: () = assert!(FRAME_BYTES < u32::MAX as usize);
