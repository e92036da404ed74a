//! A hub's rooms: who joins, leaves, starts over, and may still be there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use enfilade_actors::bus::Notice;
use enfilade_proto::{CloseCode, Codec, DisplayName, ErrorCode, Renamed, RoomId};

use super::connection::Joined;
use super::pace::Pace;
use super::unseen::Unseen;
use super::{Command, ConnectionId, Hub, HubRoom};
use crate::edge::entering::{Entered, role_as};
use crate::edge::mirror::Cursor;
use crate::edge::{Ends, frame, joined};
use crate::people::{self, Admission, Visitor};

/// How often and how quickly a database that does not answer is asked again who may be in a room.
const LOOKS: u32 = 40;
const LOOK_AGAIN: Duration = Duration::from_millis(500);

impl Hub {
    pub(crate) fn join(&mut self, who: ConnectionId, entered: Entered) {
        let index = self.index;
        let Entered { room, came, role, visitor, frames, cursor, access_changes } = entered;
        let id = room.id;
        self.figures.joins.increment(1);
        let Some(connection) = self.connections.get_mut(who.key as usize).filter(|it| it.id == who) else {
            // It hung up meanwhile.
            return room.leave(index, came);
        };
        let pace = connection.pace();
        let entry = self.rooms.entry(id).or_insert_with(|| HubRoom::new(room.clone(), cursor));
        // A room that was given up and taken up again has a new mirror.
        if !Arc::ptr_eq(&entry.room, &room) {
            entry.room = room.clone();
            entry.seats.iter_mut().for_each(|seats| seats.cursor = cursor);
        }
        let seats = &mut entry.seats[pace as usize];
        if seats.is_empty() {
            seats.cursor = cursor;
        }
        match connection.joined_mut(id) {
            Some(joined) => {
                seats.start_over(joined.seat);
                (joined.role, joined.link, joined.resetting) = (role, visitor.link, false);
                let before = std::mem::replace(&mut joined.room, room);
                before.leave(index, came);
            }
            None => {
                let seat = seats.sit(connection.line.clone(), who.key, connection.codec());
                let link = visitor.link;
                connection.enter(Joined { room, role, link, seat, drew: false, resetting: false });
            }
        }
        self.begin_at(who, id, &frames, cursor);
        // The hub may have been told of news before it had the room.
        self.flush_at(self.now_ms(), id, pace);
        // Somebody's access was taken away between the look at it and now.
        if access_changes != self.ends.access_changes() {
            self.recheck(id);
        }
    }

    pub(super) fn reset(&mut self, who: ConnectionId, room: RoomId, frames: &[Bytes], cursor: Cursor) {
        let Some(connection) = self.connection(who) else { return };
        let pace = connection.pace();
        let Some(joined) = connection.joined_mut(room) else { return };
        // Unless it joined anew meanwhile.
        if !std::mem::replace(&mut joined.resetting, false) {
            return;
        }
        let seat = joined.seat;
        metrics::counter!("enfilade_slow_total", "step" => "reset").increment(1);
        if let Some(entry) = self.rooms.get_mut(&room) {
            entry.seats[pace as usize].start_over(seat);
        }
        self.begin_at(who, room, frames, cursor);
    }

    /// Tells a connection where a room stood at `cursor`, and brings it to where the hub is.
    fn begin_at(&mut self, who: ConnectionId, room: RoomId, frames: &[Bytes], cursor: Cursor) {
        if let Some(connection) = self.connection(who) {
            connection.out.forget_room(room);
        }
        self.send(who, frames);
        self.told(who, room, cursor);
    }

    pub(super) fn start_reset(&mut self, who: ConnectionId, id: RoomId) {
        let Some(connection) = self.connection(who) else { return };
        let reads = connection.reads();
        let Some(joined) = connection.joined_mut(id) else { return };
        if std::mem::replace(&mut joined.resetting, true) {
            return;
        }
        let (room, handle) = (joined.room.clone(), self.handle.clone());
        tokio::spawn(async move {
            let command = match room.reset(reads).await {
                Ok(joining) => {
                    let frames = joined::reset_frames(reads.codec, id, &joining);
                    Command::Reset { who, room: id, frames, cursor: joining.cursor }
                }
                Err(_) => Command::Close { who, code: CloseCode::StateInvalid },
            };
            handle.tell(command).await;
        });
    }

