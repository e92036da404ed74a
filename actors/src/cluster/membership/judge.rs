//! Whom this node may declare dead because they do not renew their leases.
//!
//! Whether a lease is over is no question for a clock, because clocks are set: not the database's, and not this node's. Whenever the
//! node has renewed its own lease it sees those of the others, and counts for how long each has been the same. But while the
//! database stood still nobody could renew, so whoever gets through first must not bury the others.

use std::collections::BTreeMap;

use enfilade_store::{Incarnation, Lease};

use super::LEASE;

/// For how long a lease may stay as it is.
const LEASE_MS: u64 = LEASE.as_millis() as u64;
/// An own lease that was renewed after longer than this says that the database, or this node, stood still.
const SMOOTH_MS: u64 = 2_500;
/// After that nobody is judged for so long: whoever waits for an answer that is lost waits for it in vain for as long as the store is
/// patient (`OpenOptions::answer_timeout`, 10 s), and has a second try then.
const SETTLED_MS: u64 = 12_000;
/// For so long a node does not judge that has just started, and knows of nothing that stood still.
const STARTED_MS: u64 = 2_500;
/// A node for which the database is always slow waits for so long instead: if no other judges, somebody has to.
const OVERDUE_MS: u64 = 4 * LEASE_MS;

#[derive(Debug, Default)]
pub(super) struct Judge {
    /// When the own lease was renewed last.
    renewed_ms: Option<u64>,
    /// For how long that has gone smoothly.
    smooth_ms: u64,
    /// What the leases of the others were then, and for how long they had been that.
    known: BTreeMap<Incarnation, (Lease, u64)>,
}

impl Judge {
    pub(super) fn renewed_ms(&self) -> Option<u64> {
        self.renewed_ms
    }

