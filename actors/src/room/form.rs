//! How a room lies in the database: rows of its log, and its checkpoints. Both begin with the version of their form.

use std::sync::Arc;

use bytes::Bytes;
use enfilade_proto::{Codec, ErrorCode, LoggedOp, RoomKind};
use serde::{Deserialize, Serialize};

use super::dedup::{Dedup, DedupForm};
use crate::kind::{self, Contents, Kind};
use crate::refusal::Refusal;

/// Rows: this byte, then the ops as a MessagePack list in the form of the protocol, which skips what it does not know.
const ROW_FORM: u8 = 1;

/// Checkpoints: a MessagePack map of the fields of [`Form`].
pub(crate) const CHECKPOINT_FORM: u32 = 1;

/// A batch of ops as one row.
#[must_use]
pub(crate) fn write_row(ops: &[Arc<LoggedOp>]) -> Bytes {
    let mut row = vec![ROW_FORM];
    row.extend_from_slice(&Codec::MessagePack.encode_value(ops));
    row.into()
}

/// # Errors
/// When the row is damaged or of a later form.
pub fn read_row(row: &[u8]) -> Result<Vec<LoggedOp>, Refusal> {
    match row.split_first() {
        Some((&ROW_FORM, ops)) => rmp_serde::from_slice(ops).map_err(|error| damaged(&error)),
        Some((form, _)) => Err(damaged(&format_args!("rows of form {form} are not known"))),
        None => Err(damaged(&"an empty row")),
    }
}

#[derive(Serialize, Deserialize)]
struct Form<'a> {
    kind: RoomKind,
    #[serde(borrow, with = "raw")]
    contents: std::borrow::Cow<'a, [u8]>,
    dedup: DedupForm,
}

/// Bytes as MessagePack bytes and not as a list of numbers.
mod raw {
    use std::borrow::Cow;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Cow<'de, [u8]>, D::Error> {
        <&[u8]>::deserialize(deserializer).map(Cow::Borrowed)
    }
}

/// What a checkpoint is made of: taken in the room, written elsewhere.
#[derive(Debug)]
pub struct CheckpointParts {
    pub(super) kind: RoomKind,
    pub(super) contents: Contents,
    pub(super) dedup: DedupForm,
}

impl CheckpointParts {
    /// The body of the checkpoint. Takes milliseconds for a large room: not for an actor's thread.
    #[must_use]
    pub fn write(self) -> Bytes {
        let contents = self.contents.to_checkpoint().into();
        Codec::MessagePack.encode_value(&Form { kind: self.kind, contents, dedup: self.dedup }).into()
    }
}

pub(super) fn read_checkpoint(
    format: u32,
    body: &[u8],
    expected: RoomKind,
) -> Result<(Box<dyn Kind>, Dedup), Refusal> {
    if format != CHECKPOINT_FORM {
        return Err(damaged(&format_args!("checkpoints of form {format} are not known")));
    }
    let form: Form<'_> = rmp_serde::from_slice(body).map_err(|error| damaged(&error))?;
    if form.kind != expected {
        return Err(damaged(&format_args!("a checkpoint of a {}", form.kind.as_str())));
    }
    Ok((kind::restore(form.kind, &form.contents)?, Dedup::from_form(form.dedup)))
}

fn damaged(what: &dyn std::fmt::Display) -> Refusal {
    Refusal::new(ErrorCode::Internal, format!("the room's stored data cannot be read: {what}"))
}
