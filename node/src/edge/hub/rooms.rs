//! A hub's rooms: who joins, leaves, starts over, and may still be there.

use super::*;
use crate::people::{self, Admission, Visitor};

/// How often and how quickly a database that does not answer is asked again who may be in a room.
const LOOKS: u32 = 40;
const LOOK_AGAIN: Duration = Duration::from_millis(500);

impl Hub {
    pub(super) async fn join(
        &mut self,
        who: ConnectionId,
        membership: Membership,
        frames: &[Bytes],
        cursor: Cursor,
    ) {
        let (index, now_ms) = (self.index, self.now_ms());
        let room = membership.room.clone();
        let Some(connection) = self.connection(who) else {
            // It hung up meanwhile.
            return room.leave(index, membership.user);
        };
        let again = connection.join(membership);
        let entry = self.rooms.entry(room.id).or_insert_with(|| HubRoom {
            room: room.clone(),
            members: Vec::new(),
            cursor,
            flushed_ms: now_ms.saturating_sub(TICK_MS),
            signals: Vec::new(),
            signalled_ms: now_ms.saturating_sub(TICK_MS),
        });
        // A room that was given up and taken up again has a new mirror.
        if !Arc::ptr_eq(&entry.room, &room) {
            entry.room = room.clone();
            entry.cursor = cursor;
        }
        match again {
            Some(before) => before.room.leave(index, before.user),
            None => entry.members.push(who.key),
        }
        self.settle(who, room.id, frames, cursor).await;
    }

    pub(super) async fn reset(&mut self, who: ConnectionId, room: RoomId, frames: &[Bytes], cursor: Cursor) {
        if !self.connection(who).is_some_and(|connection| connection.end_reset(room)) {
            return;
        }
        metrics::counter!("enfilade_slow_total", "step" => "reset").increment(1);
        self.settle(who, room, frames, cursor).await;
    }

    /// Tells a connection where a room stood at `cursor`, and brings it to where the hub is.
    pub(super) async fn settle(&mut self, who: ConnectionId, room: RoomId, frames: &[Bytes], cursor: Cursor) {
        // First the others (the joiner is passed over while it is `settling`), so that the hub is not behind the joiner.
        if let Some(connection) = self.connection(who) {
            connection.out.forget_room(room);
            connection.settling = Some(room);
        }
        self.flush(room).await;
        if let Some(connection) = self.connection(who) {
            connection.settling = None;
        }
        self.send(who, frames);
        let now = self.rooms.get(&room).map(|room| room.cursor);
        let Some(connection) = self.connection(who) else { return };
        if now.is_some_and(|now| now != cursor) {
            connection.out.is_late(room, cursor);
            if !connection.out.is_blocked() {
                self.catch_up(who);
            }
        }
    }

    pub(super) fn start_reset(&mut self, who: ConnectionId, room: RoomId, codec: Codec) {
        let Some(connection) = self.connection(who) else { return };
        if !connection.begin_reset(room) {
            return;
        }
        let Some(room) = self.rooms.get(&room).map(|room| room.room.clone()) else { return };
        let handle = self.handle.clone();
        tokio::spawn(async move {
            let command = match room.reset(codec).await {
                Ok(joining) => {
                    let frames = joined::reset_frames(codec, room.id, &joining).await;
                    Command::Reset { who, room: room.id, frames, cursor: joining.cursor }
                }
                Err(_) => Command::Close { who, code: CloseCode::StateInvalid },
            };
            handle.tell(command).await;
        });
    }

    pub(super) fn leave(&mut self, who: ConnectionId, room: RoomId, left: bool) {
        let index = self.index;
        // What it signalled just now comes before its farewell.
        self.send_signals(room);
        let Some(connection) = self.connection(who) else { return };
        connection.out.forget_room(room);
        let Some((membership, drew)) = connection.leave(room) else { return };
        if drew {
            let gone = Notice::WriterGone { writer: connection.writer(), left };
            self.ends.cluster.notify(room, gone);
        }
        membership.room.leave(index, membership.user);
        if let Some(entry) = self.rooms.get_mut(&room) {
            entry.members.retain(|member| *member != who.key);
            if entry.members.is_empty() {
                self.rooms.remove(&room);
            }
        }
    }

    /// Looks whether those who are in a room still may be.
    pub(super) fn recheck(&self, room: RoomId) {
        let Some(entry) = self.rooms.get(&room) else { return };
        let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for member in &entry.members {
            let Some(connection) = self.connections.get(*member) else { continue };
            let Some(membership) = connection.membership(room) else { continue };
            let key = (membership.visitor.member, membership.visitor.link.map(|link| link.0));
            groups.entry(key).or_default().push((connection.id, membership.role, membership.visitor));
        }
        let (ends, handle) = (self.ends.clone(), self.handle.clone());
        tokio::spawn(async move {
            for members in groups.into_values() {
                let Some((_, _, visitor)) = members.first() else { continue };
                let now = look_again(&ends, room, visitor).await;
                for (who, role, _) in members {
                    let code = match &now {
                        Ok(admission) if admission.role == role => continue,
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
        let members = self.rooms.get(&room).map(|entry| entry.members.clone()).unwrap_or_default();
        let renamed = Renamed { room, title: title.clone() };
        for member in members {
            let Some(connection) = self.connections.get(member) else { continue };
            let (who, codec) = (connection.id, connection.codec);
            let message = codec.encode(None, "renamed", &renamed);
            self.send(who, &[frame::message(codec == Codec::Json, &message)]);
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
