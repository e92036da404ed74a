//! What the floor says: frames, made once for all who get them.
//!
//! Pure. A signal that came in MessagePack is not even read: what it says is put, as it is, behind another beginning.

use enfilade_proto::limits::{Limits, PING_MS};
use enfilade_proto::{
    Accepted, ClientId, Codec, DisplayName, Epoch, Joined, LoggedOp, Ops, Position, Presence, Role, RoomId,
    RoomKind, Seq, Signal, SignalOut, Signals, Snapshot, Submit, User, UserId, Welcome,
};
use uuid::Uuid;

use crate::swarm::websocket::{self, BINARY, TEXT};

/// A frame of a server.
#[must_use]
pub fn frame(codec: Codec, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 10);
    websocket::write(&mut out, if codec == Codec::Json { TEXT } else { BINARY }, payload);
    out
}

#[must_use]
pub fn welcome(codec: Codec, id: Option<u32>, user: UserId, name: DisplayName) -> Vec<u8> {
    let user = User { id: user, name, guest: true };
    let welcome = Welcome {
        user: Some(user),
        node: "floor".into(),
        ping_ms: PING_MS,
        resume: None,
        limits: Limits::default(),
    };
    frame(codec, &codec.encode(id, "welcome", &welcome))
}

#[must_use]
pub fn joined(
    codec: Codec,
    id: Option<u32>,
    room: RoomId,
    title: DisplayName,
    seq: u64,
    members: u64,
) -> Vec<u8> {
    let joined = Joined {
        room,
        kind: RoomKind::Board,
        title,
        role: Role::Editor,
        position: Position { epoch: Epoch(1), seq: Seq(seq) },
        snapshot_deflate: None,
        snapshot: Some(Snapshot { seq: Seq(seq), elements: None }),
        ops: None,
        presence: Presence { count: members, ..Presence::default() },
    };
    frame(codec, &codec.encode(id, "joined", &joined))
}

#[must_use]
pub fn accepted(codec: Codec, id: Option<u32>, seq: u64) -> Vec<u8> {
    frame(codec, &codec.encode(id, "accepted", &Accepted { seq: Seq(seq) }))
}

#[must_use]
pub fn signals(codec: Codec, author: UserId, client: ClientId, signal: Signal) -> Vec<u8> {
    let Signal { room, key, body } = signal;
    let signals = Signals { room, signals: vec![SignalOut { author, client, key, body }] };
    frame(codec, &codec.encode(None, "signals", &signals))
}

#[must_use]
pub fn ops(codec: Codec, author: UserId, client: ClientId, submit: &Submit, seq: u64) -> Vec<u8> {
    let op = LoggedOp { author, client, op_id: submit.op_id, at: 0, op: submit.op.clone() };
    let ops = Ops { room: submit.room, epoch: Epoch(1), first_seq: Seq(seq), ops: vec![op] };
    frame(codec, &codec.encode(None, "ops", &ops))
}

/// The signal in a payload as the frame for everybody, without reading it; and its room.
#[must_use]
pub fn spliced(author: UserId, client: ClientId, payload: &[u8]) -> Option<(RoomId, Vec<u8>)> {
    let rest = payload.strip_prefix(b"\x93\xa6signal\xc0\x83\xa4room\xc4\x10")?;
    let (room, rest) = rest.split_first_chunk::<16>()?;
    if !rest.starts_with(b"\xa3key") {
        return None;
    }
    let mut out = Vec::with_capacity(payload.len() + 70);
    out.extend_from_slice(b"\x93\xa7signals\xc0\x82\xa4room\xc4\x10");
    out.extend_from_slice(room);
    out.extend_from_slice(b"\xa7signals\x91\x84\xa6author\xc4\x10");
    out.extend_from_slice(author.0.as_bytes());
    out.extend_from_slice(b"\xa6client\xc4\x10");
    out.extend_from_slice(client.0.as_bytes());
    out.extend_from_slice(rest);
    Some((RoomId(Uuid::from_bytes(*room)), frame(Codec::MessagePack, &out)))
}

#[cfg(test)]
mod tests {
    use enfilade_proto::Request;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_spliced_signal_is_the_one_that_reading_gives() {
        let [author, client, room] = [1, 2, 3].map(Uuid::from_u128);
        let (author, client, room) = (UserId(author), ClientId(client), RoomId(room));
        for body in [json!([1, 2, "x"]), json!({"a": null}), json!("y".repeat(300))] {
            let signal = Signal { room, key: "k1".into(), body };
            let payload = Codec::MessagePack.encode_request(None, &Request::Signal(signal.clone()));
            let read = signals(Codec::MessagePack, author, client, signal.clone());
            assert_eq!(spliced(author, client, &payload), Some((room, read)));
            let with_id = Codec::MessagePack.encode_request(Some(1), &Request::Signal(signal));
            assert_eq!(spliced(author, client, &with_id), None);
        }
    }
}
