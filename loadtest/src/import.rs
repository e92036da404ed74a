//! Data from elsewhere made into sessions: [`quickdraw`] (real drawings), [`har`] (what a browser said to us),
//! [`dprec`] (recordings of Drawpile), and [`editing_trace`] (how texts were typed).
//!
//! Each reads with bounded memory, says of broken input what is wrong with it, and counts what a session cannot say.

pub mod dprec;
mod draft;
pub mod editing_trace;
pub mod har;
mod pen;
pub mod quickdraw;

use std::io;
use std::path::Path;

pub use self::draft::{LeftOut, TooMuch};
use crate::session::{Event, Header, SessionWriter, Title};

/// A session as it was put together.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    pub events: Vec<Event>,
    pub left_out: LeftOut,
}

impl Imported {
    /// Writes the session.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path, title: Title) -> io::Result<Header> {
        let mut writer = SessionWriter::create(path)?;
        self.events.iter().try_for_each(|event| writer.event(event))?;
        writer.finish(title)
    }
}
