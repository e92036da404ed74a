//! `check`: audits what a server has on record against the journals of replays, usually after it crashed.

use std::collections::BTreeMap;

use enfilade_proto::{ClientId, OpId, RoomId, Seq};

use crate::audit::{Audit, Findings};
use crate::http::{self, ApiError};
use crate::journal::Line;
use crate::target::Target;

/// What was promised of one room, and how to get in.
#[derive(Debug, Default)]
pub struct Promises {
    pub link: Option<String>,
    pub accepted: Vec<(ClientId, OpId, Seq)>,
}

/// Sorts the lines of journals by room.
#[must_use]
pub fn by_room(lines: impl IntoIterator<Item = Line>) -> BTreeMap<RoomId, Promises> {
    let mut rooms: BTreeMap<RoomId, Promises> = BTreeMap::new();
    for line in lines {
        match line {
            Line::Room { room, link } => rooms.entry(room).or_default().link = link,
            Line::Accepted(line) => {
                rooms.entry(line.room).or_default().accepted.push((line.client, line.op_id, line.seq));
            }
        }
    }
    rooms
}

/// Reads the whole record of a room and compares it with what was promised and with the board that is shown.
///
/// # Errors
/// When the server cannot be reached or does not give it out.
pub async fn check_room(target: &Target, room: RoomId, promises: Promises) -> Result<Findings, ApiError> {
    let link = promises.link.as_deref();
    let shown = http::snapshot(target, room, link).await?;
    let mut audit = Audit::new(promises.accepted, &shown.snapshot);
    loop {
        let page = http::history(target, room, link, audit.applied()).await?;
        if !audit.page(page.first_seq, &page.ops) {
            return Ok(audit.finish());
        }
    }
}
