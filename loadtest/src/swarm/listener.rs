//! What one member of a room has heard, and what that says about the server: of every speaker it hears 1, 2, 3, …
//!
//! Pure, and constant work for each message: almost always it is the next one, and that is all there is to see.

use super::said::{Heard, STRANGER};
use super::tally::Tally;

/// Nothing is known of the speaker: whatever comes next is believed.
const ANY: u32 = u32::MAX;
/// Gaps that a member remembers, to tell late messages from doubled ones.
const GAPS: usize = 64;

/// What a member makes of what it hears.
#[derive(Debug, Default)]
pub struct Listener {
    /// The last number of each speaker; empty until the first is heard.
    last: Box<[u32]>,
    gaps: Vec<Gap>,
    /// The last op seen.
    pub seq: u64,
    pub epoch: u64,
    /// Came in when some had spoken already.
    late: bool,
}

/// Numbers that were skipped: from `next`, as many as `count`.
#[derive(Clone, Copy, Debug)]
struct Gap {
    speaker: u32,
    next: u32,
    count: u32,
    at_the_beginning: bool,
}

/// The order that is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Of each speaker's signals.
    Sent,
    /// Of the room's ops. An op that was refused and sent again comes after later ones of its speaker.
    Seq,
}

impl Listener {
    /// Enters a room at a position. `late`: others may have spoken before. What was heard before does not count.
    pub fn enter(&mut self, epoch: u64, seq: u64, late: bool) {
        *self = Self { seq, epoch, late, ..Self::default() };
    }

    /// Signals that others sent while the member was away are none of its business.
    pub fn returned(&mut self) {
        self.gaps.clear();
        self.last.fill(ANY);
        self.late = true;
    }

    #[inline]
    pub fn hear(&mut self, heard: &Heard, order: Order, speakers: u32, tally: &mut Tally) {
        if self.last.is_empty() {
            self.last = vec![if self.late { ANY } else { 0 }; speakers as usize].into();
        }
        let number = heard.mark.number;
        match self.last.get_mut(heard.speaker as usize) {
            Some(last) if *last != ANY && number == *last + 1 => *last = number,
            Some(_) => self.surprise(heard.speaker, number, order, tally),
            None if heard.speaker == STRANGER && order == Order::Seq => {}
            None => tally.phantom(heard),
        }
    }

    #[cold]
    fn surprise(&mut self, speaker: u32, number: u32, order: Order, tally: &mut Tally) {
        let last = &mut self.last[speaker as usize];
        if *last == ANY {
            *last = number;
        } else if number > *last {
            let gap =
                Gap { speaker, next: *last + 1, count: number - *last - 1, at_the_beginning: *last == 0 };
            *last = number;
            tally.skipped(gap.at_the_beginning, gap.count, || {
                format!("{speaker}: {} to {}", gap.next, number - 1)
            });
            if self.gaps.len() < GAPS {
                self.gaps.push(gap);
            }
        } else if let Some(at_the_beginning) = self.fill(speaker, number) {
            tally.found(at_the_beginning);
            if order == Order::Sent {
                tally.overtaken(|| format!("{speaker}: {number} after {}", self.last[speaker as usize]));
            }
        } else {
            tally.doubled(|| format!("{speaker}: {number}"));
        }
    }

    /// Takes a number out of the gap it is in.
    fn fill(&mut self, speaker: u32, number: u32) -> Option<bool> {
        let inside = |gap: &Gap| gap.speaker == speaker && (gap.next..gap.next + gap.count).contains(&number);
        let index = self.gaps.iter().position(inside)?;
        let gap = self.gaps.swap_remove(index);
        let before = Gap { count: number - gap.next, ..gap };
        let after = Gap { next: number + 1, count: gap.next + gap.count - number - 1, ..gap };
        self.gaps.extend([before, after].into_iter().filter(|gap| gap.count > 0));
        Some(gap.at_the_beginning)
    }

    /// Ops that arrived, the first of which has the seq `first`.
    pub fn ops(&mut self, first: u64, heard: &[Heard], speakers: u32, tally: &mut Tally) {
        if first > self.seq + 1 {
            tally.gap(|| format!("seq {first} after {}", self.seq));
        }
        for (heard, seq) in heard.iter().zip(first..) {
            if seq <= self.seq {
                tally.doubled(|| format!("seq {seq} after {}", self.seq));
                continue;
            }
            self.seq = seq;
            self.hear(heard, Order::Seq, speakers, tally);
        }
    }

    /// How many messages are still missing, given how many each speaker has sent.
    #[must_use]
    pub fn missing(&self, sent: &[u32]) -> u64 {
        sent.iter()
            .enumerate()
            .map(|(speaker, sent)| u64::from(sent.saturating_sub(self.known(speaker))))
            .sum()
    }

    /// Everything has been sent, and there was time enough for it to arrive.
    pub fn finish(&self, sent: &[u32], tally: &mut Tally) {
        for (speaker, &sent) in sent.iter().enumerate() {
            let last = self.known(speaker);
            if last < sent {
                tally.lost_at_the_end(sent - last, || format!("{speaker}: {} to {sent}", last + 1));
            } else if last > sent && last != ANY {
                tally.beyond(|| format!("{speaker}: {last}, but sent {sent}"));
            }
        }
    }

