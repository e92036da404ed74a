//! Shards: the groups of rooms that are owned and moved together.

use std::fmt;

use enfilade_proto::{RoomId, UserId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One of [`Shard::COUNT`] groups of rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16")]
pub struct Shard(u16);

impl Shard {
    /// Enough for a few hundred nodes of ten shards each; fixed for ever, because rooms are assigned by it.
    pub const COUNT: u16 = 4096;

    /// The shard of a room. CRC-32 is stable, spreads UUIDs of every version, and every language has it.
    #[must_use]
    pub fn of(room: RoomId) -> Self {
        Self::hash(room.0)
    }

    /// The shard of a person's session.
    #[must_use]
    pub fn of_user(user: UserId) -> Self {
        Self::hash(user.0)
    }

    fn hash(id: Uuid) -> Self {
        Self((crc32fast::hash(id.as_bytes()) % u32::from(Self::COUNT)) as u16)
    }

    /// None if there is no such shard.
    #[must_use]
    pub fn new(number: u16) -> Option<Self> {
        (number < Self::COUNT).then_some(Self(number))
    }

    pub fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT).map(Self)
    }

    #[must_use]
    pub fn number(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for Shard {
    type Error = &'static str;

    fn try_from(number: u16) -> Result<Self, Self::Error> {
        Self::new(number).ok_or("there are 4096 shards")
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
