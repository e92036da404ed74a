//! How often a room is told what came: at once while it is quiet, in ticks while it is busy.
//!
//! A room that speaks now and then hears everything at once, also if two things come close together: it may save up a few
//! deliveries. Only whoever goes on speaking uses them up, and is then delivered once a tick, with everything that came meanwhile in
//! one write. This is the generic cell rate algorithm (ITU-T I.371), with a least distance between two.

/// How often a busy room is told to members, and to those who only look on.
const MEMBER_TICK_MS: u64 = 16;
const AUDIENCE_TICK_MS: u64 = 50;
/// Deliveries to members that a quiet room saves up, and how close together these may be: what comes at the same time goes together.
const SAVED: u64 = 4;
const GAP_MS: u64 = 2;

/// Who is told how soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pace {
    Member,
    Audience,
}

impl Pace {
    pub(super) const ALL: [Self; 2] = [Self::Member, Self::Audience];

    fn tick_ms(self) -> u64 {
        match self {
            Self::Member => MEMBER_TICK_MS,
            Self::Audience => AUDIENCE_TICK_MS,
        }
    }

    /// How far deliveries may run ahead of their ticks.
    fn ahead_ms(self) -> u64 {
        match self {
            Self::Member => (SAVED - 1) * MEMBER_TICK_MS,
            Self::Audience => 0,
        }
    }
}

/// What has been delivered lately. Times are milliseconds on a clock that does not go backwards.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pacer {
    /// No delivery before.
    gap_until_ms: u64,
    /// When the ticks of all deliveries so far are over.
    ticks_until_ms: u64,
}

impl Pacer {
    /// From when on there may be a delivery.
    pub(super) fn not_before(&self, pace: Pace) -> u64 {
        self.gap_until_ms.max(self.ticks_until_ms.saturating_sub(pace.ahead_ms()))
    }

    /// There was a delivery.
    pub(super) fn delivered(&mut self, pace: Pace, now_ms: u64) {
        self.gap_until_ms = now_ms + GAP_MS;
        self.ticks_until_ms = self.ticks_until_ms.max(now_ms) + pace.tick_ms();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// When these are delivered, each as soon as may be.
    fn deliveries(pace: Pace, came_ms: &[u64]) -> Vec<u64> {
        let mut pacer = Pacer::default();
        let mut delivered: Vec<u64> = Vec::new();
        for came in came_ms {
            // It travels with the one before it.
            if delivered.last().is_some_and(|last| last >= came) {
                continue;
            }
            let at = pacer.not_before(pace).max(*came);
            pacer.delivered(pace, at);
            delivered.push(at);
        }
        delivered
    }

    #[test]
    fn a_quiet_room_hears_everything_at_once_and_a_busy_one_in_ticks() {
        assert_eq!(deliveries(Pace::Member, &[1_000, 1_005, 1_009]), [1_000, 1_005, 1_009]);
        assert_eq!(deliveries(Pace::Member, &[1_000, 1_001, 1_002]), [1_000, 1_002]);
        let busy: Vec<u64> = (1_000..1_100).collect();
        assert_eq!(
            deliveries(Pace::Member, &busy),
            [1_000, 1_002, 1_004, 1_006, 1_016, 1_032, 1_048, 1_064, 1_080, 1_096, 1_112]
        );
        assert_eq!(deliveries(Pace::Audience, &busy), [1_000, 1_050, 1_100]);
    }

    proptest! {
        /// However long a room is busy, it is not delivered more often than its ticks and what it had saved up.
        #[test]
        fn ticks_bound_the_deliveries(waits in prop::collection::vec(0u64..40, 1..200)) {
            let mut at = 1_000;
            let came: Vec<u64> = waits.iter().map(|wait| { at += wait; at }).collect();
            for pace in Pace::ALL {
                let delivered = deliveries(pace, &came);
                for (place, first) in delivered.iter().enumerate() {
                    for (count, last) in delivered[place..].iter().enumerate() {
                        let ticks = (last - first + pace.ahead_ms()) / pace.tick_ms();
                        prop_assert!(count as u64 <= ticks, "{delivered:?}");
                    }
                }
                prop_assert!(delivered.windows(2).all(|pair| pair[1] - pair[0] >= GAP_MS));
            }
        }
    }
}
