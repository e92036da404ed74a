//! Seats: those of a hub's connections that are in a room and are told of it at the same pace.
//!
//! Delivery walks along the seats and touches nothing else of a connection that is up to date, so that ten thousand of them cost
//! what their writes cost. It walks in steps; whoever comes or goes between two of them neither gets anything twice nor is
//! passed over.

use std::cell::OnceCell;
use std::rc::Rc;

use bytes::Bytes;
use enfilade_proto::{Codec, Seq};

use super::connection::Line;
use super::pace::Pacer;
use crate::edge::mirror::{Amount, Cursor, News, Want};

/// A seat's place, until it is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SeatId(u32);

#[derive(Debug)]
pub(super) struct Seat {
    pub(super) line: Rc<Line>,
    pub(super) connection: u32,
    pub(super) codec: Codec,
    /// Whether news can be written as they are. If not, the connection says what it can be sent.
    pub(super) plain: bool,
    /// The first flush that concerns it.
    from: u32,
}

/// What one flush brings, written per codec and want when somebody needs it.
#[derive(Debug)]
pub(super) struct Batch {
    /// Where everybody was before.
    pub(super) before: Cursor,
    pub(super) news: News,
    pub(super) amount: Amount,
    written: [OnceCell<Option<Bytes>>; 4],
}

impl Batch {
    pub(super) fn bytes(&self, codec: Codec, want: Want) -> Option<&Bytes> {
        let slot = usize::from(codec == Codec::Json) * 2 + usize::from(want == Want::Everything);
        self.written[slot].get_or_init(|| self.news.frames(codec, want)).as_ref()
    }
}

/// A flush that goes on: everybody from `next` on still has to be told.
#[derive(Debug)]
struct Flush {
    batch: Rc<Batch>,
    next: usize,
}

#[derive(Debug)]
pub(super) struct Seats {
    seats: Vec<Option<Seat>>,
    vacant: Vec<u32>,
    /// What has been sent to everybody who is not late, once the flush is over.
    pub(super) cursor: Cursor,
    pub(super) pacer: Pacer,
    /// Flushes that have begun.
    flushes: u32,
    flush: Option<Flush>,
}

