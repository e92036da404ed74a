//! What the connections of a worker share: the frames they know, and the book in which they note what they heard.

use enfilade_proto::Codec;

use super::plan::{Place, Plan};
use super::said::{Heard, Rooms, Said};
use super::spread::{Message, Spreads};
use super::tally::Tally;
use super::times::{Class, Times};
use super::wire::Counts;
use crate::clock::Micros;
use crate::known::{Bounds, Known};

#[derive(Debug)]
pub(super) struct Ears {
    pub(super) plan: Plan,
    pub(super) rooms: Rooms,
    pub(super) codec: Codec,
    pub(super) known: Known<Box<[Said]>>,
    pub(super) book: Book,
    /// Somebody has begun to speak: whoever comes now comes late.
    pub(super) begun: bool,
}

#[derive(Debug)]
pub(super) struct Book {
    /// In each room.
    pub(super) speakers: u32,
    pub(super) tally: Tally,
    /// Of those who stopped reading: they may lose what they like.
    pub(super) deaf: Tally,
    pub(super) spreads: Spreads,
    /// Members of each room among the worker's connections.
    members: Vec<u64>,
    pub(super) times: Times,
    pub(super) counts: Counts,
    /// Messages planned from then on are measured.
    pub(super) measured: Micros,
}

/// Frames of all rooms.
const KEPT: Bounds = Bounds { frames: 128 * 1024, bytes: 48 * 1024 * 1024 };
/// Of a frame with more messages than this, so many are timed, each for several.
const TIMED: usize = 8;

impl Ears {
    /// `members` are those of each room among the worker's connections.
    pub(super) fn new(plan: Plan, codec: Codec, members: Vec<u64>) -> Self {
        let book = Book {
            speakers: plan.speakers,
            tally: Tally::default(),
            deaf: Tally::default(),
            spreads: Spreads::default(),
            members,
            times: Times::default(),
            counts: Counts::default(),
            measured: Micros::MAX,
        };
        Self { rooms: Rooms::new(&plan), plan, codec, known: Known::new(KEPT), book, begun: false }
    }
}

impl Ears {
    /// Members who are not listened to; by their rooms.
    pub(super) fn leave_out(&mut self, rooms: impl Iterator<Item = u32>) {
        rooms.for_each(|room| self.book.members[room as usize] -= 1);
    }
}

impl Book {
    /// Counts and times what one member heard at once.
    #[inline]
    pub(super) fn arrived(&mut self, heard: &[Heard], Place { room, member }: Place, now: Micros) {
        let is_measured = |heard: &&Heard| heard.mark.planned >= self.measured;
        self.counts.deliveries += heard.len() as u64;
        self.counts.deliveries_measured += heard.iter().filter(is_measured).count() as u64;
        // Which of many are timed differs from member to member.
        let stride = heard.len().div_ceil(TIMED).max(1);
        for heard in heard.iter().skip(member as usize % stride).step_by(stride).filter(is_measured) {
            let (planned, sent) = (heard.mark.planned, heard.mark.sent);
            self.times.record_n(Class::Signal, now.saturating_sub(planned), stride as u64);
            self.times.record_n(Class::SignalRaw, now.saturating_sub(sent), stride as u64);
        }
        for heard in heard.iter().filter(|heard| heard.followed).filter(is_measured) {
            let message = Message { room, speaker: heard.speaker, number: heard.mark.number };
            let time = now.saturating_sub(heard.mark.planned);
            self.spreads.heard(message, time, now, self.members[room as usize]);
        }
    }
}
