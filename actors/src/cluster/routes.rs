//! Who owns which shard, as far as this node knows. It may be wrong: who is asked says so, and the next look at the database
//! puts it right.

use std::collections::BTreeMap;

use enfilade_proto::Epoch;
use enfilade_store::{Incarnation, Shard, View};

#[derive(Debug, Default)]
pub(super) struct Routes {
    owners: BTreeMap<Shard, (Incarnation, Epoch)>,
}

impl Routes {
    pub(super) fn owner(&self, shard: Shard) -> Option<Incarnation> {
        self.owners.get(&shard).map(|(owner, _)| *owner)
    }

    /// What the database says. Returns the shards that have another owner than was known.
    pub(super) fn set(&mut self, view: &View) -> Vec<(Shard, Epoch)> {
        let known = std::mem::take(&mut self.owners);
        self.owners = view.owners.iter().map(|(shard, owner, epoch)| (*shard, (*owner, *epoch))).collect();
        let changed = |(shard, now): &(&Shard, &(Incarnation, Epoch))| known.get(shard) != Some(now);
        self.owners.iter().filter(changed).map(|(shard, (_, epoch))| (*shard, *epoch)).collect()
    }

    /// What a new owner says of itself. News that is older than what is known is none.
    pub(super) fn moved(&mut self, shards: &[(Shard, Epoch)], to: Incarnation) -> Vec<(Shard, Epoch)> {
        let mut changed = Vec::new();
        for &(shard, epoch) in shards {
            if self.owners.get(&shard).is_none_or(|(_, known)| *known < epoch) {
                self.owners.insert(shard, (to, epoch));
                changed.push((shard, epoch));
            }
        }
        changed
    }

    /// How many shards each node owns.
    pub(super) fn counts(&self) -> BTreeMap<Incarnation, usize> {
        let mut counts = BTreeMap::new();
        for (owner, _) in self.owners.values() {
            *counts.entry(*owner).or_default() += 1;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const ONE: Incarnation = Incarnation(Uuid::from_u128(1));
    const TWO: Incarnation = Incarnation(Uuid::from_u128(2));

    #[test]
    fn news_that_is_old_is_none() {
        let shard = Shard::new(7).unwrap();
        let mut routes = Routes::default();
        assert_eq!(routes.moved(&[(shard, Epoch(3))], ONE), [(shard, Epoch(3))]);
        assert_eq!(routes.moved(&[(shard, Epoch(2))], TWO), []);
        assert_eq!(routes.owner(shard), Some(ONE));
        assert_eq!(routes.moved(&[(shard, Epoch(4))], TWO), [(shard, Epoch(4))]);
        assert_eq!(routes.owner(shard), Some(TWO));
    }

    #[test]
    fn the_database_is_believed_even_if_it_was_set_back() {
        let (shard, other) = (Shard::new(7).unwrap(), Shard::new(8).unwrap());
        let mut routes = Routes::default();
        routes.moved(&[(shard, Epoch(5)), (other, Epoch(1))], TWO);
        let view = View { owners: vec![(shard, ONE, Epoch(4)), (other, TWO, Epoch(1))], ..View::default() };
        assert_eq!(routes.set(&view), [(shard, Epoch(4))]);
        assert_eq!(routes.owner(shard), Some(ONE));
        assert_eq!(routes.counts(), BTreeMap::from([(ONE, 1), (TWO, 1)]));
    }
}
