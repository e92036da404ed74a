//! Who is in a room on one edge, and what the owner has not been told of them yet: the other end of [`super::Presence`].

use std::collections::{BTreeMap, BTreeSet};

use enfilade_proto::limits::ROSTER;
use enfilade_proto::{DisplayName, Member, Role, UserId};

use crate::bus::Notice;
use crate::fingerprint::Fingerprint;

#[derive(Debug, Default)]
pub struct Here {
    people: BTreeMap<UserId, Person>,
    everybody: Fingerprint,
    /// Connections that only watch, and how many of them the owner knows of.
    audience: u64,
    audience_told: u64,
    /// Who came, went or has another role since the owner was told.
    changed: BTreeSet<UserId>,
}

/// There may be tens of thousands, so they are kept small.
#[derive(Debug)]
struct Person {
    name: DisplayName,
    role: Role,
    connections: u32,
}

const _: () = assert!(size_of::<Person>() <= 24);

impl Person {
    fn member(&self, id: UserId) -> Member {
        Member { id, name: self.name.clone(), role: self.role }
    }
}

impl Here {
    /// A connection of this person joined.
    pub fn arrive(&mut self, member: Member) {
        let Member { id, name, role } = member;
        let person = self.people.entry(id).or_insert_with(|| {
            self.everybody.add(id.0);
            Person { name, role, connections: 0 }
        });
        person.connections += 1;
        if person.connections == 1 || person.role < role {
            person.role = role;
            self.changed.insert(id);
        }
    }

    /// A connection of this person left.
    pub fn depart(&mut self, user: UserId) {
        let Some(person) = self.people.get_mut(&user) else { return };
        person.connections -= 1;
        if person.connections == 0 {
            self.people.remove(&user);
            self.everybody.remove(user.0);
            self.changed.insert(user);
        }
    }

    /// A connection that only watches joined, or left.
    pub fn watch(&mut self) {
        self.audience += 1;
    }

    pub fn unwatch(&mut self) {
        self.audience = self.audience.saturating_sub(1);
    }

    #[must_use]
    pub fn audience(&self) -> u64 {
        self.audience
    }

    #[must_use]
    pub fn everybody(&self) -> Fingerprint {
        self.everybody
    }

    #[must_use]
    pub fn count(&self) -> usize {
        self.people.len()
    }

    #[must_use]
    pub fn is_deserted(&self) -> bool {
        self.people.is_empty() && self.audience == 0
    }

    pub fn members(&self) -> impl Iterator<Item = Member> {
        self.people.iter().map(|(id, person)| person.member(*id))
    }

    /// What the owner has to hear at once: who comes to a small room and leaves it. Of a crowd it is told by [`Self::report`].
    #[must_use]
    pub fn report_at_once(&mut self) -> Vec<Notice> {
        if self.people.len() > ROSTER { Vec::new() } else { self.report_people() }
    }

    /// What the owner does not know.
    #[must_use]
    pub fn report(&mut self) -> Vec<Notice> {
        let mut notices = self.report_people();
        if self.audience != self.audience_told {
            self.audience_told = self.audience;
            notices.push(Notice::Audience(self.audience));
        }
        notices
    }

    /// Everything, for an owner who may know nothing.
    #[must_use]
    pub fn report_all(&mut self) -> Vec<Notice> {
        self.changed.clear();
        self.audience_told = self.audience;
        vec![Notice::Present(self.members().collect()), Notice::Audience(self.audience)]
    }

    #[must_use]
    pub fn has_something_to_report(&self) -> bool {
        !self.changed.is_empty() || self.audience != self.audience_told
    }

    fn report_people(&mut self) -> Vec<Notice> {
        let (mut arrived, mut departed) = (Vec::new(), Vec::new());
        for id in std::mem::take(&mut self.changed) {
            match self.people.get(&id) {
                Some(person) => arrived.push(person.member(id)),
                None => departed.push(id),
            }
        }
        let arrived = (!arrived.is_empty()).then_some(Notice::Arrived(arrived));
        let departed = (!departed.is_empty()).then_some(Notice::Departed(departed));
        arrived.into_iter().chain(departed).collect()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn member(n: u128) -> Member {
        Member { id: UserId(Uuid::from_u128(n)), name: DisplayName::new("Ada").unwrap(), role: Role::Editor }
    }

    #[test]
    fn devices_are_counted_and_the_owner_hears_of_people() {
        let mut here = Here::default();
        here.arrive(member(1));
        assert_eq!(here.report_at_once(), [Notice::Arrived(vec![member(1)])]);
        here.arrive(member(1));
        assert_eq!(here.report_at_once(), []);
        let owner = Member { role: Role::Owner, ..member(1) };
        here.arrive(owner.clone());
        assert_eq!(here.report_at_once(), [Notice::Arrived(vec![owner])], "a better role is news");
        here.depart(member(1).id);
        here.depart(member(1).id);
        assert_eq!(here.report_at_once(), []);
        here.depart(member(1).id);
        assert!(here.is_deserted());
        assert_eq!(here.report_at_once(), [Notice::Departed(vec![member(1).id])]);
        here.depart(member(1).id);
        assert!(!here.has_something_to_report() && here.everybody() == Fingerprint::default());
    }

    #[test]
    fn of_a_crowd_the_owner_is_told_together() {
        let mut here = Here::default();
        let crowd = ROSTER as u128 * 5;
        let mut at_once = 0;
        for n in 0..crowd {
            here.arrive(member(n));
            at_once += here.report_at_once().len();
        }
        assert_eq!(at_once, ROSTER, "while it was small");
        here.depart(member(crowd - 1).id);
        let notices = here.report();
        let [Notice::Arrived(arrived), Notice::Departed(departed)] = &notices[..] else {
            panic!("{notices:?}")
        };
        assert_eq!((arrived.len(), departed.len()), (crowd as usize - ROSTER - 1, 1));
        assert!(!here.has_something_to_report());
    }

    #[test]
    fn an_audience_is_told_as_a_number() {
        let mut here = Here::default();
        (0..5).for_each(|_| here.watch());
        here.unwatch();
        assert!(here.report_at_once().is_empty() && here.has_something_to_report());
        assert_eq!(here.report(), [Notice::Audience(4)]);
        here.watch();
        here.unwatch();
        assert!(here.report().is_empty() && !here.is_deserted());
        assert_eq!(here.report_all(), [Notice::Present(Vec::new()), Notice::Audience(4)]);
        (0..5).for_each(|_| here.unwatch());
        assert!(here.is_deserted());
        assert_eq!(here.report(), [Notice::Audience(0)]);
    }
}
