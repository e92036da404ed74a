//! Who is who in a swarm: connections have numbers, and their number says in which room they are and whether they speak.
//! Every worker counts the same way, so that each knows whose a message is that another one sent.

use enfilade_proto::{ClientId, RoomId};
use serde::{Deserialize, Serialize};

/// A room that the swarm meets in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    pub id: RoomId,
    /// The secret of a share link.
    pub link: Option<String>,
}

/// The swarm as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Tells the clients of one run from those of another.
    pub run: u64,
    pub rooms: Vec<Room>,
    /// Connections in each room.
    pub members: u32,
    /// The first so many members of a room speak.
    pub speakers: u32,
    /// Of a speaker's messages, every so many-th is followed to the last member.
    pub followed: u32,
}

/// A connection's place: a member of a room. Members below `speakers` speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub room: u32,
    pub member: u32,
}

impl Plan {
    #[must_use]
    pub fn connections(&self) -> usize {
        self.rooms.len() * self.members as usize
    }

    #[must_use]
    pub fn all_speakers(&self) -> usize {
        self.rooms.len() * self.speakers as usize
    }

    /// The places of one worker out of several: whole rooms if there are enough of them, else a part of each.
    pub fn share(&self, worker: u32, workers: u32) -> impl Iterator<Item = Place> {
        let whole_rooms = self.rooms.len() >= 2 * workers as usize;
        let places = (0..self.rooms.len() as u32)
            .flat_map(|room| (0..self.members).map(move |member| Place { room, member }));
        places.filter(move |place| (if whole_rooms { place.room } else { place.member }) % workers == worker)
    }

    /// Whether a message is followed to the last member who hears it. Not the same numbers of all speakers.
    #[must_use]
    pub fn is_followed(&self, speaker: u32, number: u32) -> bool {
        number.wrapping_add(speaker).is_multiple_of(self.followed.max(1))
    }

    /// The UUID that the connection at a place calls itself by (version 8: its bits are for whoever makes it).
    #[must_use]
    pub fn client(&self, place: Place) -> ClientId {
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&self.run.to_be_bytes()[2..]);
        bytes[9..12].copy_from_slice(&place.room.to_be_bytes()[1..]);
        bytes[12..].copy_from_slice(&place.member.to_be_bytes());
        ClientId(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }

    /// Whose UUID that is, if it is a connection's of this run.
    #[must_use]
    pub fn place(&self, client: ClientId) -> Option<Place> {
        let bytes = client.0.as_bytes();
        let &[room @ .., m0, m1, m2, m3] = bytes.last_chunk::<7>()?;
        let room = u32::from_be_bytes([0, room[0], room[1], room[2]]);
        let place = Place { room, member: u32::from_be_bytes([m0, m1, m2, m3]) };
        let is_ours = (room as usize) < self.rooms.len() && place.member < self.members;
        (is_ours && self.client(place) == client).then_some(place)
    }

    /// The number of a connection among all of the swarm.
    #[must_use]
    pub fn number(&self, place: Place) -> usize {
        place.room as usize * self.members as usize + place.member as usize
    }

    /// The number of a speaker among all of the swarm.
    #[must_use]
    pub fn speaker(&self, place: Place) -> Option<usize> {
        (place.member < self.speakers).then(|| (place.room * self.speakers + place.member) as usize)
    }

    /// What a board's element is called that a speaker writes to.
    #[must_use]
    pub fn element(&self, place: Place) -> String {
        format!("{:x}-{}", self.run, place.member)
    }
}

/// So many rooms can be told apart in a client's UUID.
pub const MAX_ROOMS: usize = 1 << 24;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn plan(rooms: u32, members: u32) -> Plan {
        let room = |n| Room { id: RoomId(Uuid::from_u128(n)), link: None };
        Plan {
            run: 0xfedc_ba98_7654_3210,
            rooms: (0..rooms.into()).map(room).collect(),
            members,
            speakers: 1,
            followed: 1,
        }
    }

    proptest! {
        #[test]
        fn everybody_belongs_to_exactly_one_worker(rooms in 1u32..20, members in 1u32..20, workers in 1u32..5) {
            let plan = plan(rooms, members);
            let mut places: Vec<(u32, u32)> = (0..workers)
                .flat_map(|worker| plan.share(worker, workers).map(|p| (p.room, p.member)).collect::<Vec<_>>())
                .collect();
            places.sort_unstable();
            let all: Vec<(u32, u32)> = (0..rooms).flat_map(|r| (0..members).map(move |m| (r, m))).collect();
            prop_assert_eq!(places, all);
        }

        #[test]
        fn a_clients_uuid_says_where_it_is(room in 0u32..1000, member in 0u32..20_000) {
            let plan = plan(1_000, 20_000);
            let place = Place { room, member };
            prop_assert_eq!(plan.place(plan.client(place)), Some(place));
        }
    }

    #[test]
    fn strangers_have_no_place() {
        let plan = plan(2, 2);
        let other = Plan { run: 1, ..plan.clone() };
        assert_eq!(plan.place(other.client(Place { room: 0, member: 0 })), None);
        assert_eq!(plan.place(ClientId(Uuid::from_u128(7))), None);
        assert_eq!(plan.place(plan.client(Place { room: 2, member: 0 })), None);
    }
}
