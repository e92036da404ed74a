//! How long things took, always from the moment they should have been sent: an op whose sending was delayed by a
//! stalled server counts the delay (no coordinated omission).

use std::collections::{BTreeMap, VecDeque};

use enfilade_proto::Seq;
use hdrhistogram::Histogram;

use crate::clock::{MILLISECOND, Micros, SECOND};
use crate::oracle::Who;

/// An HDR histogram of microseconds up to an hour, to three digits.
#[derive(Clone, Debug)]
pub struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "constant bounds that are valid")]
        Self(Histogram::new_with_bounds(1, 3600 * SECOND, 3).expect("valid bounds"))
    }
}

impl Times {
    pub fn record(&mut self, time: Micros) {
        self.0.saturating_record(time);
    }

    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// In milliseconds.
    #[must_use]
    pub fn percentile(&self, percentile: f64) -> f64 {
        if self.0.is_empty() {
            0.0
        } else {
            self.0.value_at_percentile(percentile) as f64 / MILLISECOND as f64
        }
    }

    #[must_use]
    pub fn max(&self) -> f64 {
        self.0.max() as f64 / MILLISECOND as f64
    }

    /// Of microseconds.
    #[must_use]
    pub fn histogram(&self) -> &Histogram<u64> {
        &self.0
    }

    /// What was recorded since it was like `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut new = self.0.clone();
        match new.subtract(&earlier.0) {
            Ok(()) => Self(new),
            // It was never like that.
            Err(_) => self.clone(),
        }
    }
}

/// Every class of time that is measured.
#[derive(Clone, Debug, Default)]
pub struct Latencies {
    /// TCP and WebSocket handshake.
    pub connect: Times,
    /// `hello` to `welcome`.
    pub hello: Times,
    /// `join` to `joined`.
    pub join: Times,
    /// Op planned to accepted.
    pub accepted: Times,
    /// Op planned to visible at the first, the median and the last other member, and at each of them.
    pub first: Times,
    pub median: Times,
    pub last: Times,
    pub each: Times,
    /// Signal planned to visible, at each other member.
    pub signal: Times,
    /// How late the generator itself was.
    pub lag: Times,
    /// The longest time of each client without being in the room, by [`Reason`](crate::client::Reason).
    pub outside: [Times; 3],
    /// The longest time of each client between submitting and the answer, by what happened to the connection meanwhile.
    pub waited: [Times; 3],
    pub waited_undisturbed: Times,
    /// The longest time of each room in which ops waited and none was answered.
    pub standstill: Times,
    nodes: BTreeMap<String, NodeTimes>,
}

/// What one node did.
#[derive(Clone, Debug, Default)]
pub struct NodeTimes {
    pub connections: u64,
    /// Op planned to accepted, by the node that brought the answer.
    pub accepted: Times,
}

/// Nodes beyond these are one: a histogram each is large.
const NODES: usize = 32;

impl Latencies {
    /// By the names that they have in results.
    #[must_use]
    pub fn classes(&self) -> Vec<(&'static str, &Times)> {
        let [told, closed, lost] = &self.outside;
        let [waited_told, waited_closed, waited_lost] = &self.waited;
        vec![
            ("connect", &self.connect),
            ("hello", &self.hello),
            ("join", &self.join),
            ("ack", &self.accepted),
            ("first", &self.first),
            ("median", &self.median),
            ("last", &self.last),
            ("each", &self.each),
            ("signal", &self.signal),
            ("gap_told", told),
            ("gap_closed", closed),
            ("gap_lost", lost),
            ("wait_told", waited_told),
            ("wait_closed", waited_closed),
            ("wait_lost", waited_lost),
            ("wait_undisturbed", &self.waited_undisturbed),
            ("room_standstill", &self.standstill),
            ("lag", &self.lag),
        ]
    }

    pub fn node(&mut self, name: &str) -> &mut NodeTimes {
        let known = self.nodes.contains_key(name) || self.nodes.len() < NODES;
        self.nodes.entry(if known { name } else { "others" }.to_owned()).or_default()
    }

    #[must_use]
    pub fn nodes(&self) -> &BTreeMap<String, NodeTimes> {
        &self.nodes
    }
}

/// When ops became visible to their first, median and last other member. Constant work and memory per op.
#[derive(Debug, Default)]
pub struct Visibility {
    open: VecDeque<Option<Spreading>>,
    /// The seq of the first of them.
    first: u64,
}

/// An op on its way to everybody.
#[derive(Clone, Copy, Debug)]
struct Spreading {
    author: Who,
    planned: Micros,
    /// Other members, there or on their way back, when it was first seen.
    expected: u32,
    seen: u32,
    latest: Micros,
}

/// Ops that did not reach everybody (somebody left, or was reset) are closed when so many younger ones are open.
const OPEN: usize = 20_000;

