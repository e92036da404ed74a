//! What came from a client, taken apart.

use bytes::Bytes;
use enfilade_proto::limits::FRAME_BYTES;
use enfilade_proto::{CloseCode, Codec, Incoming, Rejected};

use super::frame::{Event, Parser};

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
    /// What came of a message that is not complete.
    parser: Option<Box<Parser>>,
    codec: Option<Codec>,
}

impl Inbox {
    pub(crate) fn new(codec: Option<Codec>) -> Self {
        Self { parser: None, codec }
    }

    pub(crate) fn codec(&self) -> Codec {
        self.codec.unwrap_or(Codec::Json)
    }

    /// Takes in what was read, and unmasks it in place.
    pub(crate) fn feed(&mut self, bytes: &mut [u8]) -> Vec<Inbound> {
        let mut came = Vec::new();
        let mut on = |event: Event<'_>| match event {
            Event::Message { text, payload } => take_apart(text, payload, &mut self.codec, &mut came),
            Event::Ping(payload) => came.push(Inbound::Ping(Bytes::copy_from_slice(payload))),
            Event::Pong => came.push(Inbound::Pong),
            Event::Close => came.push(Inbound::Close),
        };
        let fed = match &mut self.parser {
            Some(parser) => {
                let fed = parser.feed(bytes, &mut on);
                self.parser.take_if(|parser| parser.is_idle());
                fed
            }
            None => {
                let mut parser = Parser::new(FRAME_BYTES);
                let fed = parser.feed(bytes, &mut on);
                if !parser.is_idle() {
                    self.parser = Some(Box::new(parser));
                }
                fed
            }
        };
        came.extend(fed.err().map(Inbound::Broken));
        came
    }
}

fn take_apart(text: bool, payload: &[u8], codec: &mut Option<Codec>, came: &mut Vec<Inbound>) {
    let written_in = if text { Codec::Json } else { Codec::MessagePack };
    codec.get_or_insert(written_in);
    match written_in.decode_requests(payload) {
        Ok(requests) => {
            let weight = (payload.len() / requests.len().max(1)) as u32;
            came.extend(requests.into_iter().map(|incoming| Inbound::Request { incoming, weight }));
        }
        Err(error) => came.push(Inbound::Malformed(error.to_string())),
    }
}
