//! Who is in a room: reports of edges in, joins and leaves out.
//!
//! A person is present while any edge has a connection of theirs, and [`GRACE_MS`] longer, so that a reload or a move to
//! another node is not a farewell. Reports are idempotent: hearing one twice changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use enfilade_proto::limits::ROSTER;
use enfilade_proto::{Member, Presence as Digest, UserId};
use enfilade_store::Incarnation;

use crate::fingerprint::Fingerprint;

/// How long a person stays after their last connection was lost.
pub const GRACE_MS: u64 = 15_000;

/// Changes of a small room are told at most this often, so that a crowd coming in is one message; and those of a large one.
const PACE_MS: u64 = 50;
const LARGE_PACE_MS: u64 = 1_000;

#[derive(Debug, Default)]
pub struct Presence {
    people: BTreeMap<UserId, Person>,
    /// Who has a connection at each edge.
    on_edges: BTreeMap<Incarnation, Fingerprint>,
    /// Those without a connection, by the time when they will have left.
    leaving: BTreeSet<(u64, UserId)>,
    /// What is still to be told.
    joined: BTreeSet<UserId>,
    left: BTreeSet<UserId>,
    /// How many there were when it was told last.
    counted: usize,
    told_at: Option<u64>,
    /// The edges are still reporting who is there, and until then nothing is told; then, everything.
    settles_at: Option<u64>,
}

#[derive(Debug)]
struct Person {
    member: Member,
    edges: BTreeSet<Incarnation>,
    /// Their entry in `leaving`.
    leaves_at: Option<u64>,
    /// Whether a digest has told of them.
    announced: bool,
}

impl Presence {
    /// An edge has a connection of this person (with this role).
    pub fn arrive(&mut self, edge: Incarnation, member: Member) {
        let id = member.id;
        let changed = self.people.get(&id).is_none_or(|person| person.member != member);
        let person = self.people.entry(id).or_insert_with(|| Person {
            member: member.clone(),
            edges: BTreeSet::new(),
            leaves_at: None,
            announced: false,
        });
        person.member = member;
        if person.edges.insert(edge) {
            self.on_edges.entry(edge).or_default().add(id.0);
        }
        if let Some(at) = person.leaves_at.take() {
            self.leaving.remove(&(at, id));
        }
        if changed {
            self.left.remove(&id);
            self.joined.insert(id);
        }
    }

    /// An edge has no connection of this person any more.
    pub fn depart(&mut self, edge: Incarnation, user: UserId, now_ms: u64) {
        let Some(person) = self.people.get_mut(&user).filter(|person| person.edges.contains(&edge)) else {
            return;
        };
        person.edges.remove(&edge);
        let on_edge = self.on_edges.entry(edge).or_default();
        on_edge.remove(user.0);
        if *on_edge == Fingerprint::default() {
            self.on_edges.remove(&edge);
        }
        if person.edges.is_empty() {
            person.leaves_at = Some(now_ms + GRACE_MS);
            self.leaving.insert((now_ms + GRACE_MS, user));
        }
    }

    /// Exactly these people are on this edge.
    pub fn replace(&mut self, edge: Incarnation, members: Vec<Member>, now_ms: u64) {
        let here: BTreeSet<UserId> = members.iter().map(|member| member.id).collect();
        let gone: Vec<UserId> = self.people.keys().copied().filter(|id| !here.contains(id)).collect();
        for user in gone {
            self.depart(edge, user, now_ms);
        }
        for member in members {
            self.arrive(edge, member);
        }
    }

    /// The room has a new owner, to whom the edges report one after the other. What is told meanwhile would make people seem to
    /// leave and come back.
    pub fn settle_until(&mut self, at_ms: u64) {
        self.settles_at = Some(at_ms);
    }

    /// Takes leave of those whose grace is over.
    pub fn expire(&mut self, now_ms: u64) {
        while let Some(&(at, id)) = self.leaving.first().filter(|(at, _)| *at <= now_ms) {
            self.leaving.remove(&(at, id));
            self.joined.remove(&id);
            // Whoever was not announced yet needs no farewell.
            if self.people.remove(&id).is_some_and(|person| person.announced) {
                self.left.insert(id);
            }
        }
    }

    /// Who has a connection at this edge.
    #[must_use]
    pub fn on_edge(&self, edge: Incarnation) -> Fingerprint {
        self.on_edges.get(&edge).copied().unwrap_or_default()
    }

