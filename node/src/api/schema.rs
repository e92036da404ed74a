//! Forms of the protocol's own types, for the document. The types themselves know nothing of OpenAPI.

#![allow(dead_code, reason = "these are read by the document alone")]

use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, SchemaType, Type};
use uuid::Uuid;

/// What a room is for.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum RoomKind {
    Board,
    Document,
    Chat,
    Thread,
}

/// What a person may do in a room; each role may do all that the ones before it may.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum Role {
    Viewer,
    Editor,
    Owner,
}

/// Whether a person is there: on a device that is in use, on some that are not, on none.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum Presence {
    Online,
    Away,
    Offline,
}

/// A person, as others see them.
#[derive(ToSchema)]
pub(super) struct User {
    id: Uuid,
    #[schema(max_length = 64)]
    name: String,
}

/// Where a reader of a room stands.
#[derive(ToSchema)]
pub(super) struct Position {
    /// Counts the owners that the room has had.
    epoch: u64,
    /// Everything through this op is known.
    seq: u64,
}

/// A change to a room, as PROTOCOL.md describes it.
#[derive(ToSchema)]
pub(super) struct Op {
    #[schema(example = "add_stroke")]
    r#type: String,
    #[schema(schema_with = anything)]
    data: (),
}

/// An op in the history of its room; its seq follows from its place.
#[derive(ToSchema)]
pub(super) struct LoggedOp {
    author: Uuid,
    client: Uuid,
    op_id: u64,
    /// When the room took it, in milliseconds since 1970.
    at: u64,
    #[schema(inline = false)]
    op: Op,
}

/// A room after its op `seq`.
#[derive(ToSchema)]
pub(super) struct Snapshot {
    seq: u64,
    /// A board's elements, as PROTOCOL.md describes them.
    #[schema(schema_with = list_of_anything)]
    elements: Option<()>,
}

/// A room as it is now.
#[derive(ToSchema)]
pub(super) struct RoomSnapshot {
    room: Uuid,
    kind: RoomKind,
    title: String,
    position: Position,
    snapshot: Snapshot,
}

/// A public key of RFC 7517.
#[derive(ToSchema)]
pub(super) struct PublicKey {
    #[schema(example = "OKP")]
    kty: String,
    #[schema(example = "Ed25519")]
    crv: String,
    x: String,
    #[schema(example = "EdDSA")]
    alg: String,
    kid: String,
    #[schema(example = "sig")]
    r#use: String,
}

/// The keys that verify access tokens.
#[derive(ToSchema)]
pub(super) struct PublicKeys {
    keys: Vec<PublicKey>,
}

fn anything() -> Schema {
    ObjectBuilder::new().schema_type(SchemaType::Type(Type::Object)).into()
}

fn list_of_anything() -> Schema {
    ArrayBuilder::new().items(RefOr::T(anything())).into()
}
