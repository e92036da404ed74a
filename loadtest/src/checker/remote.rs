//! Brings facts from a running server: the whole history of a room and the board that it shows now, over the HTTP API that
//! everybody has. It does not tell epochs.

use enfilade_proto::{RoomId, Seq};

use super::LogScan;
use crate::export::{Checkpoint, Row};
use crate::http::{self, ApiError};
use crate::journal::Moment;
use crate::replica::StateHash;
use crate::target::Target;

/// # Errors
/// When the server cannot be reached or does not give the room out.
pub async fn scan_room(
    scan: &mut LogScan,
    target: &Target,
    room: RoomId,
    link: Option<&str>,
) -> Result<(), ApiError> {
    // First the board: the history, read afterwards, must go at least as far.
    let shown = http::snapshot(target, room, link).await?;
    let elements = shown.snapshot.elements.as_ref().map_or(&[][..], |elements| &elements.0);
    let hash = Some(StateHash::of(elements));
    let from = Moment { file: Some(target.to_string().into()), ..Moment::default() };
    let mut after = Seq(0);
    loop {
        let page = http::history(target, room, link, after).await?;
        if page.ops.is_empty() {
            break;
        }
        let row = Row::new(room, None, page.first_seq, page.ops);
        scan.row(&from, &row);
        // A page that leads back would be read for ever; the scan has noticed.
        if row.last <= after {
            break;
        }
        after = row.last;
    }
    scan.checkpoint(&from, &Checkpoint { room, seq: shown.snapshot.seq, epoch: None, hash });
    scan.has_all_of(Some(&[room].into()));
    Ok(())
}
