//! Pages of lists: a cursor that means nothing to clients, and a limit.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use enfilade_proto::{ErrorCode, RoomId, UserId};
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use crate::people::Refusal;

const DEFAULT: u32 = 50;
const MOST: u32 = 100;

/// Which page of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// `next` of the page before.
    pub(super) after: Option<String>,
    /// How many items, 1 to 100; 50 unless given.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
}

impl PageQuery {
    /// # Errors
    /// `invalid_request` outside 1 to 100.
    pub(super) fn limit(&self) -> Result<u32, Refusal> {
        within(self.limit.unwrap_or(DEFAULT), MOST)
    }

    /// # Errors
    /// `invalid_request` when `after` is no cursor of such a list.
    pub(super) fn cursor<C: Cursor>(&self) -> Result<Option<C>, Refusal> {
        let read = |text: &str| URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| C::read(&bytes));
        match &self.after {
            None => Ok(None),
            Some(text) => read(text)
                .map(Some)
                .ok_or_else(|| Refusal::new(ErrorCode::InvalidRequest, "`after` is no cursor of this list")),
        }
    }
}

/// # Errors
/// `invalid_request` outside 1 to `most`.
pub(super) fn within(limit: u32, most: u32) -> Result<u32, Refusal> {
    if (1..=most).contains(&limit) {
        Ok(limit)
    } else {
        Err(Refusal::new(ErrorCode::InvalidRequest, format!("`limit` is 1 to {most}")))
    }
}

/// Cuts off the one item more that was read to see whether there are any; returns the cursor of the next page
/// if so.
pub(super) fn cut<T, C: Cursor>(
    items: &mut Vec<T>,
    limit: u32,
    cursor: impl FnOnce(&T) -> C,
) -> Option<String> {
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    items.last().filter(|_| more).map(|last| URL_SAFE_NO_PAD.encode(cursor(last).write()))
}

/// The place of an item in its list.
pub(super) trait Cursor: Sized {
    fn write(&self) -> Vec<u8>;
    fn read(bytes: &[u8]) -> Option<Self>;
}

/// Rooms, newest first.
impl Cursor for (u64, RoomId) {
    fn write(&self) -> Vec<u8> {
        [&self.0.to_be_bytes()[..], self.1.0.as_bytes()].concat()
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (created_ms, room) = bytes.split_first_chunk()?;
        Some((u64::from_be_bytes(*created_ms), RoomId(Uuid::from_slice(room).ok()?)))
    }
}

/// Members, by id.
impl Cursor for UserId {
    fn write(&self) -> Vec<u8> {
        self.0.as_bytes().to_vec()
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        Uuid::from_slice(bytes).ok().map(Self)
    }
}
