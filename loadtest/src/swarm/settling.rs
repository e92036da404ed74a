//! When a server's memory has come to rest: allocators give back what they do not need any more over some seconds.
//!
//! Pure.

use crate::clock::{Micros, SECOND};

/// It has come to rest when it has not fallen for so long,
const STILL: Micros = 2 * SECOND;
/// by more than this share;
const FALL: f64 = 0.01;
/// and whoever never comes to rest is not waited for any longer.
const AT_MOST: Micros = 15 * SECOND;

/// Looks at memory again and again.
#[derive(Clone, Debug)]
pub(super) struct Settling {
    began: Micros,
    /// The lowest that was seen, and since when nothing fell far below it.
    lowest: u64,
    since: Micros,
}

impl Settling {
    pub(super) fn new(memory: u64, now: Micros) -> Self {
        Self { began: now, lowest: memory, since: now }
    }

    /// Takes a look in; whether the waiting is over.
    pub(super) fn is_over(&mut self, memory: u64, now: Micros) -> bool {
        if (memory as f64) < self.lowest as f64 * (1.0 - FALL) {
            (self.lowest, self.since) = (memory, now);
        }
        now >= self.since + STILL || now >= self.began + AT_MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::MILLISECOND;

    /// After how many seconds it is over, if it is looked at every 200 ms.
    fn seconds(memory: impl Fn(f64) -> f64) -> f64 {
        let mut settling = Settling::new(memory(0.0) as u64, 0);
        let looks = (0..).map(|look| look * 200 * MILLISECOND);
        let times = looks.map(|now| (now, now as f64 / SECOND as f64));
        let over = |(now, seconds): &(Micros, f64)| settling.is_over(memory(*seconds) as u64, *now);
        times.into_iter().find(over).map_or(0.0, |(_, seconds)| seconds)
    }

    #[test]
    fn what_does_not_fall_has_come_to_rest() {
        assert_eq!(seconds(|_| 4e7), 2.0);
        assert_eq!(seconds(|at| 4e7 + at * 1e6), 2.0);
        assert_eq!(seconds(|_| 0.0), 2.0);
    }

    #[test]
    fn what_falls_is_waited_for_even_if_each_step_is_small() {
        assert_eq!(seconds(|at| if at < 5.0 { 4e7 - at * 3e6 } else { 2.5e7 }), 7.0);
    }

    #[test]
    fn what_never_stops_falling_is_not_waited_for() {
        assert_eq!(seconds(|at| 1e9 * 0.9_f64.powf(at)), 15.0);
    }
}
