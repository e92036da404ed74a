//! A hub's connections: opened, written to, looked after once in a while, and closed.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use enfilade_proto::limits::{PING_MS, SILENCE_MS};
use enfilade_proto::{CloseCode, Codec, Head, Ping, Reconnecting};

use super::age::{Age, Due, Sight};
use super::connection::Connection;
use super::{ConnectionId, FAREWELL, Hub, Line, Opening};
use crate::edge::devices::Change;
use crate::edge::farewell::closing;
use crate::edge::frame;
use crate::edge::outgoing::STALLED_MS;

impl Hub {
    pub(crate) fn open(&mut self, opening: Opening) -> ConnectionId {
        let now_ms = self.now_ms();
        self.opened = self.opened.wrapping_add(1);
        let entry = self.connections.vacant_entry();
        // There are no more connections than file descriptors.
        let id = ConnectionId { key: entry.key() as u32, serial: self.opened };
        opening.line.heard_ms.set(now_ms);
        let expires_ms =
            opening.person.as_ref().and_then(|person| person.signed_in).map(|signed_in| signed_in.expires_ms);
        let age = Age::new(self.ends.connection_age_s, now_ms, id.serial);
        let connection = entry.insert(Box::new(Connection::new(id, opening, age)));
        let (device, login) = (connection.device(), connection.login());
        if let Some(expires_ms) = expires_ms {
            self.expire_at(id, expires_ms);
        }
        metrics::gauge!("enfilade_connections").increment(1);
        metrics::counter!("enfilade_hellos_total").increment(1);
        if let Some(device) = device {
            self.ends.device(device, Change::Opened);
        }
        self.wake_later(id);
        // Signed out between the look at the token and now.
        if login.is_some_and(|login| self.ends.people.is_revoked(login)) {
            self.close(id, CloseCode::SignedOut);
        }
        id
    }

    /// The access token holds until then, on the wall clock.
    pub(super) fn expire_at(&mut self, who: ConnectionId, wall_ms: u64) {
        let expires_ms = self.local_ms(wall_ms);
        if let Some(connection) = self.connection(who) {
            connection.expires_ms = expires_ms;
        }
    }

    pub(super) fn activity(&mut self, who: ConnectionId, active: bool) {
        let Some(connection) = self.connection(who) else { return };
        let before = std::mem::replace(&mut connection.active, active);
        if let Some(device) = connection.device().filter(|_| before != active) {
            self.ends.device(device, Change::Active(active));
        }
    }

    pub(super) fn connection(&mut self, who: ConnectionId) -> Option<&mut Connection> {
        self.connections.get_mut(who.key as usize).map(Box::as_mut).filter(|connection| connection.id == who)
    }

    /// The connection is gone.
    pub(crate) fn remove(&mut self, who: ConnectionId) {
        let Some(connection) = self.connection(who) else { return };
        // Whoever waits for a blocked socket would wait for ever.
        if connection.out.is_blocked() {
            shut_later(connection.line.clone());
        }
        for room in connection.room_ids() {
            self.leave(who, room, false);
        }
        let connection = self.connections.remove(who.key as usize);
        if let Some(who) = connection.device() {
            self.ends.device(who, Change::Closed { active: connection.active });
        }
        metrics::gauge!("enfilade_connections").decrement(1);
    }

    pub(crate) fn send(&mut self, to: ConnectionId, parts: &[Bytes]) {
        let now_ms = self.now_ms();
        let Some(connection) = self.connection(to) else { return };
        let written = connection.out.send(parts, &*connection.line, now_ms);
        self.after_write(to, written);
    }

    /// Says goodbye and closes.
    pub(crate) fn close(&mut self, who: ConnectionId, code: CloseCode) {
        let now_ms = self.now_ms();
        let Some(connection) = self.connection(who) else { return };
        let message = closing(connection.codec(), code, None);
        metrics::counter!("enfilade_closed_total", "reason" => code.reason()).increment(1);
        let _ = connection.out.send(&[message, frame::close(code)], &*connection.line, now_ms);
        self.hang_up(who);
    }

    /// Ends the connection from our side. Its reader then ends by itself.
    pub(super) fn hang_up(&mut self, who: ConnectionId) {
        let Some(connection) = self.connection(who) else { return };
        let line = connection.line.clone();
        let _ = socket2::SockRef::from(&line.socket).shutdown(std::net::Shutdown::Write);
        self.remove(who);
        shut_later(line);
    }

    pub(super) fn close_where(&mut self, code: CloseCode, which: impl Fn(&Connection) -> bool) {
        let which: Vec<ConnectionId> =
            self.connections.iter().filter(|(_, it)| which(it)).map(|(_, it)| it.id).collect();
        for who in which {
            self.close(who, code);
        }
    }

    pub(super) fn close_all(&mut self, code: CloseCode) -> usize {
        let count = self.connections.len();
        self.close_where(code, |_| true);
        count
    }

