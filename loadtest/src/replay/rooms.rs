//! The rooms of a replay: opened before it, judged after it.

use std::sync::{Arc, Mutex};

use super::outcome::RoomState;
use super::{Options, ReplayError, RoomChoice, Shared};
use crate::clock::Micros;
use crate::http;
use crate::journal::{Entry, Journal, ShownState};
use crate::latency::Latencies;
use crate::mix::Mix;
use crate::oracle::Violations;
use crate::room::{Counts, Room};
use crate::target::Target;

pub(super) async fn open_rooms(
    mix: &Mix,
    options: &Options,
    times: &Arc<Mutex<Latencies>>,
    journal: Option<&Arc<Journal>>,
) -> Result<Vec<Shared>, ReplayError> {
    let mut rooms = Vec::new();
    for i in 0..options.rooms.count() {
        let (id, link) = match &options.rooms {
            RoomChoice::Existing { room, link } => (*room, link.clone()),
            RoomChoice::Fresh(_) => {
                let title: String = mix.title().as_deref().unwrap_or("Replay").chars().take(50).collect();
                let title = format!("{title} {}", i + 1);
                let create = async |target: &Target| http::create_board(target, &title).await;
                let created = http::any(&options.targets, create).await?;
                (created.id, created.link)
            }
        };
        if let Some(journal) = journal {
            let alone = matches!(options.rooms, RoomChoice::Fresh(_));
            journal.note(0, Entry::Room { room: id, link: link.clone(), alone });
        }
        rooms.push(Arc::new(Mutex::new(Room::new(id, link, times.clone(), journal.cloned()))));
    }
    Ok(rooms)
}

pub(super) fn judge(
    now: Micros,
    room: &mut Room,
    counts: &mut Counts,
    violations: &mut Violations,
) -> RoomState {
    room.finish_times();
    let result = room.oracle.finish();
    let (id, state) = (room.id, ShownState { seq: result.seq, hash: result.hash });
    room.note(now, || Entry::State { room: id, state });
    counts.merge(&room.counts);
    violations.merge(std::mem::take(&mut room.oracle.violations));
    RoomState { room: room.id.to_string(), seq: result.seq.0, state_hash: result.hash }
}
