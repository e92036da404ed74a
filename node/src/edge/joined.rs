//! How `joined` and `reset` are written: a snapshot's bytes are shared by all who get it, only what is around them is one's own.

use bytes::Bytes;
use enfilade_proto::{Codec, Presence, RoomId, encode_around, encode_fields};

use super::frame;
use super::room::{EdgeRoom, Joining, Shown};
use crate::people::Admission;

/// The reply to a join.
pub(crate) fn frames(
    codec: Codec,
    reply: Option<u32>,
    room: &EdgeRoom,
    admission: &Admission,
    joining: &Joining,
) -> Vec<Bytes> {
    let fields = [
        ("room", codec.encode_value(&room.id)),
        ("kind", codec.encode_value(&joining.kind)),
        ("title", codec.encode_value(&admission.title)),
        ("role", codec.encode_value(&admission.role)),
        ("position", codec.encode_value(&joining.position)),
        ("ops", codec.encode_value(&joining.ops)),
        ("presence", codec.encode_value::<Presence>(&joining.presence)),
    ];
    with_snapshot(codec, reply, "joined", &fields, joining)
}

/// The push for somebody who fell too far behind.
pub(crate) fn reset_frames(codec: Codec, room: RoomId, joining: &Joining) -> Vec<Bytes> {
    let fields = [
        ("room", codec.encode_value(&room)),
        ("position", codec.encode_value(&joining.position)),
        ("ops", codec.encode_value(&joining.ops)),
    ];
    let mut parts = with_snapshot(codec, None, "reset", &fields, joining);
    // Who came and went meanwhile was missed as well.
    let presence = Presence { room: Some(room), ..joining.presence.clone() };
    parts.push(frame::message(codec == Codec::Json, &codec.encode(None, "presence", &presence)));
    parts
}

fn with_snapshot(
    codec: Codec,
    reply: Option<u32>,
    message_type: &str,
    fields: &[(&str, Vec<u8>)],
    joining: &Joining,
) -> Vec<Bytes> {
    let fields: Vec<(&str, &[u8])> = fields.iter().map(|(name, value)| (*name, value.as_slice())).collect();
    let text = codec == Codec::Json;
    let Some(Shown { field, .. }) = &joining.snapshot else {
        return vec![frame::message(text, &encode_fields(codec, reply, message_type, &fields))];
    };
    let (before, after) = encode_around(codec, reply, message_type, &fields, field.name);
    let mut head = frame::message_header(text, before.len() + field.value.len() + after.len());
    head.extend_from_slice(&before);
    let mut parts = vec![Bytes::from(head), field.value.clone()];
    if !after.is_empty() {
        parts.push(Bytes::from_static(after));
    }
    parts
}
