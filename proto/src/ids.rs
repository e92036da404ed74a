//! Identities and positions. Each is a type of its own, so that one can never stand where another is meant.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

macro_rules! uuid_id {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    )*};
}

uuid_id! {
    /// A room. Text in JSON, 16 bytes in MessagePack, like every id below.
    RoomId;
    /// A person: signed up, or a guest who was given an id for the time of the visit.
    UserId;
    /// One instance of a client library; kept across its reconnects, so that a resent op is recognised.
    ClientId;
    /// A signed-in device, `sid` in its access tokens.
    LoginId;
    /// A share link (not its secret).
    LinkId;
}

impl UserId {
    /// The author of what a room does to itself (it closes an abandoned stroke, it forgets old deletions).
    pub const ROOM: Self = Self(Uuid::nil());
}

impl ClientId {
    /// The client of ops that no client sent; its op id is 0.
    pub const ROOM: Self = Self(Uuid::nil());
}

macro_rules! counter {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

counter! {
    /// The number of an op in its room: 1, 2, 3, without gap or repeat. 0 is the empty room.
    Seq;
    /// Counts the owners that the room's shard has had.
    Epoch;
    /// A client's own number for an op; it only grows. `(client, op id)` names an op for ever.
    OpId;
}

impl Seq {
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Where a reader of a room stands: everything through `seq` is known to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub epoch: Epoch,
    pub seq: Seq,
}

/// The name of an element on a board, chosen by the client that adds it: 1 to 40 of `A-Z a-z 0-9 _ -`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ElementId(Box<str>);

#[derive(Debug, thiserror::Error)]
#[error("an element id is 1 to {max} characters of A-Z, a-z, 0-9, _ and -", max = ElementId::MAX_LEN)]
pub struct InvalidElementId;

impl ElementId {
    /// Room for a UUID in text, with some to spare.
    pub const MAX_LEN: usize = 40;

    /// # Errors
    /// When the text is empty, too long or has other characters.
    pub fn new(text: &str) -> Result<Self, InvalidElementId> {
        let fits = (1..=Self::MAX_LEN).contains(&text.len());
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if fits && plain { Ok(Self(text.into())) } else { Err(InvalidElementId) }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ElementId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ElementId({})", self.0)
    }
}

impl fmt::Display for ElementId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ElementId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = ElementId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an element id")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ElementId, E> {
                ElementId::new(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}
