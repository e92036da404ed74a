//! Digests of ops, by which a journal says what a client was shown without repeating it. `FORMAT.md` defines them.

use std::fmt;
use std::str::FromStr;

use enfilade_proto::{Codec, LoggedOp, Seq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// What tells an op from any other: the head of the SHA-256 of its MessagePack.
#[must_use]
pub fn op_digest(op: &LoggedOp) -> u64 {
    let digest = Sha256::digest(Codec::MessagePack.encode_value(op));
    let mut head = [0; 8];
    head.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(head)
}

/// The digest of a stretch of ops: a sum, so that stretches that follow each other add up, in which every op is weighed
/// by its seq, so that two in the wrong order make another one.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct RangeDigest(u64);

impl RangeDigest {
    #[must_use]
    pub fn of(seq: Seq, op: u64) -> Self {
        Self(op.wrapping_mul(seq.0.wrapping_mul(2).wrapping_add(1)))
    }

    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }

    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self(self.0.wrapping_sub(other.0))
    }

    /// Of ops of these digests, from `first` on.
    #[must_use]
    pub fn sum(first: Seq, ops: impl IntoIterator<Item = u64>) -> Self {
        let each = ops.into_iter().zip(first.0..).map(|(op, seq)| Self::of(Seq(seq), op));
        each.fold(Self::default(), Self::plus)
    }
}

impl fmt::Display for RangeDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for RangeDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RangeDigest {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let number = plain.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        number.map(Self).ok_or("a digest is 16 hexadecimal digits")
    }
}

impl Serialize for RangeDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RangeDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_add_up_and_order_counts() {
        let whole = RangeDigest::sum(Seq(5), [11, 22, 33]);
        let parts = RangeDigest::sum(Seq(5), [11]).plus(RangeDigest::sum(Seq(6), [22, 33]));
        assert_eq!(whole, parts);
        assert_eq!(whole.minus(RangeDigest::sum(Seq(5), [11])), RangeDigest::sum(Seq(6), [22, 33]));
        assert_ne!(whole, RangeDigest::sum(Seq(5), [22, 11, 33]));
        assert_eq!(whole.to_string().parse(), Ok(whole));
    }
}
