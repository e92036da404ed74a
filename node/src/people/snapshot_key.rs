//! Keys of snapshots: whoever has one may read one snapshot of one room, and nothing else.
//!
//! They stand in URLs, so that caches between us and a crowd can keep what lies there. Everybody gets the same one for the same
//! snapshot; it holds as long as that snapshot is there.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use enfilade_proto::{Position, RoomId};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::mac;

/// 128 bits are more than anybody guesses over a network.
const BYTES: usize = 16;

pub(super) struct SnapshotKeys {
    mac: Hmac<Sha256>,
}

impl SnapshotKeys {
    #[must_use]
    pub(super) fn new(key: &[u8]) -> Self {
        Self { mac: mac::keyed(key) }
    }

    #[must_use]
    pub(super) fn seal(&self, room: RoomId, position: Position) -> String {
        let bytes = self.of(room, position).finalize().into_bytes();
        URL_SAFE_NO_PAD.encode(&bytes[..BYTES])
    }

    #[must_use]
    pub(super) fn opens(&self, key: &str, room: RoomId, position: Position) -> bool {
        let bytes = URL_SAFE_NO_PAD.decode(key).ok().filter(|bytes| bytes.len() == BYTES);
        bytes.is_some_and(|bytes| self.of(room, position).verify_truncated_left(&bytes).is_ok())
    }

    fn of(&self, room: RoomId, Position { epoch, seq }: Position) -> Hmac<Sha256> {
        let mac = self.mac.clone().chain_update(room.0.as_bytes());
        mac.chain_update(epoch.0.to_be_bytes()).chain_update(seq.0.to_be_bytes())
    }
}

impl std::fmt::Debug for SnapshotKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SnapshotKeys")
    }
}

#[cfg(test)]
mod tests {
    use enfilade_proto::{Epoch, Seq};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_key_opens_one_snapshot_of_one_room_in_one_cluster() {
        let keys = SnapshotKeys::new(&[3; 32]);
        let (room, other) = (RoomId(Uuid::from_u128(1)), RoomId(Uuid::from_u128(2)));
        let at = |epoch, seq| Position { epoch: Epoch(epoch), seq: Seq(seq) };
        let key = keys.seal(room, at(3, 41));
        assert!(keys.opens(&key, room, at(3, 41)));
        assert!(!keys.opens(&key, room, at(3, 42)) && !keys.opens(&key, room, at(4, 41)));
        assert!(!keys.opens(&key, other, at(3, 41)));
        assert!(!SnapshotKeys::new(&[4; 32]).opens(&key, room, at(3, 41)));
        for wrong in ["", "AA", &key[..20], &format!("{key}AAAA"), "not base64!"] {
            assert!(!keys.opens(wrong, room, at(3, 41)), "{wrong:?}");
        }
    }
}
