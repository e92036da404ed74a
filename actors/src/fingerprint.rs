//! Fingerprints of sets of ids: two nodes compare theirs, and see whether they know the same without saying it all.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A sum over the ids of a set, so that ids are added and removed in any order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(u64);

impl Fingerprint {
    pub fn add(&mut self, id: Uuid) {
        self.0 = self.0.wrapping_add(mark(id));
    }

    pub fn remove(&mut self, id: Uuid) {
        self.0 = self.0.wrapping_sub(mark(id));
    }
}

impl FromIterator<Uuid> for Fingerprint {
    fn from_iter<I: IntoIterator<Item = Uuid>>(ids: I) -> Self {
        let mut fingerprint = Self::default();
        ids.into_iter().for_each(|id| fingerprint.add(id));
        fingerprint
    }
}

fn mark(id: Uuid) -> u64 {
    let (high, low) = id.as_u64_pair();
    mix(mix(high) ^ low)
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood, 2014). All nodes must agree on it, whatever their version.
pub(crate) fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_removed_leaves_no_trace(kept in prop::collection::vec(any::<u128>(), 0..20), gone: u128) {
            let ids = |ids: &[u128]| ids.iter().copied().map(Uuid::from_u128).collect::<Fingerprint>();
            let mut fingerprint = ids(&kept);
            fingerprint.add(Uuid::from_u128(gone));
            prop_assert_ne!(fingerprint, ids(&kept));
            fingerprint.remove(Uuid::from_u128(gone));
            prop_assert_eq!(fingerprint, ids(&kept.into_iter().rev().collect::<Vec<_>>()));
        }
    }
}
