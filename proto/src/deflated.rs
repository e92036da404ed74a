//! A value that travels compressed: as bytes, which only MessagePack has. In JSON it is not sent, and not read.

use std::fmt;

use bytes::Bytes;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How a client can read what is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Raw DEFLATE (RFC 1951).
    Deflate,
    /// One that a later version knows; it is passed over.
    #[serde(other)]
    Unknown,
}

/// A value in MessagePack, as raw DEFLATE. What it takes when it is unpacked, whoever unpacks it has to bound.
#[derive(Clone, PartialEq, Eq)]
pub struct Deflated(pub Bytes);

impl fmt::Debug for Deflated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Deflated({} bytes)", self.0.len())
    }
}

impl Serialize for Deflated {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Deflated {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl Visitor<'_> for Form {
            type Value = Deflated;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Deflated, E> {
                Ok(Deflated(Bytes::copy_from_slice(bytes)))
            }
        }
        deserializer.deserialize_bytes(Form)
    }
}
