//! The couriers of all rooms to which ops are under way from this node.

use std::collections::BTreeMap;

use enfilade_proto::{RoomId, Seq};
use enfilade_store::Shard;
use tokio::sync::oneshot;

use super::courier::{Answered, Courier, Outgoing};
use crate::bus::{Refused, Submission, Ticket};
use crate::refusal::Refusal;

type Back = oneshot::Sender<Result<Seq, Refusal>>;

#[derive(Debug, Default)]
pub(super) struct Post {
    tickets: u64,
    couriers: BTreeMap<RoomId, Desk>,
}

#[derive(Debug, Default)]
struct Desk {
    courier: Courier<Back>,
    /// Somebody is sending. Two at a time would mix up the order.
    sending: bool,
}

impl Post {
    pub(super) fn take(
        &mut self,
        now_ms: u64,
        room: RoomId,
        submission: Submission,
    ) -> Result<oneshot::Receiver<Result<Seq, Refusal>>, Refusal> {
        let (back, answer) = oneshot::channel();
        self.tickets += 1;
        let courier = &mut self.couriers.entry(room).or_default().courier;
        match courier.take(now_ms, Ticket(self.tickets), submission, back) {
            Ok(()) => Ok(answer),
            Err(_) => Err(Refusal::busy("too many ops are on their way to the room", 200)),
        }
    }

    /// What is to be sent to a room now. Whoever gets some sends it and then comes again, until there is none; others who come
    /// meanwhile get none.
    pub(super) fn begin(&mut self, now_ms: u64, room: RoomId) -> Vec<Outgoing> {
        match self.couriers.get_mut(&room) {
            Some(desk) if !desk.sending => Self::send(desk, now_ms),
            _ => Vec::new(),
        }
    }

    pub(super) fn go_on(&mut self, now_ms: u64, room: RoomId) -> Vec<Outgoing> {
        self.couriers.get_mut(&room).map(|desk| Self::send(desk, now_ms)).unwrap_or_default()
    }

    fn send(desk: &mut Desk, now_ms: u64) -> Vec<Outgoing> {
        let outgoing = desk.courier.send(now_ms);
        desk.sending = !outgoing.is_empty();
        outgoing
    }

    pub(super) fn answered(
        &mut self,
        now_ms: u64,
        room: RoomId,
        ticket: Ticket,
        result: Result<Seq, Refused>,
    ) -> Option<Answered<Back>> {
        let desk = self.couriers.get_mut(&room)?;
        let answered = desk.courier.answered(now_ms, ticket, result);
        self.drop_if_idle(room);
        answered
    }

    /// The owners of these rooms cannot be reached.
    pub(super) fn pause(&mut self, now_ms: u64, which: impl Fn(RoomId) -> bool) {
        for (_, desk) in self.couriers.iter_mut().filter(|(room, _)| which(**room)) {
            desk.courier.pause(now_ms);
        }
    }

    /// These shards have another owner. Returns the rooms to which something is to be sent.
    pub(super) fn resume(&mut self, moved: impl Fn(Shard) -> bool) -> Vec<RoomId> {
        let moved = self.couriers.iter_mut().filter(|(room, _)| moved(Shard::of(**room)));
        moved
            .map(|(room, desk)| {
                desk.courier.resume();
                *room
            })
            .collect()
    }

    /// Time has passed: gives those back who waited for too long, and the rooms to which something is to be sent.
    pub(super) fn tick(&mut self, now_ms: u64) -> (Vec<Back>, Vec<RoomId>) {
        let (mut expired, mut due, mut idle) = (Vec::new(), Vec::new(), Vec::new());
        for (room, desk) in &mut self.couriers {
            expired.extend(desk.courier.tick(now_ms));
            match desk.courier.next_deadline() {
                Some(at_ms) if at_ms <= now_ms => due.push(*room),
                Some(_) => {}
                None => idle.push(*room),
            }
        }
        idle.into_iter().for_each(|room| self.drop_if_idle(room));
        (expired, due)
    }

    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.couriers.values().filter_map(|desk| desk.courier.next_deadline()).min()
    }

    fn drop_if_idle(&mut self, room: RoomId) {
        if self.couriers.get(&room).is_some_and(|desk| desk.courier.is_idle() && !desk.sending) {
            self.couriers.remove(&room);
        }
    }
}