    /// Whoever came late and heard nothing misses nothing.
    fn known(&self, speaker: usize) -> u32 {
        self.last.get(speaker).copied().unwrap_or(if self.late { ANY } else { 0 })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::mark::Mark;
    use super::*;

    fn heard(speaker: u32, number: u32) -> Heard {
        Heard { speaker, mark: Mark { number, planned: 0, sent: 0 }, followed: false }
    }

    fn listen(numbers: &[u32], sent: u32) -> Tally {
        let (mut listener, mut tally) = (Listener::default(), Tally::default());
        for &number in numbers {
            listener.hear(&heard(0, number), Order::Sent, 1, &mut tally);
        }
        listener.finish(&[sent], &mut tally);
        tally
    }

    #[test]
    fn losses_are_told_apart_by_where_they_are() {
        let tally = listen(&[3, 4, 7], 9);
        assert_eq!((tally.lost_prefix, tally.lost_middle, tally.lost_postfix), (2, 2, 2));
        assert_eq!(listen(&[], 5).lost_postfix, 5);
        assert_eq!(listen(&[1, 2, 3], 3).violations(), 0);
    }

    #[test]
    fn what_comes_late_is_overtaken_and_not_lost() {
        let tally = listen(&[1, 4, 2, 3, 5], 5);
        assert_eq!((tally.lost_middle, tally.overtaken, tally.doubled), (0, 2, 0));
    }

    #[test]
    fn what_comes_twice_is_doubled() {
        let tally = listen(&[1, 2, 2, 1, 3], 3);
        assert_eq!((tally.doubled, tally.overtaken, tally.violations()), (2, 0, 2));
    }

    #[test]
    fn what_nobody_sent_is_a_phantom() {
        assert_eq!(listen(&[1, 2, 3], 2).phantom, 1);
        let (mut listener, mut tally) = (Listener::default(), Tally::default());
        listener.hear(&heard(7, 1), Order::Sent, 1, &mut tally);
        assert_eq!(tally.phantom, 1);
    }

    #[test]
    fn whoever_comes_late_starts_with_what_it_hears() {
        let (mut listener, mut tally) = (Listener::default(), Tally::default());
        listener.enter(1, 0, true);
        assert_eq!(listener.missing(&[9, 9]), 0);
        listener.hear(&heard(0, 7), Order::Sent, 2, &mut tally);
        listener.finish(&[8, 9], &mut tally);
        assert_eq!((tally.lost_postfix, tally.violations()), (1, 1));
    }

    #[test]
    fn ops_come_in_seq_order_exactly_once() {
        let (mut listener, mut tally) = (Listener::default(), Tally::default());
        listener.enter(1, 10, false);
        // The second op of the speaker was refused, and sent again after the third.
        listener.ops(11, &[heard(0, 1), heard(0, 3)], 1, &mut tally);
        listener.ops(13, &[heard(0, 2), heard(STRANGER, 0)], 1, &mut tally);
        assert_eq!((tally.violations(), listener.seq), (0, 14));
        listener.ops(14, &[heard(0, 3)], 1, &mut tally);
        assert_eq!((tally.doubled, tally.gaps), (1, 0));
        listener.ops(16, &[heard(0, 4)], 1, &mut tally);
        assert_eq!((tally.gaps, listener.seq), (1, 16));
    }

    /// What a list of everything heard says.
    fn naive(numbers: &[u32], sent: u32) -> (u64, u64, u64) {
        let (mut overtaken, mut doubled, mut seen, mut highest) =
            (0, 0, std::collections::BTreeSet::new(), 0);
        for &number in numbers {
            if !seen.insert(number) {
                doubled += 1;
            } else if number < highest {
                overtaken += 1;
            }
            highest = highest.max(number);
        }
        (u64::from(sent) - seen.len() as u64, overtaken, doubled)
    }

    #[derive(Clone, Debug)]
    enum Mischief {
        Lose(prop::sample::Index),
        Double(prop::sample::Index, prop::sample::Index),
        Swap(prop::sample::Index, prop::sample::Index),
    }

    fn mischief() -> impl Strategy<Value = Mischief> {
        let index = any::<prop::sample::Index>;
        prop_oneof![
            index().prop_map(Mischief::Lose),
            (index(), index()).prop_map(|(a, b)| Mischief::Double(a, b)),
            (index(), index()).prop_map(|(a, b)| Mischief::Swap(a, b)),
        ]
    }

    proptest! {
        #[test]
        fn mischief_is_counted_as_a_list_would_count_it(sent in 1u32..60, mischief in prop::collection::vec(mischief(), 0..8)) {
            let mut numbers: Vec<u32> = (1..=sent).collect();
            for mischief in mischief {
                let len = numbers.len();
                match mischief {
                    _ if len == 0 => {}
                    Mischief::Lose(at) => { numbers.remove(at.index(len)); }
                    Mischief::Double(from, to) => { let number = numbers[from.index(len)]; numbers.insert(to.index(len + 1), number); }
                    Mischief::Swap(a, b) => numbers.swap(a.index(len), b.index(len)),
                }
            }
            let tally = listen(&numbers, sent);
            let lost = tally.lost_prefix + tally.lost_middle + tally.lost_postfix;
            prop_assert_eq!((lost, tally.overtaken, tally.doubled), naive(&numbers, sent), "{:?}", numbers);
            prop_assert_eq!(tally.violations() == 0, numbers == (1..=sent).collect::<Vec<_>>());
        }
    }
}
