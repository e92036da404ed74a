//! Who is in a room: reports of edges in, joins and leaves out.
//!
//! A person is present while any edge has a connection of theirs, and [`GRACE_MS`] longer, so that a reload or a move to
//! another node is not a farewell. Reports are idempotent: hearing one twice changes nothing. Those who only watch are counted.

mod audience;
mod here;
mod place;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use enfilade_proto::limits::ROSTER;
use enfilade_proto::{DisplayName, Member, Presence as Digest, Role, UserId};
use enfilade_store::Incarnation;

use self::audience::Audience;
pub use self::here::Here;
use self::place::Place;
use crate::bus::roster;
use crate::fingerprint::Fingerprint;

/// How long a person stays after their last connection was lost.
pub const GRACE_MS: u64 = 15_000;

/// Changes of a small room are told at most this often, so that a crowd coming in is one message; and those of a large one,
/// and of an audience.
const PACE_MS: u64 = 50;
const LARGE_PACE_MS: u64 = 1_000;

#[derive(Debug, Default)]
pub struct Presence {
    people: BTreeMap<UserId, Person>,
    /// All of them.
    everybody: Fingerprint,
    /// Who has a connection at each edge.
    on_edges: BTreeMap<Incarnation, Fingerprint>,
    /// Those without a connection, by the time when they will have left.
    leaving: BTreeSet<(u64, UserId)>,
    /// What is still to be told.
    joined: BTreeSet<UserId>,
    left: BTreeSet<UserId>,
    /// How many there were when it was told last.
    counted: usize,
    audience: Audience,
    told_at: Option<u64>,
    /// The edges are still reporting who is there, and until then nothing is told; then, everything.
    settles_at: Option<u64>,
}

/// There may be a hundred thousand, so they are kept small.
#[derive(Debug)]
struct Person {
    name: DisplayName,
    role: Role,
    place: Place,
    /// Whether a digest has told of them.
    announced: bool,
}

const _: () = assert!(size_of::<Person>() <= 48);

impl Person {
    fn member(&self, id: UserId) -> Member {
        Member { id, name: self.name.clone(), role: self.role }
    }

    /// Takes in what an edge says of them. Returns whether that is news.
    fn meet(&mut self, name: DisplayName, role: Role) -> bool {
        let news = self.name != name || self.role != role;
        (self.name, self.role) = (name, role);
        news
    }
}

impl Presence {
    /// An edge has a connection of this person (with this role).
    pub fn arrive(&mut self, edge: Incarnation, member: Member) {
        let Member { id, name, role } = member;
        let (is_new_there, is_news) = match self.people.entry(id) {
            Entry::Vacant(vacant) => {
                vacant.insert(Person { name, role, place: Place::On(edge), announced: false });
                self.everybody.add(id.0);
                (true, true)
            }
            Entry::Occupied(known) => {
                let person = known.into_mut();
                if let Place::Leaving(at) = person.place {
                    self.leaving.remove(&(at, id));
                }
                (person.place.arrive(edge), person.meet(name, role))
            }
        };
        if is_new_there {
            self.on_edges.entry(edge).or_default().add(id.0);
        }
        if is_news {
            self.left.remove(&id);
            self.joined.insert(id);
        }
    }

    /// An edge has no connection of this person any more.
    pub fn depart(&mut self, edge: Incarnation, user: UserId, now_ms: u64) {
        let leaves_at = now_ms + GRACE_MS;
        let Some(person) = self.people.get_mut(&user) else { return };
        if !person.place.depart(edge, leaves_at) {
            return;
        }
        if matches!(person.place, Place::Leaving(_)) {
            self.leaving.insert((leaves_at, user));
        }
        let on_edge = self.on_edges.entry(edge).or_default();
        on_edge.remove(user.0);
        if *on_edge == Fingerprint::default() {
            self.on_edges.remove(&edge);
        }
    }

    /// So many connections of an edge only watch.
    pub fn watch(&mut self, edge: Incarnation, count: u64) {
        self.audience.set(edge, count);
    }

    /// Nobody is on this edge any more, or it is gone itself.
    pub fn forget_edge(&mut self, edge: Incarnation, now_ms: u64) {
        self.replace(edge, Vec::new(), now_ms);
        self.audience.set(edge, 0);
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
            let Some(person) = self.people.remove(&id) else { continue };
            self.everybody.remove(id.0);
            if person.announced {
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
        self.settles_at.is_none() && !self.has_news() && !self.audience.has_news()
    }

    #[must_use]
    pub fn count(&self) -> usize {
        self.people.len()
    }

    /// How many watch.
    #[must_use]
    pub fn audience(&self) -> u64 {
        self.audience.count()
    }

    /// How many watch on one edge.
    #[cfg(test)]
    pub(crate) fn audience_on(&self, edge: Incarnation) -> u64 {
        self.audience.on_edge(edge)
    }

    fn is_large(&self) -> bool {
        self.people.len() > ROSTER
    }

    /// The fingerprint of [`Self::full`].
    #[must_use]
    pub fn roster(&self) -> Fingerprint {
        roster(self.people.len() as u64, (!self.is_large()).then_some(self.everybody))
    }

    /// Everybody, or how many.
    #[must_use]
    pub fn full(&self) -> Digest {
        let members =
            (!self.is_large()).then(|| self.people.iter().map(|(id, person)| person.member(*id)).collect());
        Digest { members, ..self.numbers() }
    }

    fn numbers(&self) -> Digest {
        Digest { count: self.people.len() as u64, audience: self.audience(), ..Digest::default() }
    }

    /// Some of those who are there, by id, after the one given.
    #[must_use]
    pub fn page(&self, after: Option<UserId>, limit: usize) -> Vec<Member> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let people = self.people.range((after, Bound::Unbounded));
        people.take(limit).map(|(id, person)| person.member(*id)).collect()
    }