impl Visibility {
    /// A member saw the op at `seq`. `origin` says who submitted it and when that was planned, if it was one of us;
    /// `others` how many other members there are.
    pub fn seen(
        &mut self,
        seq: Seq,
        by: Who,
        now: Micros,
        origin: impl FnOnce() -> Option<(Who, Micros)>,
        others: u32,
        times: &mut Latencies,
    ) {
        let Some(index) = self.index(seq) else { return };
        while self.open.len() <= index {
            self.open.push_back(None);
        }
        if self.open[index].is_none() {
            let spreading =
                |(author, planned)| Spreading { author, planned, expected: others, seen: 0, latest: 0 };
            self.open[index] = origin().map(spreading);
        }
        if let Some(spreading) = self.open[index].as_mut().filter(|spreading| spreading.author != by) {
            spreading.seen_by_another(now, times);
        }
        self.close_the_done(times);
    }

    fn index(&mut self, seq: Seq) -> Option<usize> {
        if self.open.is_empty() {
            self.first = self.first.max(seq.0);
        }
        usize::try_from(seq.0.checked_sub(self.first)?).ok().filter(|index| *index < 2 * OPEN)
    }

    fn close_the_done(&mut self, times: &mut Latencies) {
        while let Some(front) = self.open.front() {
            let done = front.is_none_or(|front| front.seen >= front.expected);
            // The youngest stays, or it would open again.
            if self.open.len() == 1 || !(done || self.open.len() > OPEN) {
                break;
            }
            self.close_front(times);
        }
    }

    fn close_front(&mut self, times: &mut Latencies) {
        self.first += 1;
        if let Some(Some(front)) = self.open.pop_front() {
            front.close(times);
        }
    }

    /// Counts what is still open.
    pub fn finish(&mut self, times: &mut Latencies) {
        while !self.open.is_empty() {
            self.close_front(times);
        }
    }
}

impl Spreading {
    fn seen_by_another(&mut self, now: Micros, times: &mut Latencies) {
        let time = now.saturating_sub(self.planned);
        self.seen += 1;
        self.latest = time;
        times.each.record(time);
        if self.seen == 1 {
            times.first.record(time);
        }
        if self.seen == self.expected.div_ceil(2) {
            times.median.record(time);
        }
    }

    fn close(self, times: &mut Latencies) {
        if self.seen > 0 {
            times.last.record(self.latest);
        }
    }
}

/// When a client's latest signals should have been sent, by the mark they bear.
#[derive(Debug, Default)]
pub struct Marks {
    planned: VecDeque<Micros>,
    next: u64,
}

impl Marks {
    /// A signal that is still on its way after a thousand others is lost.
    const KEPT: usize = 1024;

    pub fn mark(&mut self, planned: Micros) -> u64 {
        if self.planned.len() == Self::KEPT {
            self.planned.pop_front();
        }
        self.planned.push_back(planned);
        self.next += 1;
        self.next - 1
    }

    #[must_use]
    pub fn planned(&self, mark: u64) -> Option<Micros> {
        let age = usize::try_from(self.next.checked_sub(mark)?).ok()?;
        self.planned.get(self.planned.len().checked_sub(age)?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_median_and_last_are_told_apart() {
        let (mut visibility, mut times) = (Visibility::default(), Latencies::default());
        for (by, now) in [(1, 2_000), (0, 2_500), (2, 3_000), (3, 4_000), (4, 9_000)] {
            visibility.seen(Seq(1), by, now, || Some((0, 1_000)), 4, &mut times);
        }
        visibility.seen(Seq(2), 1, 9_000, || None, 4, &mut times);
        let ms = |times: &Times| times.max().round() as u64;
        assert_eq!((ms(&times.first), ms(&times.median), ms(&times.last)), (1, 2, 8));
        assert_eq!(
            (times.first.count(), times.median.count(), times.last.count(), times.each.count()),
            (1, 1, 1, 4)
        );
    }

    #[test]
    fn an_op_that_reached_only_some_counts_in_the_end() {
        let (mut visibility, mut times) = (Visibility::default(), Latencies::default());
        visibility.seen(Seq(5), 1, 3_000, || Some((0, 0)), 9, &mut times);
        assert_eq!(times.last.count(), 0);
        visibility.finish(&mut times);
        assert_eq!((times.first.count(), times.last.count()), (1, 1));
    }

    #[test]
    fn memory_is_bounded_when_nobody_ever_sees_everything() {
        let (mut visibility, mut times) = (Visibility::default(), Latencies::default());
        for seq in 1..100_000 {
            visibility.seen(Seq(seq), 1, seq, || Some((0, 0)), 9, &mut times);
            assert!(visibility.open.len() <= OPEN + 1);
        }
        visibility.seen(Seq(u64::MAX / 2), 1, 1, || Some((0, 0)), 9, &mut times);
        visibility.seen(Seq(3), 1, 1, || Some((0, 0)), 9, &mut times);
        visibility.finish(&mut times);
        assert_eq!(times.first.count(), 99_999);
    }

    #[test]
    fn marks_are_known_for_a_while() {
        let mut marks = Marks::default();
        for n in 0..2_000 {
            assert_eq!(marks.mark(n * 10), n);
        }
        assert_eq!(marks.planned(1_999), Some(19_990));
        assert_eq!(marks.planned(976), Some(9_760));
        assert_eq!((marks.planned(975), marks.planned(2_000), marks.planned(0)), (None, None, None));
    }
}
