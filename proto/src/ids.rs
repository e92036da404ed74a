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
    /// Counts the owners that the room's shard has had. When a database is restored to an earlier time, an *era* begins: see
    /// [`Epoch::era`].
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

impl Epoch {
    /// Epochs of an era. Should a shard have more owners than that between two restores, it goes on in the next era, which
    /// resets clients once and does no other harm.
    const PER_ERA: u64 = 1 << 20;

    /// The history that the epoch belongs to: a database that was restored goes on in a later era than any before. What was
    /// numbered in another era may be something else.
    #[must_use]
    pub fn era(self) -> u64 {
        self.0 / Self::PER_ERA
    }

    /// What shards stand at when a database was restored whose highest epoch is `self`. The era is the time in seconds, so that one
    /// database restored twice gets two, and never one that was there: what the clients know is not on record any more.
    ///
    /// Until the year 2106, epochs stay below 2⁵³ that way, the largest number in JSON.
    #[must_use]
    pub fn after_restore(self, now_s: u64) -> Self {
        Self(now_s.max(self.era() + 1) * Self::PER_ERA)
    }
}

/// Where a reader of a room stands: everything through `seq` is known to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub epoch: Epoch,
    pub seq: Seq,
}

impl Position {
    /// Whether a room that stands `now` went through here, so that it is enough to know what came after.
    #[must_use]
    pub fn leads_to(self, now: Self) -> bool {
        self.epoch.era() == now.epoch.era() && self.epoch <= now.epoch && self.seq <= now.seq
    }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2026 to 2106.
    const TIMES: std::ops::Range<u64> = 1_767_225_600..1 << 32;

    proptest! {
        #[test]
        fn nothing_from_before_a_restore_leads_to_what_is_after_it(
            owners in 0u64..5_000,
            restores in proptest::collection::vec(TIMES, 1..8),
            seqs in proptest::collection::vec(0u64..100, 2),
        ) {
            let mut past = vec![Epoch(owners)];
            for now_s in restores {
                // Clocks are not to be relied upon: they may go back.
                let epoch = past[past.len() - 1].after_restore(now_s);
                for owner in 1..=2 {
                    let now = Position { epoch: Epoch(epoch.0 + owner), seq: Seq(seqs[1]) };
                    for epoch in &past {
                        let then = Position { epoch: *epoch, seq: Seq(seqs[0]) };
                        prop_assert!(!then.leads_to(now) && !now.leads_to(then));
                    }
                }
                past.push(Epoch(epoch.0 + 2));
                prop_assert!(epoch.0 < 1 << 53, "what JSON can say");
            }
        }

        #[test]
        fn a_position_leads_to_those_after_it(epoch in 0u64..1_000, seq in 0u64..1_000, owners in 0u64..1_000, ops in 0u64..1_000) {
            let then = Position { epoch: Epoch(epoch), seq: Seq(seq) };
            let now = Position { epoch: Epoch(epoch + owners), seq: Seq(seq + ops) };
            prop_assert!(then.leads_to(now));
            prop_assert!(then == now || !now.leads_to(then));
        }
    }
}
