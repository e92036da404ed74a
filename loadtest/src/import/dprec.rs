//! Recordings of Drawpile (`.dprec`) made into sessions: who was there, what their brushes drew, and what they undid.
//!
//! A stroke is what one person's brush left between two lifts of the pen, as one line in its colour, as wide as its
//! dabs were on average. A raster has much that a board has not (layers, erasers, images): that is counted and left out.
//!
//! The layout of the recordings is described in `FORMAT.md`; nothing of Drawpile's own code is used.

mod canvas;
mod file;
mod message;

use std::io::{self, BufRead};

use self::canvas::Canvas;
use self::file::Messages;
use super::{Imported, TooMuch};
use crate::clock::Micros;

#[derive(Debug, thiserror::Error)]
pub enum DprecError {
    #[error("cannot read the recording: {0}")]
    Io(#[from] io::Error),
    #[error("not a recording of Drawpile: it does not begin with DPREC")]
    Magic,
    #[error("the recording's header is broken: {0}")]
    Header(String),
    #[error("the recording has protocol {0:?}; dp:4.21 to dp:4.25 can be read")]
    Protocol(String),
    #[error("the recording is cut off: it ends in the middle of {what} at byte {at}")]
    CutOff { what: &'static str, at: u64 },
    #[error("at byte {at}: a broken {what} message")]
    Message { what: &'static str, at: u64 },
    #[error("nobody draws anything in this recording{0}")]
    Nothing(String),
    #[error(transparent)]
    TooMuch(#[from] TooMuch),
}

/// Reads a recording. Pauses of more than `longest_pause` are made as short as that.
///
/// # Errors
/// When it is none, broken or cut off, or nothing of it can be kept.
pub fn read(input: impl BufRead, longest_pause: Option<Micros>) -> Result<Imported, DprecError> {
    let mut messages = Messages::new(input)?;
    let mut canvas = Canvas::new(longest_pause);
    while let Some(message) = messages.next_message()? {
        canvas.take(message);
        if canvas.is_full() {
            return Err(TooMuch::Events.into());
        }
    }
    canvas.finish()
}
