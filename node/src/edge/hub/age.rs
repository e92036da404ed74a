//! How old a connection may become. In a cluster that grows, those who stay for hours would stay where they are, and a new node
//! would remain empty; so everybody moves on once in a while, each at a moment of their own, and nobody in the middle of a stroke.
//!
//! (The way of gRPC's `MAX_CONNECTION_AGE`: a tenth more or less, and a grace for those who do not go by themselves.)

use std::num::NonZeroU32;

/// How long somebody who was told to go may take.
const GRACE_S: u32 = 60;
/// Who is busy is looked at again after so long.
const BUSY_S: u32 = 5;
/// So long after the last point of a stroke somebody may still be drawing it.
const STROKE_S: u32 = 3;

/// What is to be done about a connection's age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    /// Tell it to go elsewhere.
    Tell,
    /// It was told, and is still here.
    Close,
}

/// When a connection's age is looked at next, in seconds on its hub's clock, and whether it was told to go. There are thousands of
/// connections, so the two share a number: twice the seconds, and one if it was told. 0: never.
#[derive(Clone, Copy, Debug)]
pub(super) struct Age(u32);

/// What a look at a connection's age depends on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sight {
    /// It waits for answers.
    pub(super) busy: bool,
    /// When the last point of a stroke came from it, in seconds on its hub's clock.
    pub(super) drew_s: Option<NonZeroU32>,
    /// There is another node to go to.
    pub(super) elsewhere: bool,
}

/// Good for seventy years.
pub(super) fn seconds(ms: u64) -> u32 {
    u32::try_from(ms / 1_000).unwrap_or(u32::MAX)
}

/// `most_s`, a tenth more or less. The golden ratio spreads those who come one after the other as far as can be.
fn spread(most_s: u32, serial: u32) -> u32 {
    let place = u64::from(serial.wrapping_mul(0x9e37_79b9));
    let tenth = u64::from(most_s / 10);
    most_s.saturating_sub(most_s / 10).saturating_add(((place * 2 * tenth) >> 32) as u32)
}

impl Age {
    /// `most_s`: 0 for as old as it likes.
    pub(super) fn new(most_s: u32, now_ms: u64, serial: u32) -> Self {
        if most_s == 0 {
            return Self(0);
        }
        Self::due(seconds(now_ms).saturating_add(spread(most_s, serial).max(1)), false)
    }

    fn due(at_s: u32, told: bool) -> Self {
        Self(at_s.min(u32::MAX / 2) * 2 + u32::from(told))
    }

    fn was_told(self) -> bool {
        self.0 % 2 == 1
    }

    pub(super) fn is_due(self, now_ms: u64) -> bool {
        self.due_ms().is_some_and(|due_ms| now_ms >= due_ms)
    }

    pub(super) fn due_ms(self) -> Option<u64> {
        (self.0 != 0).then_some(u64::from(self.0 / 2) * 1_000)
    }

    pub(super) fn look(&mut self, now_ms: u64, sight: Sight, most_s: u32) -> Due {
        if !self.is_due(now_ms) {
            return Due::Nothing;
        }
        let now_s = seconds(now_ms);
        let draws = sight.drew_s.is_some_and(|drew_s| now_s <= drew_s.get().saturating_add(STROKE_S));
        let (wait_s, told, due) = if !sight.elsewhere {
            (most_s.max(BUSY_S), false, Due::Nothing)
        } else if sight.busy || draws {
            (BUSY_S, self.was_told(), Due::Nothing)
        } else if self.was_told() {
            (BUSY_S, true, Due::Close)
        } else {
            (GRACE_S, true, Due::Tell)
        };
        *self = Self::due(now_s.saturating_add(wait_s), told);
        due
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: u32 = 3_600;
    const IDLE: Sight = Sight { busy: false, drew_s: None, elsewhere: true };

    #[test]
    fn who_has_been_here_for_long_is_told_to_go_and_then_closed() {
        let mut age = Age::new(HOUR, 10_000, 1);
        let due = age.due_ms().unwrap();
        assert_eq!(age.look(due - 1_000, IDLE, HOUR), Due::Nothing);
        assert_eq!(age.look(due, IDLE, HOUR), Due::Tell);
        assert_eq!(age.look(due + 59_000, IDLE, HOUR), Due::Nothing);
        assert_eq!(age.look(due + 60_000, IDLE, HOUR), Due::Close);
    }

    #[test]
    fn nobody_moves_in_the_middle_of_a_stroke() {
        let mut age = Age::new(HOUR, 0, 1);
        let mut now = age.due_ms().unwrap();
        for _ in 0..100 {
            let draws = Sight { drew_s: NonZeroU32::new(seconds(now - 2_000)), ..IDLE };
            assert_eq!(age.look(now, draws, HOUR), Due::Nothing);
            now = age.due_ms().unwrap();
        }
        assert_eq!(age.look(now, Sight { busy: true, ..IDLE }, HOUR), Due::Nothing, "it waits for an answer");
        assert_eq!(age.look(now + 5_000, IDLE, HOUR), Due::Tell);
    }

    #[test]
    fn nobody_moves_where_there_is_nowhere_to_go() {
        let mut age = Age::new(HOUR, 0, 1);
        let due = age.due_ms().unwrap();
        assert_eq!(age.look(due, Sight { elsewhere: false, ..IDLE }, HOUR), Due::Nothing);
        assert_eq!(age.due_ms(), Some(due + 3_600_000));
        assert_eq!(Age::new(0, 0, 1).due_ms(), None);
    }

    proptest! {
        #[test]
        fn ages_differ_by_a_tenth_at_most(most in 1u32..10_000_000, serial: u32, now in 0u64..1 << 40) {
            let due = Age::new(most, now, serial).due_ms().unwrap() / 1_000 - now / 1_000;
            let most = u64::from(most);
            prop_assert!(due * 10 >= most * 9 && due * 10 <= most * 11, "{due} of {most}");
        }
    }

    #[test]
    fn those_who_came_together_do_not_go_together() {
        let mut due: Vec<u64> =
            (0..1_000).map(|serial| Age::new(HOUR, 0, serial).due_ms().unwrap()).collect();
        due.sort_unstable();
        let most = due.windows(10).map(|ten| ten[9] - ten[0]).min().unwrap();
        assert!(most >= 3_000, "ten of a thousand within {most} ms");
    }
}
