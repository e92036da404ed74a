//! Sockets that cannot be written to for a while: watched, resumed, caught up with.

use std::rc::Rc;

use enfilade_proto::RoomId;

use super::{ConnectionId, Hub};
use crate::edge::mirror::{Cursor, Want};
use crate::edge::outgoing::Written;

impl Hub {
    pub(super) fn after_write(&mut self, who: ConnectionId, written: Written) {
        match written {
            Written::Done => {}
            Written::Blocked => self.watch(who),
            Written::Gone => self.hang_up(who),
            Written::Overflow => {
                metrics::counter!("enfilade_slow_total", "step" => "closed").increment(1);
                self.close(who, enfilade_proto::CloseCode::TooSlow);
            }
        }
    }

    /// Waits until the socket can be written again. Only a blocked connection has such a task.
    fn watch(&mut self, who: ConnectionId) {
        let Some(desk) = self.desk.upgrade() else { return };
        let Some(connection) = self.connection(who) else { return };
        if !connection.out.begin_watch() {
            return;
        }
        let line = Rc::downgrade(&connection.line);
        self.sit_aside(who);
        tokio::task::spawn_local(async move {
            let Some(line) = line.upgrade() else { return };
            let _ = line.socket.writable().await;
            desk.with(|hub| hub.writable(who));
        });
    }

    fn writable(&mut self, who: ConnectionId) {
        let now_ms = self.now_ms();
        let Some(connection) = self.connection(who) else { return };
        let written = connection.out.resume(&*connection.line, now_ms);
        self.after_write(who, written);
        if written != Written::Done {
            return;
        }
        metrics::counter!("enfilade_slow_total", "step" => "caught_up").increment(1);
        let late = self.connection(who).map(|connection| connection.out.late_rooms()).unwrap_or_default();
        for room in late {
            self.catch_up(who, room);
        }
    }

    /// Sends a connection what it was not told of a room, up to where the others are.
    pub(super) fn catch_up(&mut self, who: ConnectionId, id: RoomId) {
        let now_ms = self.now_ms();
        let Some(connection) = self.connection(who).filter(|connection| !connection.out.is_blocked()) else {
            return;
        };
        let (codec, pace) = (connection.codec(), connection.pace());
        let Some(after) = connection.out.late(id) else { return };
        let Some(entry) = self.rooms.get(&id) else { return };
        let until = entry.seats[pace as usize].cursor;
        if after.is_ahead_of(until) {
            // It came in when the mirror had more than this hub has told the others: they are about to be told.
            return;
        }
        let news = entry.room.news_until(after, until);
        if news.behind {
            return self.start_reset(who, id);
        }
        let Some(connection) = self.connection(who) else { return };
        connection.out.forget_room(id);
        if let Some(bytes) = news.frames(codec, Want::NoSignals) {
            let written = connection.out.send_news(id, after, &bytes, &*connection.line, now_ms);
            self.after_write(who, written);
        }
        self.sit_plainly(who, id);
    }

    /// A connection was told of a room up to `told`, the others up to wherever the hub is.
    pub(super) fn told(&mut self, who: ConnectionId, id: RoomId, told: Cursor) {
        let Some(connection) = self.connection(who) else { return };
        let pace = connection.pace();
        let Some(entry) = self.rooms.get(&id) else { return };
        let others = entry.seats[pace as usize].cursor;
        if told != others
            && let Some(connection) = self.connection(who)
        {
            connection.out.is_late(id, told);
            self.catch_up(who, id);
        }
        self.sit_plainly(who, id);
    }
}