    /// Whether everything was told that there is to tell.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.settles_at.is_none() && !self.has_news()
    }

    #[must_use]
    pub fn count(&self) -> usize {
        self.people.len()
    }

    /// Everybody, or how many.
    #[must_use]
    pub fn full(&self) -> Digest {
        let members = (self.people.len() <= ROSTER)
            .then(|| self.people.values().map(|person| person.member.clone()).collect());
        Digest { count: self.people.len() as u64, members, ..Digest::default() }
    }

    /// Some of those who are there, by id, after the one given.
    #[must_use]
    pub fn page(&self, after: Option<UserId>, limit: usize) -> Vec<Member> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let people = self.people.range((after, Bound::Unbounded));
        people.take(limit).map(|(_, person)| person.member.clone()).collect()
    }

    /// When there will be something to do, if nothing happens until then.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        let grace = self.leaving.first().map(|(at, _)| *at);
        let digest = match self.settles_at {
            Some(at_ms) => Some(at_ms),
            None => self.has_news().then(|| self.told_at.map_or(0, |at| at + self.pace())),
        };
        grace.into_iter().chain(digest).min()
    }

    /// What changed since it was told last, if anything did and it is time to tell.
    pub fn take_digest(&mut self, now_ms: u64) -> Option<Digest> {
        let settled = match self.settles_at {
            Some(at_ms) if now_ms < at_ms => return None,
            settles_at => settles_at.is_some(),
        };
        if !settled && (!self.has_news() || self.told_at.is_some_and(|at| now_ms < at + self.pace())) {
            return None;
        }
        self.settles_at = None;
        self.told_at = Some(now_ms);
        let was_large = std::mem::replace(&mut self.counted, self.people.len()) > ROSTER;
        let joined = std::mem::take(&mut self.joined);
        let left = std::mem::take(&mut self.left);
        for id in &joined {
            self.people.entry(*id).and_modify(|person| person.announced = true);
        }
        if settled || was_large || self.people.len() > ROSTER {
            // Crossing the line downwards brings the list that nobody has yet.
            return Some(self.full());
        }
        let joined: Vec<Member> =
            joined.iter().filter_map(|id| self.people.get(id)).map(|person| person.member.clone()).collect();
        let left: Vec<UserId> = left.into_iter().collect();
        Some(Digest {
            count: self.people.len() as u64,
            joined: (!joined.is_empty()).then_some(joined),
            left: (!left.is_empty()).then_some(left),
            ..Digest::default()
        })
    }

    fn has_news(&self) -> bool {
        !self.joined.is_empty() || !self.left.is_empty()
    }

    fn pace(&self) -> u64 {
        if self.people.len() > ROSTER { LARGE_PACE_MS } else { PACE_MS }
    }
}

#[cfg(test)]
mod tests {
    use enfilade_proto::{DisplayName, Role};
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    const HERE: Incarnation = Incarnation(Uuid::from_u128(1));
    const THERE: Incarnation = Incarnation(Uuid::from_u128(2));

    fn user(n: u128) -> UserId {
        UserId(Uuid::from_u128(n + 1))
    }

    fn member(n: u128) -> Member {
        Member { id: user(n), name: DisplayName::new("Ada").unwrap(), role: Role::Editor }
    }

    #[test]
    fn a_reload_is_not_a_farewell() {
        let mut presence = Presence::default();
        presence.arrive(HERE, member(1));
        assert_eq!(presence.take_digest(0).unwrap().joined, Some(vec![member(1)]));
        presence.depart(HERE, user(1), 1_000);
        presence.expire(1_000 + GRACE_MS - 1);
        presence.arrive(THERE, member(1));
        presence.expire(1_000 + GRACE_MS * 2);
        assert_eq!(presence.take_digest(100_000), None);
        assert_eq!(presence.count(), 1);
    }

    #[test]
    fn a_farewell_comes_after_the_last_device_and_the_grace() {
        let mut presence = Presence::default();
        presence.arrive(HERE, member(1));
        presence.arrive(THERE, member(1));
        presence.take_digest(0);
        presence.depart(HERE, user(1), 1_000);
        assert_eq!(presence.next_deadline(), None);
        presence.depart(THERE, user(1), 2_000);
        assert_eq!(presence.next_deadline(), Some(2_000 + GRACE_MS));
        presence.expire(2_000 + GRACE_MS);
        let digest = presence.take_digest(2_000 + GRACE_MS).unwrap();
        assert_eq!((digest.count, digest.left), (0, Some(vec![user(1)])));
    }

    #[test]
    fn hearing_the_same_again_is_no_news() {
        let mut presence = Presence::default();
        presence.replace(HERE, vec![member(1), member(2)], 0);
        assert!(presence.take_digest(0).is_some());
        presence.replace(HERE, vec![member(1), member(2)], 1_000);
        presence.arrive(HERE, member(2));
        assert_eq!(presence.take_digest(10_000), None);
        presence.replace(HERE, vec![member(2)], 10_000);
        assert_eq!(presence.next_deadline(), Some(10_000 + GRACE_MS));
    }

    #[test]
    fn a_large_room_is_counted_and_told_once_a_second() {
        let mut presence = Presence::default();
        for n in 0..300 {
            presence.arrive(HERE, member(n));
        }
        let digest = presence.take_digest(5_000).unwrap();
        assert_eq!((digest.count, digest.members, digest.joined), (300, None, None));
        presence.arrive(HERE, member(300));
        assert_eq!(presence.take_digest(5_500), None);
        assert_eq!(presence.take_digest(6_000).unwrap().count, 301);
        for n in 0..200 {
            presence.depart(HERE, user(n), 10_000);
        }
        presence.expire(10_000 + GRACE_MS);
        assert_eq!(presence.take_digest(40_000).unwrap().members.unwrap().len(), 101);
    }

    proptest! {
        /// Whoever folds the digests has the same list as whoever asks for it.
        #[test]
        fn digests_add_up(steps in prop::collection::vec((0u8..4, 0u128..6, any::<bool>(), 0u64..20_000), 1..200)) {
            let mut presence = Presence::default();
            let mut folded: BTreeMap<UserId, Member> = BTreeMap::new();
            let mut now = 0;
            for (what, who, here, wait) in steps {
                now += wait;
                let edge = if here { HERE } else { THERE };
                match what {
                    0 => presence.arrive(edge, member(who)),
                    1 => presence.arrive(edge, Member { role: Role::Viewer, ..member(who) }),
                    2 => presence.depart(edge, user(who), now),
                    _ => presence.replace(edge, vec![member(who)], now),
                }
                presence.expire(now);
                now += LARGE_PACE_MS;
                if let Some(digest) = presence.take_digest(now) {
                    folded.extend(digest.joined.into_iter().flatten().map(|member| (member.id, member)));
                    digest.left.into_iter().flatten().for_each(|id| { folded.remove(&id); });
                    prop_assert_eq!(digest.count, folded.len() as u64);
                }
                let full: Vec<Member> = folded.values().cloned().collect();
                prop_assert_eq!(presence.full().members, Some(full));
            }
        }
    }
}
