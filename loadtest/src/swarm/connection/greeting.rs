//! How a connection comes in: the upgrade, then `hello` and `join` in one frame.

use enfilade_proto::{Codec, Epoch, Guest, Hello, Join, Position, Request, Seq};

use super::{Connection, HELLO, JOIN, Lost, Phase};
use crate::clock::Micros;
use crate::swarm::ears::Ears;
use crate::swarm::wire::Job;

/// Bytes of an answer to the upgrade.
const HEAD_BYTES: usize = 16 * 1024;

impl Connection {
    /// Says `hello` and `join` in one frame.
    pub(super) fn greet(&mut self, job: &Job, ears: &mut Ears, now: Micros) -> Result<(), Lost> {
        let room = &ears.plan.rooms[self.place.room as usize];
        let tokens = &job.tokens;
        let token =
            ears.plan.number(self.place).checked_rem(tokens.len()).map(|person| tokens[person].clone());
        let audience = job.audience && self.speaker.is_none();
        let hello = Hello {
            audience,
            resume: self.resume.as_deref().map(str::to_owned),
            guest: (!audience && token.is_none())
                .then(|| Guest { name: format!("Guest {}", self.place.member) }),
            token,
            ..Hello::new(ears.plan.client(self.place))
        };
        let since = (job.resume && self.returns)
            .then_some(Position { epoch: Epoch(self.listener.epoch), seq: Seq(self.listener.seq) });
        let join = Join { room: room.id, link: room.link.clone(), since };
        let messages = [
            ears.codec.encode_request(Some(HELLO), &Request::Hello(hello)),
            ears.codec.encode_request(Some(JOIN), &Request::Join(join)),
        ];
        let both = batch(ears.codec, &messages);
        self.phase = Phase::Greeting;
        self.since = now;
        self.send_request(ears, &both)
    }
}

/// Several messages in one frame.
fn batch(codec: Codec, messages: &[Vec<u8>]) -> Vec<u8> {
    match codec {
        Codec::Json => [b"[", messages.join(&b',').as_slice(), b"]"].concat(),
        Codec::MessagePack => {
            let mut bytes = vec![0x90 | messages.len() as u8];
            messages.iter().for_each(|message| bytes.extend_from_slice(message));
            bytes
        }
    }
}

pub(super) fn upgrade(job: &Job) -> String {
    format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ZW5maWxhZGUgc3dhcm0uLg==\r\n\
         Sec-WebSocket-Protocol: {}\r\n\r\n",
        job.path,
        job.host,
        job.codec().subprotocol()
    )
}

/// Where the answer to the upgrade ends, if all of it is there.
pub(super) fn upgraded(bytes: &[u8]) -> Result<Option<usize>, Lost> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return if bytes.len() > HEAD_BYTES { Err(Lost::Handshake(0)) } else { Ok(None) };
    };
    let status = bytes.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    match status {
        Some(101) => Ok(Some(end + 4)),
        status => Err(Lost::Handshake(status.unwrap_or(0))),
    }
}