    pub(super) fn leave(&mut self, who: ConnectionId, room: RoomId, left: bool) {
        let index = self.index;
        let Some(connection) = self.connection(who) else { return };
        let (pace, client, writer) = (connection.pace(), connection.client(), connection.writer());
        let came = connection.came();
        connection.out.forget_room(room);
        let Some(joined) = connection.leave(room) else { return };
        // What it signalled just now comes before its farewell.
        let pending = self.rooms.get(&room).map_or(&[][..], |entry| &entry.signals);
        if pending.iter().any(|signal| signal.client == client) {
            self.send_signals_at_once(room);
        }
        if let Some(writer) = writer.filter(|_| joined.drew) {
            self.ends.cluster.notify(room, Notice::WriterGone { writer, left });
        }
        joined.room.leave(index, came);
        if let Some(entry) = self.rooms.get_mut(&room) {
            entry.seats[pace as usize].stand_up(joined.seat);
            if entry.seats[Pace::Member as usize].is_empty() {
                // Nobody is told any more; whoever comes next is none of those who would have been.
                entry.unseen = Unseen::default();
            }
            if entry.is_empty() {
                self.send_signals_at_once(room);
                self.rooms.remove(&room);
            }
        }
    }

    /// Looks whether those who are in a room still may be.
    pub(super) fn recheck(&self, room: RoomId) {
        let Some(entry) = self.rooms.get(&room) else { return };
        let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for key in entry.connections() {
            let Some(connection) = self.connections.get(key as usize) else { continue };
            let Some(joined) = connection.joined(room) else { continue };
            let visitor = connection.visitor(joined);
            let with = (visitor.member, visitor.link.map(|link| link.0));
            let member = (connection.id, connection.audience, joined.role, visitor);
            groups.entry(with).or_default().push(member);
        }
        let (ends, handle) = (self.ends.clone(), self.handle.clone());
        tokio::spawn(async move {
            for members in groups.into_values() {
                let Some((_, _, _, visitor)) = members.first() else { continue };
                let now = look_again(&ends, room, visitor).await;
                for (who, audience, role, _) in members {
                    let code = match &now {
                        Ok(admission) if role_as(admission.role, audience) == role => continue,
                        Ok(_) => CloseCode::StateInvalid,
                        Err(error) if matches!(error.code, ErrorCode::Busy | ErrorCode::Internal) => {
                            CloseCode::StateInvalid
                        }
                        Err(_) => CloseCode::AccessRevoked,
                    };
                    handle.tell(Command::Close { who, code }).await;
                }
            }
        });
    }

    pub(super) fn rename(&mut self, room: RoomId, title: &DisplayName) {
        let Some(entry) = self.rooms.get(&room) else { return };
        let renamed = Renamed { room, title: title.clone() };
        let write =
            |codec: Codec| frame::message(codec == Codec::Json, &codec.encode(None, "renamed", &renamed));
        let [json, msgpack] = [Codec::Json, Codec::MessagePack].map(write);
        for key in entry.connections().collect::<Vec<_>>() {
            let Some(connection) = self.connections.get(key as usize) else { continue };
            let bytes = if connection.codec() == Codec::Json { &json } else { &msgpack };
            self.send(connection.id, std::slice::from_ref(bytes));
        }
    }
}

/// What somebody may do in a room now. A database that is away for a moment must not cost anybody their connection.
async fn look_again(ends: &Ends, room: RoomId, visitor: &Visitor) -> Result<Admission, people::Refusal> {
    let mut attempts = 0;
    loop {
        let now = ends.people.access(room, visitor).await;
        let away = matches!(&now, Err(error) if matches!(error.code, ErrorCode::Busy | ErrorCode::Internal));
        if !away || attempts == LOOKS {
            return now;
        }
        attempts += 1;
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
