//! A hub's connections: opened, written to, looked after once in a while, and closed.

use super::*;

impl Hub {
    pub(super) fn open(&mut self, opening: Opening) -> ConnectionId {
        self.opened += 1;
        let entry = self.connections.vacant_entry();
        let id = ConnectionId { key: entry.key(), serial: self.opened };
        entry.insert(Connection::new(id, opening));
        let expires_ms = self.connections[id.key].login_expires_ms().map(|at| self.local_ms(at));
        self.connections[id.key].expires_ms = expires_ms;
        metrics::gauge!("enfilade_connections").increment(1);
        if let Some(who) = self.connections[id.key].device() {
            self.ends.device(who, Change::Opened);
        }
        self.wake_later(id);
        // Signed out between the look at the token and now.
        if self.connections[id.key].login().is_some_and(|login| self.ends.people.is_revoked(login)) {
            self.close(id, CloseCode::SignedOut);
        }
        id
    }

    pub(super) fn activity(&mut self, who: ConnectionId, active: bool) {
        let Some(connection) = self.connection(who) else { return };
        let before = std::mem::replace(&mut connection.active, active);
        if let Some(who) = connection.device().filter(|_| before != active) {
            self.ends.device(who, Change::Active(active));
        }
    }

    /// A time of the wall clock on the hub's own, which never jumps.
    pub(super) fn local_ms(&self, wall_ms: u64) -> u64 {
        self.now_ms() + wall_ms.saturating_sub(self.ends.clock.now_ms())
    }

    pub(super) fn connection(&mut self, who: ConnectionId) -> Option<&mut Connection> {
        self.connections.get_mut(who.key).filter(|connection| connection.id == who)
    }

    pub(super) fn remove(&mut self, who: ConnectionId) {
        let Some(connection) = self.connection(who) else { return };
        // Whoever waits for a blocked socket would wait for ever.
        if connection.out.is_blocked() {
            shut_later(connection.socket.clone());
        }
        for room in connection.rooms() {
            self.leave(who, room, false);
        }
        let connection = self.connections.remove(who.key);
        if let Some(who) = connection.device() {
            self.ends.device(who, Change::Closed { active: connection.active });
        }
        metrics::gauge!("enfilade_connections").decrement(1);
    }

    pub(super) fn send(&mut self, to: ConnectionId, parts: &[Bytes]) {
        let now_ms = self.now_ms();
        let Some(connection) = self.connection(to) else { return };
        let was_blocked = connection.out.is_blocked();
        let written = connection.out.send(parts, &*connection.socket, now_ms);
        self.after_write(to, written, was_blocked);
    }

    pub(super) fn after_write(&mut self, who: ConnectionId, written: Written, was_blocked: bool) {
        match written {
            Written::Done => {}
            Written::Blocked if was_blocked => {}
            Written::Blocked => self.watch(who),
            Written::Gone => self.hang_up(who),
            Written::Overflow => {
                metrics::counter!("enfilade_slow_total", "step" => "closed").increment(1);
                self.close(who, CloseCode::TooSlow);
            }
        }
    }

    /// Waits, outside, until the socket can be written again. Only a blocked connection has such a task.
    pub(super) fn watch(&mut self, who: ConnectionId) {
        let handle = self.handle.clone();
        let Some(connection) = self.connection(who) else { return };
        let socket = connection.socket.clone();
        tokio::spawn(async move {
            let _ = socket.writable().await;
            handle.tell(Command::Writable(who)).await;
        });
    }

    pub(super) fn writable(&mut self, who: ConnectionId) {
        let now_ms = self.now_ms();
        let Some(connection) = self.connection(who) else { return };
        match connection.out.resume(&*connection.socket, now_ms) {
            Written::Done => {
                metrics::counter!("enfilade_slow_total", "step" => "caught_up").increment(1);
                self.catch_up(who);
            }
            written => self.after_write(who, written, false),
        }
    }

    /// Sends a connection what it missed while it was blocked.
    pub(super) fn catch_up(&mut self, who: ConnectionId) {
        let now_ms = self.now_ms();
        loop {
            let Some(connection) = self.connection(who) else { return };
            if connection.out.is_blocked() {
                return;
            }
            let Some((id, after)) = connection.out.take_late() else { return };
            let codec = connection.codec;
            let Some(room) = self.rooms.get(&id) else { continue };
            let news = room.room.news_until(after, room.cursor);
            if news.behind {
                self.start_reset(who, id, codec);
                continue;
            }
            let Some(bytes) = news.frames(codec, Want::NoSignals) else { continue };
            let Some(connection) = self.connection(who) else { return };
            let written = connection.out.send_news(id, after, &bytes, &*connection.socket, now_ms);
            self.after_write(who, written, false);
        }
    }