impl Seats {
    pub(super) fn new(cursor: Cursor) -> Self {
        Self {
            seats: Vec::new(),
            vacant: Vec::new(),
            cursor,
            pacer: Pacer::default(),
            flushes: 0,
            flush: None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.seats.len() == self.vacant.len()
    }

    /// Takes a seat. A flush that is under way passes it over.
    pub(super) fn sit(&mut self, line: Rc<Line>, connection: u32, codec: Codec) -> SeatId {
        let seat = Seat { line, connection, codec, plain: false, from: self.flushes.wrapping_add(1) };
        match self.vacant.pop() {
            Some(place) => {
                self.seats[place as usize] = Some(seat);
                SeatId(place)
            }
            None => {
                self.seats.push(Some(seat));
                SeatId(self.seats.len() as u32 - 1)
            }
        }
    }

    /// Sits down anew, as if just come.
    pub(super) fn start_over(&mut self, id: SeatId) {
        let from = self.flushes.wrapping_add(1);
        if let Some(seat) = self.get_mut(id) {
            seat.from = from;
        }
    }

    pub(super) fn stand_up(&mut self, id: SeatId) {
        if self.seats.get_mut(id.0 as usize).and_then(Option::take).is_some() {
            self.vacant.push(id.0);
        }
    }

    pub(super) fn get_mut(&mut self, id: SeatId) -> Option<&mut Seat> {
        self.seats.get_mut(id.0 as usize)?.as_mut()
    }

    pub(super) fn connections(&self) -> impl Iterator<Item = u32> {
        self.seats.iter().flatten().map(|seat| seat.connection)
    }

    pub(super) fn is_flushing(&self) -> bool {
        self.flush.is_some()
    }

    /// What the flush that is under way brings.
    pub(super) fn flushing(&self) -> Option<&Rc<Batch>> {
        self.flush.as_ref().map(|flush| &flush.batch)
    }

    /// Everything through this was sent to everybody who is not late.
    pub(super) fn told(&self) -> Seq {
        self.flushing().map_or(self.cursor, |batch| batch.before).seq
    }

    /// Begins to tell everybody who sits here now.
    pub(super) fn begin(&mut self, before: Cursor, news: News) {
        self.flushes = self.flushes.wrapping_add(1);
        let amount = news.amount();
        let batch = Rc::new(Batch { before, news, amount, written: Default::default() });
        self.flush = Some(Flush { batch, next: 0 });
    }

    /// The next `count` places of the flush, those among them that it concerns; nothing when it is over.
    pub(super) fn step(&mut self, count: usize) -> Option<(Rc<Batch>, impl Iterator<Item = &mut Seat>)> {
        let from = self.flush.as_ref()?.next.min(self.seats.len());
        let until = (from + count).min(self.seats.len());
        if from == until {
            self.flush = None;
            return None;
        }
        let number = self.flushes;
        // Numbers go around: one that lies ahead is less than half a revolution away.
        let concerned = move |seat: &&mut Seat| number.wrapping_sub(seat.from) < u32::MAX / 2;
        let flush = self.flush.as_mut()?;
        flush.next = until;
        Some((flush.batch.clone(), self.seats[from..until].iter_mut().flatten().filter(concerned)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// A socket, if only by name.
    fn line() -> Rc<Line> {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let end = std::net::TcpStream::connect(socket.local_addr().unwrap()).unwrap();
        end.set_nonblocking(true).unwrap();
        Line::new(tokio::net::TcpStream::from_std(end).unwrap())
    }

    #[derive(Clone, Debug)]
    enum Step {
        Sit,
        Leave(usize),
        Begin,
        Walk(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => Just(Step::Sit),
            2 => (0usize..8).prop_map(Step::Leave),
            1 => Just(Step::Begin),
            3 => (1usize..4).prop_map(Step::Walk),
        ];
        prop::collection::vec(step, 0..80)
    }

    proptest! {
        /// Whoever sits there from before a flush until its end is told once; whoever comes later is not.
        #[test]
        fn a_flush_tells_everybody_once_whoever_comes_and_goes(steps in steps()) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
            let _on = runtime.enter();
            let line = line();
            let mut seats = Seats::new(Cursor::default());
            let mut sitting: Vec<(u32, SeatId)> = Vec::new();
            let mut told: BTreeMap<u32, u32> = BTreeMap::new();
            let mut expected: Vec<u32> = Vec::new();
            let mut next = 0;
            for step in steps.into_iter().chain([Step::Walk(usize::MAX)]) {
                match step {
                    Step::Sit => {
                        sitting.push((next, seats.sit(line.clone(), next, Codec::Json)));
                        next += 1;
                    }
                    Step::Leave(which) if which < sitting.len() => {
                        let (who, seat) = sitting.remove(which);
                        seats.stand_up(seat);
                        expected.retain(|it| *it != who);
                        told.remove(&who);
                    }
                    Step::Leave(_) => {}
                    Step::Begin if !seats.is_flushing() => {
                        told.clear();
                        expected = sitting.iter().map(|(who, _)| *who).collect();
                        seats.begin(Cursor::default(), News::default());
                    }
                    Step::Begin => {}
                    Step::Walk(count) => loop {
                        let Some((_, walked)) = seats.step(count.min(1 << 20)) else { break };
                        walked.for_each(|seat| *told.entry(seat.connection).or_default() += 1);
                        if count < 4 { break }
                    },
                }
            }
            expected.sort_unstable();
            prop_assert_eq!(told.keys().copied().collect::<Vec<_>>(), expected);
            prop_assert!(told.values().all(|times| *times == 1));
        }
    }
}
