//! How `joined` and `reset` are written: a snapshot's bytes are shared by all who get it, only what is around them is one's own.

use bytes::Bytes;
use enfilade_actors::host::Offload;
use enfilade_proto::{Codec, Presence, RoomId, encode_around, encode_fields};

use super::frame;
use super::hub::Membership;
use super::room::Joining;

/// The reply to a join.
pub(crate) async fn frames(
    codec: Codec,
    reply: Option<u32>,
    membership: &Membership,
    joining: &Joining,
) -> Vec<Bytes> {
    let fields = [
        ("room", codec.encode_value(&membership.room.id)),
        ("kind", codec.encode_value(&joining.kind)),
        ("title", codec.encode_value(&membership.title)),
        ("role", codec.encode_value(&membership.role)),
        ("position", codec.encode_value(&joining.position)),
        ("ops", codec.encode_value(&joining.ops)),
        ("presence", codec.encode_value::<Presence>(&joining.presence)),
    ];
    with_snapshot(codec, reply, "joined", &fields, joining).await
}

/// The push for somebody who fell too far behind.
pub(crate) async fn reset_frames(codec: Codec, room: RoomId, joining: &Joining) -> Vec<Bytes> {
    let fields = [
        ("room", codec.encode_value(&room)),
        ("position", codec.encode_value(&joining.position)),
        ("ops", codec.encode_value(&joining.ops)),
    ];
    let mut parts = with_snapshot(codec, None, "reset", &fields, joining).await;
    // Who came and went meanwhile was missed as well.
    let presence = Presence { room: Some(room), ..joining.presence.clone() };
    parts.push(frame::message(codec == Codec::Json, &codec.encode(None, "presence", &presence)));
    parts
}

async fn with_snapshot(
    codec: Codec,
    reply: Option<u32>,
    message_type: &str,
    fields: &[(&str, Vec<u8>)],
    joining: &Joining,
) -> Vec<Bytes> {
    let fields: Vec<(&str, &[u8])> = fields.iter().map(|(name, value)| (*name, value.as_slice())).collect();
    let text = codec == Codec::Json;
    let Some(snapshot) = &joining.snapshot else {
        return vec![frame::message(text, &encode_fields(codec, reply, message_type, &fields))];
    };
    // The room wrote it before it let anybody in.
    let snapshot = snapshot.written(codec, Offload::Inline).await;
    let (before, after) = encode_around(codec, reply, message_type, &fields, "snapshot");
    let mut head = frame::message_header(text, before.len() + snapshot.len() + after.len());
    head.extend_from_slice(&before);
    let mut parts = vec![Bytes::from(head), snapshot];
    if !after.is_empty() {
        parts.push(Bytes::from_static(after));
    }
    parts
}
