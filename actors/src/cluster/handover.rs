//! Handing shards to other nodes: a few at a time, so that a room waits for a commit and an update of the database, and no longer.

use std::collections::BTreeMap;
use std::sync::Weak;
use std::time::Duration;

use enfilade_store::{Incarnation, Shard, StoreError};
use tokio::sync::watch;

use super::Inner;
use crate::bus::Message;
use crate::stopwatch::Stopwatch;

/// Shards that move together.
const AT_ONCE: usize = 32;
/// Between two moves, while nobody is in a hurry.
const PACE: Duration = Duration::from_millis(20);
/// After a move that failed.
const RETRY: Duration = Duration::from_millis(500);

/// What is to go where. Renewed with every look at the cluster.
pub(super) type Orders = BTreeMap<Incarnation, Vec<Shard>>;

/// Takes new orders in. Returns whether there is something to do about them: to begin, to try again what failed, or to stop.
pub(super) fn renew(orders: &mut Orders, planned: Orders) -> bool {
    let news = !(orders.is_empty() && planned.is_empty());
    *orders = planned;
    news
}

/// Carries out the latest orders until the cluster is gone.
pub(super) async fn run(cluster: Weak<Inner>, mut orders: watch::Receiver<Orders>) {
    while orders.changed().await.is_ok() {
        let current = orders.borrow_and_update().clone();
        let some = |(to, shards): (Incarnation, Vec<Shard>)| {
            shards.chunks(AT_ONCE).map(|some| (to, some.to_vec())).collect::<Vec<_>>()
        };
        for (to, shards) in current.into_iter().flat_map(some) {
            // What was right when it was ordered may be wrong now. Whatever still has to move is in the next orders.
            if orders.has_changed().unwrap_or(true) {
                break;
            }
            let Some(cluster) = cluster.upgrade() else { return };
            let pause = match cluster.hand_over(to, &shards).await {
                Ok(()) if cluster.is_draining() => Duration::ZERO,
                Ok(()) => PACE,
                Err(error) => {
                    tracing::warn!(%to, error = &error as &dyn std::error::Error, "shards could not be handed over");
                    RETRY
                }
            };
            drop(cluster);
            tokio::time::sleep(pause).await;
        }
    }
}

impl Inner {
    async fn hand_over(&self, to: Incarnation, shards: &[Shard]) -> Result<(), StoreError> {
        let Some(host) = &self.host else { return Ok(()) };
        let watch = Stopwatch::start();
        host.give_up(shards).await;
        match self.ownership.hand_over(self.me(), to, shards).await {
            Ok(moved) => {
                // Those that did not move are not ours any more, whoever has them.
                host.forget(shards);
                self.bus.broadcast(Message::Moved { shards: moved.clone(), to });
                self.shards_moved(&moved, to);
                metrics::counter!("enfilade_shards_handed_over_total").increment(moved.len() as u64);
                metrics::histogram!("enfilade_handover_seconds").record(watch.seconds());
                if moved.len() < shards.len() {
                    self.look.notify_one();
                }
                Ok(())
            }
            Err(error) => {
                // If they moved all the same, whoever writes is fenced, and the next look says so.
                host.keep(shards);
                self.look.notify_one();
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn orders_that_failed_are_given_again_and_those_that_are_over_are_stopped() {
        let some = || {
            Orders::from([(
                Incarnation(Uuid::from_u128(1)),
                vec![Shard::of_user(enfilade_proto::UserId(Uuid::from_u128(2)))],
            )])
        };
        let mut orders = Orders::new();
        assert!(!renew(&mut orders, Orders::new()), "nothing is to be done");
        assert!(renew(&mut orders, some()));
        assert!(renew(&mut orders, some()), "they were not carried out");
        assert!(renew(&mut orders, Orders::new()), "they may be under way");
        assert!(orders.is_empty());
    }
}
