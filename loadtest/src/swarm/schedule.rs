//! When each message is to be sent, and by whom: an open loop, which does not wait for the server.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::wire::Arrivals;
use crate::clock::{Micros, SECOND};

/// The messages of one worker's speakers.
#[derive(Debug)]
pub struct Schedule {
    next: f64,
    until: Micros,
    /// Microseconds between two messages, on average.
    gap: f64,
    arrivals: Arrivals,
    speakers: usize,
    turn: usize,
    rng: StdRng,
}

impl Schedule {
    /// `rate` messages a second by so many speakers together.
    #[must_use]
    pub fn new(
        from: Micros,
        until: Micros,
        rate: f64,
        speakers: usize,
        arrivals: Arrivals,
        seed: u64,
    ) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let gap = if speakers == 0 || rate <= 0.0 { f64::INFINITY } else { SECOND as f64 / rate };
        // Workers do not move in step.
        let next = from as f64 + gap * rng.random::<f64>();
        Self { next, until, gap, arrivals, speakers, turn: 0, rng }
    }

    /// When the next message is due, if there is one.
    #[must_use]
    pub fn due(&self) -> Option<Micros> {
        (self.next < self.until as f64).then_some(self.next as Micros)
    }

    /// Nothing more comes.
    pub fn end(&mut self) {
        self.until = 0;
    }

    /// Takes the next message, if it is due.
    pub fn take_due(&mut self, now: Micros) -> Option<(Micros, usize)> {
        self.due().filter(|due| *due <= now)?;
        self.take()
    }

    /// Takes the next message: when it was planned, and which speaker says it.
    pub fn take(&mut self) -> Option<(Micros, usize)> {
        let planned = self.due()?;
        let speaker = match self.arrivals {
            Arrivals::Constant => {
                self.next += self.gap;
                self.turn = (self.turn + 1) % self.speakers;
                self.turn
            }
            Arrivals::Poisson => {
                self.next -= self.gap * (1.0 - self.rng.random::<f64>()).ln();
                self.rng.random_range(0..self.speakers)
            }
        };
        Some((planned, speaker))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(arrivals: Arrivals, seed: u64) -> Vec<(Micros, usize)> {
        let mut schedule = Schedule::new(SECOND, 11 * SECOND, 1_000.0, 10, arrivals, seed);
        std::iter::from_fn(|| schedule.take()).collect()
    }

    #[test]
    fn a_rate_is_kept_and_everybody_speaks() {
        for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
            let messages = messages(arrivals, 1);
            assert!(messages.len().abs_diff(10_000) < 400, "{}", messages.len());
            assert!(messages.windows(2).all(|pair| pair[0].0 <= pair[1].0));
            assert!(messages.iter().all(|(at, _)| (SECOND..11 * SECOND).contains(at)));
            for speaker in 0..10 {
                assert!(messages.iter().filter(|(_, who)| *who == speaker).count() > 800);
            }
        }
    }

    #[test]
    fn chance_is_the_seeds() {
        assert_eq!(messages(Arrivals::Poisson, 7), messages(Arrivals::Poisson, 7));
        assert_ne!(messages(Arrivals::Poisson, 7), messages(Arrivals::Poisson, 8));
    }

    #[test]
    fn nobody_says_nothing() {
        assert_eq!(Schedule::new(0, 10 * SECOND, 100.0, 0, Arrivals::Constant, 1).take(), None);
        assert_eq!(Schedule::new(0, 10 * SECOND, 0.0, 5, Arrivals::Poisson, 1).take(), None);
    }
}
