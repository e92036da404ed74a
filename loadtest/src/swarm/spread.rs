//! How a message spreads: when the first, the median and the last member of its room heard it. Members may belong to
//! different workers, so a message is followed only if its number says so, by all of them; their times are added up.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::times::{Class, Times};
use crate::clock::{Micros, SECOND};
use crate::result::{HistogramError, decode, encode};

/// A message of a speaker in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Message {
    pub room: u32,
    pub speaker: u32,
    pub number: u32,
}

/// The times of one message at some members.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spread {
    pub message: Message,
    /// HDR V2, deflated, in base64; microseconds.
    pub times: String,
}

/// Followed messages of one worker.
#[derive(Debug, Default)]
pub struct Spreads {
    open: BTreeMap<Message, Open>,
    closed: Vec<Spread>,
}

#[derive(Debug)]
struct Open {
    since: Micros,
    times: Histogram<u64>,
}

/// Whoever has not heard a message by then is not waited for.
const PATIENCE: Micros = 3 * SECOND;
/// Messages followed at a time.
const OPEN: usize = 256;

fn histogram() -> Histogram<u64> {
    #[expect(clippy::expect_used, reason = "constant bounds that are valid")]
    Histogram::new_with_bounds(1, 3600 * SECOND, 2).expect("valid bounds")
}

impl Spreads {
    /// One of `members` heard a message so long after it was planned.
    pub fn heard(&mut self, message: Message, time: Micros, now: Micros, members: u64) {
        if self.open.len() >= OPEN && !self.open.contains_key(&message) {
            return;
        }
        let open = self.open.entry(message).or_insert_with(|| Open { since: now, times: histogram() });
        open.times.saturating_record(time);
        if open.times.len() >= members {
            self.close(message);
        }
    }

    fn close(&mut self, message: Message) {
        if let Some(open) = self.open.remove(&message) {
            self.closed.push(Spread { message, times: encode(&open.times) });
        }
    }

    /// What is known of messages that everybody heard, or should have by now.
    pub fn take(&mut self, now: Micros) -> Vec<Spread> {
        let late = self.open.iter().filter(|(_, open)| now >= open.since + PATIENCE);
        for message in late.map(|(message, _)| *message).collect::<Vec<_>>() {
            self.close(message);
        }
        std::mem::take(&mut self.closed)
    }
}

/// Spreads of all workers, added up by message.
#[derive(Debug, Default)]
pub struct AllSpreads(BTreeMap<Message, Histogram<u64>>);

impl AllSpreads {
    /// # Errors
    /// When those are no times.
    pub fn add(&mut self, spread: &Spread) -> Result<(), HistogramError> {
        let times = decode(&spread.times)?;
        let sum = self.0.entry(spread.message).or_insert_with(histogram);
        sum.add(times).map_err(HistogramError::Merge)
    }

    /// Writes down the first, median and last time of each.
    pub fn record(&self, times: &mut Times) {
        for spread in self.0.values().filter(|spread| !spread.is_empty()) {
            times.record(Class::First, spread.min());
            times.record(Class::Median, spread.value_at_quantile(0.5));
            times.record(Class::Last, spread.max());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: Message = Message { room: 0, speaker: 1, number: 8 };

    #[test]
    fn first_median_and_last_are_those_of_all_workers() {
        let (mut one, mut two, mut all) = (Spreads::default(), Spreads::default(), AllSpreads::default());
        for (spreads, times) in [(&mut one, [1_000, 9_000]), (&mut two, [2_000, 3_000])] {
            for time in times {
                spreads.heard(MESSAGE, time, 0, 2);
            }
            for spread in spreads.take(0) {
                all.add(&spread).unwrap();
            }
        }
        let mut times = Times::default();
        all.record(&mut times);
        let ms = |class: Class| times.of(class).max() / 1_000;
        assert_eq!((ms(Class::First), ms(Class::Median), ms(Class::Last)), (1, 2, 9));
        assert_eq!(times.of(Class::Last).len(), 1);
    }

    #[test]
    fn those_who_do_not_hear_are_not_waited_for() {
        let mut spreads = Spreads::default();
        spreads.heard(MESSAGE, 1_000, 0, 5);
        assert!(spreads.take(PATIENCE - 1).is_empty());
        assert_eq!(spreads.take(PATIENCE).len(), 1);
        for number in 0..1_000 {
            spreads.heard(Message { number, ..MESSAGE }, 1, 0, 5);
        }
        assert_eq!(spreads.open.len(), OPEN);
    }
}
