//! Frames that were read before. A server sends the members of a room the same bytes, so a frame is read once, for the
//! first of them; for the others it is recognised.
//!
//! Recognising is comparing bytes, never trusting a hash. Every frame remembers which one followed it when somebody
//! else got it, and that one is tried first: members of a room hear the same things in the same order, so nearly
//! always that is it, and nothing is hashed at all.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};

use super::said::Said;

/// The name of a known frame; it only grows.
pub type FrameId = u64;

/// No frame: what comes first on a connection follows on this.
pub const NONE: FrameId = 0;

#[derive(Debug)]
struct Entry {
    payload: Box<[u8]>,
    said: Box<[Said]>,
    /// What followed the last time.
    next: FrameId,
    hash: u64,
}

/// The latest frames of all rooms.
#[derive(Debug, Default)]
pub struct Known {
    entries: VecDeque<Entry>,
    /// Those that were forgotten.
    forgotten: u64,
    bytes: usize,
    by_hash: HashMap<u64, FrameId>,
    hasher: RandomState,
}

/// Somebody who is further behind than this reads for themselves.
const BYTES: usize = 48 * 1024 * 1024;
const FRAMES: usize = 128 * 1024;
/// What a frame costs beside its payload.
const OVERHEAD: usize = 160;

impl Known {
    /// The frame with this payload, if it is known. `before` is the frame that came before it on this connection.
    #[inline]
    pub fn find(&mut self, before: FrameId, payload: &[u8]) -> Option<FrameId> {
        let next = self.entry(before).map_or(NONE, |entry| entry.next);
        if self.entry(next).is_some_and(|entry| *entry.payload == *payload) {
            return Some(next);
        }
        let found = *self.by_hash.get(&self.hasher.hash_one(payload))?;
        self.entry(found).filter(|entry| *entry.payload == *payload)?;
        self.follow(before, found);
        Some(found)
    }

    /// Keeps what was read.
    pub fn keep(&mut self, before: FrameId, payload: &[u8], said: Box<[Said]>) -> FrameId {
        let hash = self.hasher.hash_one(payload);
        self.bytes += payload.len() + OVERHEAD;
        self.entries.push_back(Entry { payload: payload.into(), said, next: NONE, hash });
        let id = self.forgotten + self.entries.len() as u64;
        self.by_hash.insert(hash, id);
        self.follow(before, id);
        while self.bytes > BYTES || self.entries.len() > FRAMES {
            self.forget();
        }
        id
    }

    #[inline]
    #[must_use]
    pub fn said(&self, id: FrameId) -> &[Said] {
        self.entry(id).map_or(&[], |entry| &entry.said)
    }

    #[inline]
    fn entry(&self, id: FrameId) -> Option<&Entry> {
        self.entries.get(usize::try_from(id.checked_sub(self.forgotten + 1)?).ok()?)
    }

    fn follow(&mut self, before: FrameId, next: FrameId) {
        let Some(index) = before.checked_sub(self.forgotten + 1) else { return };
        if let Some(entry) = usize::try_from(index).ok().and_then(|index| self.entries.get_mut(index)) {
            entry.next = next;
        }
    }

    fn forget(&mut self) {
        let Some(entry) = self.entries.pop_front() else { return };
        self.forgotten += 1;
        self.bytes -= entry.payload.len() + OVERHEAD;
        if self.by_hash.get(&entry.hash) == Some(&self.forgotten) {
            self.by_hash.remove(&entry.hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(n: u16) -> Box<[Said]> {
        Box::new([Said::Closing { code: n }])
    }

    #[test]
    fn a_frame_is_known_by_its_bytes_wherever_it_comes() {
        let mut known = Known::default();
        let a = known.keep(NONE, b"a", said(1));
        let b = known.keep(a, b"b", said(2));
        // The second member: from nothing by hash, then along the trail.
        assert_eq!(known.find(NONE, b"a"), Some(a));
        assert_eq!(known.find(a, b"b"), Some(b));
        assert_eq!(known.said(b), &*said(2));
        // Another one got them the other way round.
        assert_eq!(known.find(NONE, b"b"), Some(b));
        assert_eq!(known.find(b, b"a"), Some(a));
        assert_eq!(known.find(a, b"c"), None);
        assert_eq!(known.find(99, b"a"), Some(a));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut known = Known::default();
        let (mut before, large) = (NONE, vec![0; 1024 * 1024]);
        for n in 0..300u32 {
            let mut payload = large.clone();
            payload[..4].copy_from_slice(&n.to_be_bytes());
            before = known.keep(before, &payload, said(0));
        }
        assert!(
            known.bytes <= BYTES && known.entries.len() < 48 && known.by_hash.len() == known.entries.len()
        );
        assert_eq!(known.bytes, known.entries.iter().map(|e| e.payload.len() + OVERHEAD).sum::<usize>());
        assert_eq!(known.said(1), &[]);
        assert_eq!(known.said(before), &*said(0));
    }
}