    /// When there will be something to do, if nothing happens until then.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        let grace = self.leaving.first().map(|(at, _)| *at);
        let digest = match self.settles_at {
            Some(at_ms) => Some(at_ms),
            None => self.pace_ms().map(|pace_ms| self.told_at.map_or(0, |at| at + pace_ms)),
        };
        grace.into_iter().chain(digest).min()
    }

    /// What changed since it was told last, if anything did and it is time to tell.
    pub fn take_digest(&mut self, now_ms: u64) -> Option<Digest> {
        let settled = self.settles_at.is_some();
        match (self.settles_at, self.pace_ms()) {
            (Some(at_ms), _) if now_ms < at_ms => return None,
            (Some(_), _) => {}
            (None, None) => return None,
            (None, Some(pace_ms)) if self.told_at.is_some_and(|at| now_ms < at + pace_ms) => return None,
            (None, Some(_)) => {}
        }
        self.settles_at = None;
        self.told_at = Some(now_ms);
        self.audience.told();
        let was_large = std::mem::replace(&mut self.counted, self.people.len()) > ROSTER;
        let joined = std::mem::take(&mut self.joined);
        let left = std::mem::take(&mut self.left);
        for id in &joined {
            self.people.entry(*id).and_modify(|person| person.announced = true);
        }
        if settled || was_large || self.is_large() {
            // Crossing the line downwards brings the list that nobody has yet.
            return Some(self.full());
        }
        let person = |id: &UserId| self.people.get(id).map(|person| person.member(*id));
        let joined: Vec<Member> = joined.iter().filter_map(person).collect();
        let left: Vec<UserId> = left.into_iter().collect();
        Some(Digest {
            // Without either list it would say that nobody is listed any more.
            joined: (!joined.is_empty() || left.is_empty()).then_some(joined),
            left: (!left.is_empty()).then_some(left),
            ..self.numbers()
        })
    }

    fn has_news(&self) -> bool {
        !self.joined.is_empty() || !self.left.is_empty()
    }

    /// How long after the last digest there may be another, if there is something to tell.
    fn pace_ms(&self) -> Option<u64> {
        match (self.has_news(), self.audience.has_news()) {
            (true, _) if !self.is_large() => Some(PACE_MS),
            (true, _) | (_, true) => Some(LARGE_PACE_MS),
            (false, false) => None,
        }
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

    #[test]
    fn an_audience_is_told_once_a_second_when_it_changed() {
        let mut presence = Presence::default();
        presence.arrive(HERE, member(1));
        presence.take_digest(0);
        presence.watch(HERE, 400);
        presence.watch(THERE, 30);
        assert_eq!((presence.next_deadline(), presence.take_digest(999)), (Some(1_000), None));
        let digest = presence.take_digest(1_000).unwrap();
        assert_eq!((digest.count, digest.audience), (1, 430));
        assert_eq!(
            (digest.joined, digest.left, digest.members),
            (Some(Vec::new()), None, None),
            "a change of nobody"
        );
        presence.watch(HERE, 399);
        presence.watch(HERE, 400);
        assert_eq!((presence.next_deadline(), presence.take_digest(5_000)), (None, None), "as it was told");
        presence.watch(HERE, 401);
        presence.arrive(HERE, member(2));
        let digest = presence.take_digest(5_000).unwrap();
        assert_eq!((digest.audience, digest.joined), (431, Some(vec![member(2)])), "both at once");
    }

    #[test]
    fn an_audience_goes_with_its_edge() {
        let mut presence = Presence::default();
        presence.watch(HERE, 400);
        presence.watch(THERE, 30);
        presence.take_digest(0);
        presence.forget_edge(HERE, 500);
        let digest = presence.take_digest(1_000).unwrap();
        assert_eq!((digest.audience, digest.count), (30, 0));
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
                let here = full.iter().map(|member| member.id.0).collect();
                prop_assert_eq!(presence.roster(), roster(full.len() as u64, Some(here)));
                prop_assert_eq!(presence.full().members, Some(full));
            }
        }
    }
}