    /// The moments are spread evenly: a crowd that moves at once would be a storm elsewhere.
    pub(super) fn send_away(&mut self, spread: Duration) -> usize {
        let everybody: Vec<ConnectionId> = self.connections.iter().map(|(_, it)| it.id).collect();
        let step_ms = spread.as_millis() as u64 / (everybody.len() as u64).max(1);
        for (place, who) in everybody.iter().enumerate() {
            self.send_elsewhere(*who, place as u64 * step_ms);
        }
        metrics::counter!("enfilade_moves_total", "reason" => "drain").increment(everybody.len() as u64);
        everybody.len()
    }

    /// Tells a connection to open another one on another node after so long, and then to leave.
    fn send_elsewhere(&mut self, who: ConnectionId, after_ms: u64) {
        let Some(connection) = self.connections.get(who.key as usize) else { return };
        let resume = connection.person.as_ref().map(|person| self.ends.people.resume_token(person));
        let codec = connection.codec();
        let message = codec.encode(None, "reconnect", &Reconnecting { after_ms, resume });
        self.send(who, &[frame::message(codec == Codec::Json, &message)]);
    }

    // ---- once in a while ----------------------------------------------------------------------------------------

    /// Looks after connections that want attention now.
    pub(super) fn attend(&mut self) {
        for who in self.wheel.turn(self.now_ms()) {
            self.attend_to(who);
        }
    }

    fn attend_to(&mut self, who: ConnectionId) {
        let (now_ms, allowed) = (self.now_ms(), self.ends.allowances);
        let Some(connection) = self.connection(who) else { return };
        if now_ms >= connection.expires_ms {
            return self.close(who, CloseCode::TokenExpired);
        }
        if connection.silent_for(now_ms) >= SILENCE_MS {
            return self.close(who, CloseCode::Silent);
        }
        if connection.out.stalled_for(now_ms) >= STALLED_MS {
            metrics::counter!("enfilade_slow_total", "step" => "closed").increment(1);
            return self.close(who, CloseCode::TooSlow);
        }
        if connection.age.is_due(now_ms) && self.has_come_of_age(who) {
            return;
        }
        let Some(connection) = self.connection(who) else { return };
        if now_ms >= connection.ping_at_ms && !connection.out.is_blocked() {
            connection.ping_at_ms = now_ms + PING_MS;
            connection.pinged = true;
            connection.tidy(&allowed, now_ms);
            self.ping(who);
        }
        self.wake_later(who);
    }

    /// Sends somebody on who has been here for long. Returns whether that ended the connection.
    fn has_come_of_age(&mut self, who: ConnectionId) -> bool {
        let now_ms = self.now_ms();
        let (elsewhere, most_s) = (self.ends.cluster.has_other_edges(), self.ends.connection_age_s);
        let Some(connection) = self.connection(who) else { return true };
        let busy = connection.in_flight > 0 || connection.out.is_blocked();
        let sight = Sight { busy, drew_s: connection.drew_s, elsewhere };
        match connection.age.look(now_ms, sight, most_s) {
            Due::Nothing => false,
            Due::Tell => {
                metrics::counter!("enfilade_moves_total", "reason" => "age").increment(1);
                self.send_elsewhere(who, 0);
                false
            }
            Due::Close => {
                self.close(who, CloseCode::TooOld);
                true
            }
        }
    }

    fn wake_later(&mut self, who: ConnectionId) {
        let now_ms = self.now_ms();
        let Some(connection) = self.connection(who) else { return };
        if connection.ping_at_ms == 0 {
            // Spread, so that those who came together are not pinged together.
            connection.ping_at_ms = now_ms + PING_MS / 2 + (u64::from(who.serial) * 7_919) % (PING_MS / 2);
        }
        let silent_at_ms = now_ms + SILENCE_MS.saturating_sub(connection.silent_for(now_ms));
        let next = connection.ping_at_ms.min(silent_at_ms);
        let next = connection.age.due_ms().unwrap_or(next).min(connection.expires_ms).min(next);
        self.wheel.wake_at(next, who);
    }

    /// The heads are those up to which this connection has been sent everything.
    fn ping(&mut self, who: ConnectionId) {
        let Some(connection) = self.connections.get(who.key as usize) else { return };
        let codec = connection.codec();
        let pace = connection.pace();
        let told = connection.rooms().iter().filter(|joined| !joined.resetting).map(|joined| joined.room.id);
        let heads = told
            .filter_map(|room| {
                Some(Head { room, seq: self.rooms.get(&room)?.seats[pace as usize].cursor.seq })
            })
            .collect();
        let ping = codec.encode(None, "ping", &Ping { heads });
        self.send(who, &[frame::message(codec == Codec::Json, &ping)]);
    }
}

/// Closes a socket for good after a while, whoever still holds on to it. Its farewell has that long to arrive.
fn shut_later(line: Rc<Line>) {
    tokio::task::spawn_local(async move {
        tokio::time::sleep(FAREWELL).await;
        let _ = socket2::SockRef::from(&line.socket).shutdown(std::net::Shutdown::Both);
    });
}