    /// Takes in that the own lease was renewed, and what the others' were. Returns those that are over.
    pub(super) fn renewed(&mut self, now_ms: u64, leases: &[Lease]) -> Vec<Lease> {
        let before_ms = self.renewed_ms.replace(now_ms);
        let passed_ms = before_ms.map_or(0, |before_ms| now_ms.saturating_sub(before_ms));
        self.smooth_ms = match before_ms {
            None => SETTLED_MS - STARTED_MS,
            Some(_) if passed_ms < SMOOTH_MS => self.smooth_ms + passed_ms,
            Some(_) => 0,
        };
        // However long something stood still, those whom it kept from renewing come before the next look.
        let counted_ms = passed_ms.min(LEASE_MS);
        let known = std::mem::take(&mut self.known);
        let same_ms = |lease: &Lease| match known.get(&lease.node) {
            Some((known, for_ms)) if known == lease => for_ms + counted_ms,
            _ => 0,
        };
        self.known = leases.iter().map(|lease| (lease.node, (*lease, same_ms(lease)))).collect();
        let patience_ms = if self.smooth_ms >= SETTLED_MS { LEASE_MS } else { OVERDUE_MS };
        self.known.values().filter(|(_, for_ms)| *for_ms >= patience_ms).map(|(lease, _)| *lease).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    const OTHER: Incarnation = Incarnation(Uuid::from_u128(2));
    const ANOTHER: Incarnation = Incarnation(Uuid::from_u128(3));

    fn lease(node: Incarnation, until: i64) -> Lease {
        Lease { node, until }
    }

    /// The first look, by a judge who renews `every_ms` then on, at which a lease that stays the same is over.
    fn judged_at(judge: &mut Judge, from_ms: u64, every_ms: u64, stale: Lease) -> u64 {
        let mut looks = (1..1_000).map(|look| from_ms + look * every_ms);
        looks.find(|now_ms| !judge.renewed(*now_ms, &[stale]).is_empty()).expect("it is judged at all")
    }

    #[test]
    fn a_lease_that_stays_the_same_is_over_in_time() {
        let mut judge = Judge::default();
        assert_eq!(judge.renewed_ms(), None);
        assert_eq!(judge.renewed(10_000, &[lease(OTHER, 7)]), []);
        assert_eq!(judge.renewed_ms(), Some(10_000));
        for now_ms in [11_000, 12_000, 13_000, 14_000] {
            assert_eq!(judge.renewed(now_ms, &[lease(OTHER, 7), lease(ANOTHER, now_ms as i64)]), []);
        }
        assert_eq!(judge.renewed(15_000, &[lease(OTHER, 7), lease(ANOTHER, 0)]), [lease(OTHER, 7)]);
        assert_eq!(judge.renewed(16_000, &[lease(OTHER, 6), lease(ANOTHER, 0)]), [], "it came back");
        assert_eq!(judge.renewed(20_000, &[]), []);
        assert_eq!(judge.renewed(21_000, &[lease(OTHER, 6)]), [], "nothing is known of those who were away");
    }

    #[test]
    fn who_could_not_renew_either_does_not_judge() {
        let mut judge = Judge::default();
        for now_ms in [0, 1_000, 2_000, 3_000] {
            assert_eq!(judge.renewed(now_ms, &[lease(OTHER, now_ms as i64)]), []);
        }
        for now_ms in (60_000..60_000 + SETTLED_MS).step_by(1_000) {
            assert_eq!(
                judge.renewed(now_ms, &[lease(OTHER, 3_000)]),
                [],
                "others may not have got through yet"
            );
        }
        assert_eq!(judge.renewed(60_000 + SETTLED_MS, &[lease(OTHER, 3_000)]), [lease(OTHER, 3_000)]);
    }

    #[test]
    fn a_node_whose_renewals_are_always_slow_judges_late() {
        for every_ms in [SMOOTH_MS, 4_000, LEASE_MS] {
            let mut judge = Judge::default();
            assert_eq!(judge.renewed(1, &[lease(OTHER, 7)]), []);
            let judged_ms = judged_at(&mut judge, 1, every_ms, lease(OTHER, 7)) - 1;
            assert!((OVERDUE_MS..OVERDUE_MS + every_ms).contains(&judged_ms), "{every_ms}: {judged_ms}");
        }
        let mut judge = Judge::default();
        assert_eq!(judge.renewed(1, &[lease(OTHER, 7)]), []);
        assert_eq!(
            judged_at(&mut judge, 1, 60_000, lease(OTHER, 7)) - 1,
            4 * 60_000,
            "one look alone says little"
        );
    }

    /// For how long the database does not answer, by turns with how often it does then, and for how many seconds the other goes on
    /// waiting then for an answer that was lost.
    fn weather() -> impl Strategy<Value = Vec<(u64, u64, u64)>> {
        prop::collection::vec((0_u64..90_000, 14_u64..30, 0_u64..=10), 1..40)
    }

    proptest! {
        /// The database stands still again and again, and its clock is set at will. While it answers, the judge renews once a second,
        /// and the other gets through after every third of these looks, once it does not wait in vain any more. The judge begins while
        /// everything is as it should be.
        #[test]
        fn nobody_is_judged_who_renews_whenever_that_is_possible(weather in weather(), clocks in any::<Vec<i64>>()) {
            let (mut judge, mut now_ms, mut until) = (Judge::default(), 0, 0_i64);
            let mut clocks = clocks.into_iter();
            for (away_ms, answers, in_vain) in weather {
                let in_vain = if now_ms == 0 || away_ms < SMOOTH_MS { 0 } else { in_vain };
                now_ms += away_ms;
                for look in 0..answers {
                    prop_assert_eq!(judge.renewed(now_ms, &[lease(OTHER, until)]), []);
                    if look >= in_vain && (look - in_vain) % 3 == 0 {
                        let set = clocks.next().filter(|set| *set != until);
                        until = set.unwrap_or_else(|| until.wrapping_add(1_000));
                    }
                    now_ms += 1_000;
                }
            }
        }

        /// However slow the judge is, and whatever the other's last lease was.
        #[test]
        fn who_never_renews_again_is_judged(
            waits in prop::collection::vec(1_u64..20_000, 4..60),
            until in any::<i64>(),
        ) {
            let (mut judge, mut now_ms, mut counted_ms) = (Judge::default(), 0, 0);
            judge.renewed(now_ms, &[lease(OTHER, until)]);
            for wait_ms in waits {
                now_ms += wait_ms;
                counted_ms += wait_ms.min(LEASE_MS);
                let over = judge.renewed(now_ms, &[lease(OTHER, until)]);
                prop_assert!(over.is_empty() || now_ms >= LEASE_MS, "after {} ms", now_ms);
                prop_assert!(!over.is_empty() || counted_ms < OVERDUE_MS, "not after {} ms", now_ms);
            }
        }
    }
}
