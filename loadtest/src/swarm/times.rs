//! How long things took, by class, in HDR histograms that travel between processes and add up.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::wire::Speech;
use crate::clock::{Micros, SECOND};
use crate::result::{decode, encode};

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// From the planned moment to the end of the WebSocket handshake.
    Connect,
    /// `hello` to `welcome`.
    Hello,
    /// `hello` and `join`, sent together, to `joined`.
    Join,
    /// Op planned to accepted.
    Ack,
    /// Message planned to heard, at every member.
    Signal,
    /// The same from when it was really sent.
    SignalRaw,
    /// Message planned to heard at the first, the median and the last member.
    First,
    Median,
    Last,
    /// How late the generator was.
    Lag,
}

impl Class {
    pub const ALL: [Self; 10] = [
        Self::Connect,
        Self::Hello,
        Self::Join,
        Self::Ack,
        Self::Signal,
        Self::SignalRaw,
        Self::First,
        Self::Median,
        Self::Last,
        Self::Lag,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Hello => "hello",
            Self::Join => "join",
            Self::Ack => "ack",
            Self::Signal => "signal",
            Self::SignalRaw => "signal_raw",
            Self::First => "first",
            Self::Median => "median",
            Self::Last => "last",
            Self::Lag => "lag",
        }
    }

    /// What results call it: the times of ops are called what replays call them.
    #[must_use]
    pub fn name_of(self, speech: Speech) -> &'static str {
        match (self, speech) {
            (Self::Signal, Speech::Ops) => "each",
            _ => self.name(),
        }
    }
}

/// A histogram of microseconds up to an hour, to three digits, for each class.
#[derive(Clone, Debug)]
pub struct Times([Histogram<u64>; Class::ALL.len()]);

impl Default for Times {
    fn default() -> Self {
        Self(std::array::from_fn(|_| histogram()))
    }
}

fn histogram() -> Histogram<u64> {
    #[expect(clippy::expect_used, reason = "constant bounds that are valid")]
    Histogram::new_with_bounds(1, 3600 * SECOND, 3).expect("valid bounds")
}

/// Histograms as they travel: only those that have something in them, as base64 of HDR's V2 format, compressed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Encoded(BTreeMap<Class, String>);

impl Times {
    #[inline]
    pub fn record(&mut self, class: Class, time: Micros) {
        self.0[class as usize].saturating_record(time);
    }

    #[inline]
    pub fn record_n(&mut self, class: Class, time: Micros, count: u64) {
        self.0[class as usize].saturating_record_n(time, count);
    }

    #[must_use]
    pub fn of(&self, class: Class) -> &Histogram<u64> {
        &self.0[class as usize]
    }

    pub fn clear(&mut self) {
        self.0.iter_mut().filter(|histogram| !histogram.is_empty()).for_each(Histogram::reset);
    }

    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            // The same bounds: nothing is too large.
            let _ = mine.add(theirs);
        }
    }

    #[must_use]
    pub fn encode(&self) -> Encoded {
        let some = Class::ALL.into_iter().filter(|class| !self.of(*class).is_empty());
        Encoded(some.map(|class| (class, encode(self.of(class)))).collect())
    }

    /// # Errors
    /// When that is no histogram.
    pub fn decode(encoded: &Encoded) -> Result<Self, String> {
        let mut times = Self::default();
        for (class, text) in &encoded.0 {
            times.0[*class as usize]
                .add(decode(text).map_err(|error| error.to_string())?)
                .map_err(|error| error.to_string())?;
        }
        Ok(times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_travel_and_add_up() {
        let (mut one, mut two) = (Times::default(), Times::default());
        for n in 1..=100 {
            one.record(Class::Signal, n * 1_000);
            two.record_n(Class::Signal, (100 + n) * 1_000, 2);
        }
        let mut both = Times::default();
        for times in [&one, &two] {
            let text = serde_json::to_string(&times.encode()).unwrap();
            both.add(&Times::decode(&serde_json::from_str(&text).unwrap()).unwrap());
        }
        let signal = both.of(Class::Signal);
        assert_eq!(signal.len(), 300);
        assert!(signal.value_at_quantile(1.0 / 3.0).abs_diff(100_000) < 200);
        assert!(both.of(Class::Ack).is_empty());
        one.clear();
        assert!(one.encode().0.is_empty());
    }

    #[test]
    fn what_is_no_histogram_is_refused() {
        let encoded = Encoded([(Class::Ack, "bm8=".to_owned())].into());
        assert!(Times::decode(&encoded).is_err());
    }
}
