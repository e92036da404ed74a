//! The shards that a host owns, and which of them take no more work because they are being given up.

use std::collections::BTreeMap;

use enfilade_proto::Epoch;
use enfilade_store::Shard;

#[derive(Debug, Default)]
pub(super) struct Shards(BTreeMap<Shard, Owned>);

#[derive(Debug)]
struct Owned {
    epoch: Epoch,
    /// Since when it is ours.
    since_ms: u64,
    closed: bool,
}

impl Shards {
    /// Takes a shard. True if it was owned in an earlier epoch: what runs of it is outdated. News of an epoch that is not later
    /// came late.
    pub(super) fn adopt(&mut self, shard: Shard, epoch: Epoch, now_ms: u64) -> bool {
        if self.0.get(&shard).is_some_and(|known| epoch <= known.epoch) {
            return false;
        }
        self.0.insert(shard, Owned { epoch, since_ms: now_ms, closed: false }).is_some()
    }

    pub(super) fn close(&mut self, shard: Shard) {
        if let Some(owned) = self.0.get_mut(&shard) {
            owned.closed = true;
        }
    }

    pub(super) fn reopen(&mut self, shard: Shard) {
        if let Some(owned) = self.0.get_mut(&shard) {
            owned.closed = false;
        }
    }

    pub(super) fn forget(&mut self, shard: Shard) {
        self.0.remove(&shard);
    }

    /// The epoch in which a shard is owned, if it takes work.
    pub(super) fn open_epoch(&self, shard: Shard) -> Option<Epoch> {
        self.0.get(&shard).filter(|owned| !owned.closed).map(|owned| owned.epoch)
    }

    /// When a shard that takes work came here from another owner; `Some(None)`: it never had another one.
    pub(super) fn moved_here_ms(&self, shard: Shard) -> Option<Option<u64>> {
        let owned = self.0.get(&shard).filter(|owned| !owned.closed)?;
        Some((owned.epoch > Epoch(1)).then_some(owned.since_ms))
    }

    pub(super) fn owned(&self) -> Vec<(Shard, Epoch)> {
        self.0.iter().map(|(shard, owned)| (*shard, owned.epoch)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_that_is_given_up_takes_no_work_until_it_is_kept() {
        let shard = Shard::new(9).unwrap();
        let mut shards = Shards::default();
        assert_eq!(shards.open_epoch(shard), None);
        assert!(!shards.adopt(shard, Epoch(1), 5));
        assert_eq!(shards.moved_here_ms(shard), Some(None));
        shards.close(shard);
        assert_eq!((shards.open_epoch(shard), shards.owned()), (None, vec![(shard, Epoch(1))]));
        shards.reopen(shard);
        assert_eq!(shards.open_epoch(shard), Some(Epoch(1)));
        assert!(!shards.adopt(shard, Epoch(1), 6), "late news");
        assert!(shards.adopt(shard, Epoch(2), 7), "another epoch");
        assert_eq!(shards.moved_here_ms(shard), Some(Some(7)));
        shards.forget(shard);
        assert_eq!(shards.owned(), []);
    }
}
