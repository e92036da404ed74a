//! Frames that were read before. A server sends the members of a room the same bytes, so a frame is read once, for the
//! first of them; for the others it is recognised.
//!
//! Recognising is comparing bytes, never trusting a hash. Every frame remembers which one followed it when somebody
//! else got it, and that one is tried first: members of a room hear the same things in the same order, so nearly
//! always that is it, and nothing is hashed at all.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};

/// The name of a known frame; it only grows.
pub type FrameId = u64;

/// No frame: what comes first on a connection follows on this.
pub const NONE: FrameId = 0;

/// How much is kept. Somebody who is further behind reads for themselves.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub frames: usize,
    /// Of payloads, and of what a frame costs beside its payload.
    pub bytes: usize,
}

/// The latest frames, each with what it says.
#[derive(Debug)]
pub struct Known<T> {
    bounds: Bounds,
    entries: VecDeque<Entry<T>>,
    /// Those that were forgotten.
    forgotten: u64,
    bytes: usize,
    by_hash: HashMap<u64, FrameId>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Entry<T> {
    payload: Box<[u8]>,
    said: T,
    /// What followed the last time.
    next: FrameId,
    hash: u64,
}

/// What a frame costs beside its payload.
const OVERHEAD: usize = 160;

impl<T> Known<T> {
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            entries: VecDeque::new(),
            forgotten: 0,
            bytes: 0,
            by_hash: HashMap::new(),
            hasher: RandomState::new(),
        }
    }

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
    pub fn keep(&mut self, before: FrameId, payload: &[u8], said: T) -> FrameId {
        let hash = self.hasher.hash_one(payload);
        self.bytes += payload.len() + OVERHEAD;
        self.entries.push_back(Entry { payload: payload.into(), said, next: NONE, hash });
        let id = self.forgotten + self.entries.len() as u64;
        self.by_hash.insert(hash, id);
        self.follow(before, id);
        while self.bytes > self.bounds.bytes || self.entries.len() > self.bounds.frames {
            self.forget();
        }
        id
    }

    #[inline]
    #[must_use]
    pub fn said(&self, id: FrameId) -> Option<&T> {
        Some(&self.entry(id)?.said)
    }

    #[inline]
    fn entry(&self, id: FrameId) -> Option<&Entry<T>> {
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

    const BOUNDS: Bounds = Bounds { frames: 100, bytes: 48 * 1024 * 1024 };

    #[test]
    fn a_frame_is_known_by_its_bytes_wherever_it_comes() {
        let mut known = Known::new(BOUNDS);
        let a = known.keep(NONE, b"a", 1);
        let b = known.keep(a, b"b", 2);
        // The second member: from nothing by hash, then along the trail.
        assert_eq!(known.find(NONE, b"a"), Some(a));
        assert_eq!(known.find(a, b"b"), Some(b));
        assert_eq!(known.said(b), Some(&2));
        // Another one got them the other way round.
        assert_eq!(known.find(NONE, b"b"), Some(b));
        assert_eq!(known.find(b, b"a"), Some(a));
        assert_eq!(known.find(a, b"c"), None);
        assert_eq!(known.find(99, b"a"), Some(a));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        for (payload, kept) in [(1024 * 1024, 47), (1024, BOUNDS.frames)] {
            let mut known = Known::new(BOUNDS);
            let (mut before, mut payload) = (NONE, vec![0; payload]);
            for n in 0..300u32 {
                payload[..4].copy_from_slice(&n.to_be_bytes());
                before = known.keep(before, &payload, n);
            }
            assert_eq!((known.entries.len(), known.by_hash.len()), (kept, kept));
            let bytes: usize = known.entries.iter().map(|entry| entry.payload.len() + OVERHEAD).sum();
            assert_eq!(known.bytes, bytes);
            assert!(bytes <= BOUNDS.bytes);
            assert_eq!((known.said(1), known.said(before)), (None, Some(&299)));
        }
    }
}