    /// Says goodbye and closes.
    pub(super) fn close(&mut self, who: ConnectionId, code: CloseCode) {
        let Some(connection) = self.connection(who) else { return };
        let farewell = Closing { code: code.code(), reason: code.reason().to_owned() };
        let codec = connection.codec;
        let message = frame::message(codec == Codec::Json, &codec.encode(None, "closing", &farewell));
        metrics::counter!("enfilade_closed_total", "reason" => code.reason()).increment(1);
        connection.pulse.close();
        self.send_last(who, &[message, frame::close(code)]);
        self.hang_up(who);
    }

    pub(super) fn send_last(&mut self, who: ConnectionId, parts: &[Bytes]) {
        let now_ms = self.now_ms();
        if let Some(connection) = self.connection(who) {
            let _ = connection.out.send(parts, &*connection.socket, now_ms);
        }
    }

    /// Ends the connection from our side. Its reader then ends by itself.
    pub(super) fn hang_up(&mut self, who: ConnectionId) {
        let Some(connection) = self.connection(who) else { return };
        let socket = connection.socket.clone();
        let _ = socket2::SockRef::from(&*socket).shutdown(std::net::Shutdown::Write);
        self.remove(who);
        shut_later(socket);
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
            let Some(connection) = self.connections.get(who.key) else { continue };
            let resume = self.ends.people.resume_token(connection.principal());
            let reconnect = Reconnecting { after_ms: place as u64 * step_ms, resume };
            let codec = connection.codec;
            let message = codec.encode(None, "reconnect", &reconnect);
            self.send(*who, &[frame::message(codec == Codec::Json, &message)]);
        }
        everybody.len()
    }

    // ---- once a second ----------------------------------------------------------------------------------------

    /// Looks after connections that want attention now.
    pub(super) fn attend(&mut self) {
        let second = self.now_ms() / 1_000;
        for who in self.wheel.turn(second) {
            self.attend_to(who);
        }
    }

    pub(super) fn attend_to(&mut self, who: ConnectionId) {
        let now_ms = self.now_ms();
        let wall_ms = self.ends.clock.now_ms();
        let Some(connection) = self.connection(who) else { return };
        if connection.expires_ms.is_some_and(|at| now_ms >= at) {
            return self.close(who, CloseCode::TokenExpired);
        }
        if connection.silent_for(wall_ms) >= SILENCE_MS {
            return self.close(who, CloseCode::Silent);
        }
        if connection.out.stalled_for(now_ms) >= STALLED_MS {
            metrics::counter!("enfilade_slow_total", "step" => "closed").increment(1);
            return self.close(who, CloseCode::TooSlow);
        }
        if now_ms >= connection.ping_at_ms && !connection.out.is_blocked() {
            connection.ping_at_ms = now_ms + PING_MS;
            self.ping(who);
        }
        self.wake_later(who);
    }

    pub(super) fn wake_later(&mut self, who: ConnectionId) {
        let now_ms = self.now_ms();
        let wall_ms = self.ends.clock.now_ms();
        let Some(connection) = self.connection(who) else { return };
        if connection.ping_at_ms == 0 {
            // Spread, so that those who came together are not pinged together.
            connection.ping_at_ms = now_ms + PING_MS / 2 + (who.serial * 7_919) % (PING_MS / 2);
        }
        let silent_at_ms = now_ms + SILENCE_MS.saturating_sub(connection.silent_for(wall_ms));
        let next = connection.ping_at_ms.min(silent_at_ms);
        let next = connection.expires_ms.map_or(next, |at| at.min(next));
        self.wheel.wake_at(next.div_ceil(1_000), who);
    }

    /// The heads are those up to which this connection has been sent everything.
    pub(super) fn ping(&mut self, who: ConnectionId) {
        let Some(connection) = self.connections.get(who.key) else { return };
        let codec = connection.codec;
        let heads = connection
            .rooms()
            .into_iter()
            .filter(|room| !connection.is_resetting(*room))
            .filter_map(|room| self.rooms.get(&room).map(|entry| Head { room, seq: entry.cursor.seq }))
            .collect();
        let ping = codec.encode(None, "ping", &Ping { heads });
        self.send(who, &[frame::message(codec == Codec::Json, &ping)]);
    }
}

/// Closes a socket for good after a while, whoever still holds on to it. Its farewell has that long to arrive.
fn shut_later(socket: Arc<TcpStream>) {
    tokio::spawn(async move {
        tokio::time::sleep(FAREWELL).await;
        let _ = socket2::SockRef::from(&*socket).shutdown(std::net::Shutdown::Both);
    });
}
