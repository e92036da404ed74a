//! The turnstile: how many people may say hello at a time, and when those who may not are to come back.
//!
//! A crowd that reconnects all at once is let in as fast as the node can take it. Whoever is turned away is given a turn of their
//! own, so that the rest of the crowd comes back spread over the time that it takes.

use super::meter::{Allowance, Meter};

/// Nobody is sent away for longer; whoever has to wait for more is better served by another node.
const LONGEST_MS: u64 = 30_000;

#[derive(Debug)]
pub(crate) struct Turnstile {
    allowance: Allowance,
    meter: Meter,
    /// The first turn that nobody has been given yet, in microseconds.
    free_us: u64,
}

impl Turnstile {
    /// Lets so many through a second, and for two seconds at once.
    pub(crate) fn new(per_second: u32) -> Self {
        let per_second = per_second.max(1);
        let allowance = Allowance { per_second, burst: per_second.saturating_mul(2) };
        Self { allowance, meter: Meter::default(), free_us: 0 }
    }

    /// Lets somebody through, or says after how many milliseconds it is their turn.
    pub(crate) fn pass(&mut self, now_ms: u64) -> Result<(), u64> {
        let Err(wait_ms) = self.meter.take(self.allowance, now_ms) else { return Ok(()) };
        let turn_us = self.free_us.max((now_ms + wait_ms) * 1_000);
        self.free_us = turn_us + 1_000_000 / u64::from(self.allowance.per_second);
        let wait_ms = (turn_us / 1_000).saturating_sub(now_ms).max(1);
        // Those beyond begin again from here.
        if wait_ms >= LONGEST_MS {
            self.free_us = now_ms * 1_000;
        }
        Err(wait_ms.min(LONGEST_MS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_turned_away_gets_a_turn_of_their_own() {
        let mut turnstile = Turnstile::new(100);
        let now_ms = 5_000;
        assert!((0..200).all(|_| turnstile.pass(now_ms).is_ok()));
        let waits: Vec<u64> = (0..50).map(|_| turnstile.pass(now_ms).unwrap_err()).collect();
        assert_eq!(waits, (1..=50).map(|turn| turn * 10).collect::<Vec<_>>());
        // They come back when they were told to, and nobody is turned away again.
        assert!(waits.iter().all(|wait_ms| turnstile.pass(now_ms + wait_ms).is_ok()));
    }

    #[test]
    fn nobody_waits_for_ever() {
        let mut turnstile = Turnstile::new(1);
        let waits: Vec<u64> = (0..1_000).filter_map(|_| turnstile.pass(0).err()).collect();
        assert_eq!(waits.iter().max(), Some(&LONGEST_MS));
        assert_eq!(waits.len(), 998);
    }
}
