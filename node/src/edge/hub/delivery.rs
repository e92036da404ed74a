//! Delivery: what came in a room goes to all of its members, in as few writes as can be.

use super::*;

impl Hub {
    pub(super) fn signal(&mut self, from: ConnectionId, room: RoomId, signal: SignalOut) {
        let now_ms = self.now_ms();
        let Some(entry) = self.rooms.get_mut(&room) else { return };
        self.due.insert((now_ms.max(entry.signalled_ms + TICK_MS), room));
        let full = entry.signals.len() >= SIGNALS;
        let earlier = entry.signals.iter_mut().find(|it| same_signal(it, &signal));
        if earlier.is_none() && full {
            metrics::counter!("enfilade_signals_dropped_total").increment(1);
            return;
        }
        if let Some(connection) =
            self.connections.get_mut(from.key).filter(|connection| connection.id == from)
        {
            connection.drew(room, &signal.key);
        }
        match earlier {
            Some(earlier) => {
                metrics::counter!("enfilade_signals_conflated_total").increment(1);
                *earlier = signal;
            }
            None => entry.signals.push(signal),
        }
    }

    pub(super) async fn deliver(&mut self) {
        let now_ms = self.now_ms();
        for room in self.handle.take_news() {
            if let Some(entry) = self.rooms.get(&room) {
                self.due.insert((now_ms.max(entry.flushed_ms + TICK_MS), room));
            }
        }
        while let Some((_, room)) = self.due.first().copied().filter(|(at, _)| *at <= now_ms) {
            self.due.pop_first();
            self.send_signals(room);
            self.flush(room).await;
        }
    }

    pub(super) fn send_signals(&mut self, id: RoomId) {
        let now_ms = self.now_ms();
        let Some(entry) = self.rooms.get_mut(&id) else { return };
        if entry.signals.is_empty() {
            return;
        }
        let signals = std::mem::take(&mut entry.signals);
        entry.signalled_ms = now_ms;
        for signal in signals.iter().filter(|signal| entry.room.owner_hears(&signal.key)) {
            self.ends.cluster.notify(id, Notice::Signal(signal.clone()));
        }
        metrics::counter!("enfilade_signals_total").increment(signals.len() as u64);
        entry.room.send_signals(signals);
    }

    /// Sends everybody in a room what came since the last time.
    pub(super) async fn flush(&mut self, id: RoomId) {
        let (index, now_ms) = (self.index, self.now_ms());
        let Some(entry) = self.rooms.get_mut(&id) else { return };
        let before = entry.cursor;
        let news = entry.room.news_for_hub(index, &mut entry.cursor);
        if news.is_empty() {
            return;
        }
        entry.flushed_ms = now_ms;
        let mut written = Frames::default();
        let mut sent = 0u64;
        // By index: the list changes only when a connection that is gone is removed, and then by this loop.
        let mut next = 0;
        while let Some(key) = self.rooms.get(&id).and_then(|entry| entry.members.get(next).copied()) {
            next += 1;
            let Some(connection) = self.connections.get_mut(key) else { continue };
            if connection.settling == Some(id) || connection.is_resetting(id) {
                continue;
            }
            let who = connection.id;
            if news.behind {
                let codec = connection.codec;
                self.start_reset(who, id, codec);
                continue;
            }
            let spared = news.has_signals() && !connection.out.takes_signals(now_ms);
            if spared {
                metrics::counter!("enfilade_slow_total", "step" => "signals_dropped").increment(1);
            }
            let want = if spared { Want::NoSignals } else { Want::Everything };
            let Some(bytes) = written.get(connection.codec, want, |codec| news.frames(codec, want)) else {
                continue;
            };
            let was_blocked = connection.out.is_blocked();
            let result = connection.out.send_news(id, before, &bytes, &*connection.socket, now_ms);
            sent += u64::from(result == Written::Done);
            if result == Written::Gone {
                // Removing it moves the last ones of the list forward; look at this place again.
                next -= 1;
            }
            self.after_write(who, result, was_blocked);
            if next.is_multiple_of(CHUNK) {
                tokio::task::yield_now().await;
            }
        }
        metrics::counter!("enfilade_deliveries_total").increment(sent);
    }
}

/// Whether one of these takes the place of the other.
fn same_signal(one: &SignalOut, other: &SignalOut) -> bool {
    one.client == other.client && one.author == other.author && one.key == other.key
}

/// The bytes of one flush, per codec and want, written when somebody needs them.
#[derive(Default)]
struct Frames([Option<Option<Bytes>>; 4]);

impl Frames {
    fn get(&mut self, codec: Codec, want: Want, write: impl FnOnce(Codec) -> Option<Bytes>) -> Option<Bytes> {
        let slot = usize::from(codec == Codec::Json) * 2 + usize::from(want == Want::Everything);
        self.0[slot].get_or_insert_with(|| write(codec)).clone()
    }
}
