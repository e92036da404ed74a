//! HAR files with WebSocket messages, as Chrome's developer tools and Playwright write them, made into a session: every
//! page that spoke to us is a person, what it sent is what the person does.
//!
//! Several pages in a file, and several files, are several people in one room. Whoever was in the room without a page
//! in the files is there too, as far as the pages were shown what they did.

mod file;
mod room;
mod timeline;
mod unpack;

use std::io;

use enfilade_proto::RoomId;

pub use self::file::Har;
use self::room::RoomStory;
use self::timeline::Timeline;
use super::{Imported, TooMuch};

#[derive(Debug, thiserror::Error)]
pub enum HarError {
    #[error("cannot read the HAR: {0}")]
    Io(#[from] io::Error),
    #[error("not a HAR file: {0}")]
    NotHar(String),
    #[error("the HAR is larger than {} MiB", file::MAX_BYTES >> 20)]
    TooLarge,
    #[error(
        "the HAR has {sockets} WebSockets, but none of their messages; Playwright writes them with recordHar and \
         content \"embed\", Chrome's developer tools with \"Export HAR\" if they were open from the beginning"
    )]
    NoMessages { sockets: usize },
    #[error("the messages in the HAR have no times; Playwright leaves them out in the mode \"minimal\"")]
    NoTimes,
    #[error("the HAR has {sockets} WebSockets with messages, but none that begins with a hello to Enfilade")]
    NotOurs { sockets: usize },
    #[error("nobody in the HAR joined the room {0}")]
    NotThere(RoomId),
    #[error("nobody in the HAR joined a room")]
    Nowhere,
    #[error("the room {0} is no board; only boards can be replayed so far (wrong_kind)")]
    Kind(RoomId),
    #[error(transparent)]
    TooMuch(#[from] TooMuch),
}

/// Makes what happened in one room a session: in `room`, or in that in which most was done.
///
/// # Errors
/// When nobody spoke to us, or not in that room.
pub fn compose(hars: &[Har], room: Option<RoomId>) -> Result<Imported, HarError> {
    let timeline = Timeline::read(hars)?;
    let room = room.or_else(|| timeline.busiest()).ok_or(HarError::Nowhere)?;
    RoomStory::tell(timeline, room)
}
