//! Bulky messages: they travel in pieces on a connection of their own, so that nothing urgent waits behind them.
//!
//! Every piece is a request, and the next one follows when it was answered. So a slow receiver slows down the sender, and not
//! the server, which would cut the connection of a receiver that lets 64 MB wait.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{RequestError, RequestErrorKind};
use bytes::Bytes;
use enfilade_store::Incarnation;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::frame::{Body, Frame, OVERHEAD, Piece};
use super::incoming::MESSAGE_BYTES;
use super::wire::{self, Wire};
use crate::bus::Message;

/// Bulky messages that may wait or be on their way; they mostly share what is large with their rooms.
pub(super) const WAITING: u32 = 256;
/// How many are coded and sent at a time: each holds its own bytes.
const SENDING: usize = 8;
/// How long a piece may take.
const PATIENCE: Duration = Duration::from_secs(4);

#[derive(Debug)]
pub(super) struct Bulk {
    waiting: Arc<Semaphore>,
    sending: Semaphore,
}

impl Default for Bulk {
    fn default() -> Self {
        Self { waiting: Arc::new(Semaphore::new(WAITING as usize)), sending: Semaphore::new(SENDING) }
    }
}

/// Why a message did not arrive.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("it has {0} bytes")]
    TooLarge(usize),
    #[error("it cannot be coded: {0}")]
    Uncoded(#[from] rmp_serde::encode::Error),
    #[error("the node does not answer: {0}")]
    Unanswered(#[from] RequestError),
    #[error("the node does not answer in time")]
    Late,
    #[error("the process ends")]
    Ending,
}

impl Lost {
    fn reason(&self) -> &'static str {
        match self {
            Self::TooLarge(_) => "too_large",
            Self::Uncoded(_) => "uncoded",
            Self::Unanswered(_) => "unanswered",
            Self::Late => "late",
            Self::Ending => "ending",
        }
    }
}

impl Bulk {
    /// Admits one more message, if there is room.
    pub(super) fn admit(&self) -> Option<OwnedSemaphorePermit> {
        self.waiting.clone().try_acquire_owned().ok()
    }

    /// Waits until nothing is on its way.
    pub(super) async fn idle(&self) {
        // It is never closed, so this fails for nobody.
        let _ = self.waiting.acquire_many(WAITING).await;
    }
}

/// Sends a message, or loses it.
pub(super) async fn send(
    wire: Arc<Wire>,
    to: Incarnation,
    message: Message,
    _admitted: OwnedSemaphorePermit,
) {
    if let Err(lost) = try_send(&wire, to, message).await {
        tracing::warn!(%to, %lost, "a bulky message is lost");
        wire::count_dropped(lost.reason(), 1);
    }
}

async fn try_send(wire: &Wire, to: Incarnation, message: Message) -> Result<(), Lost> {
    let _slot = wire.bulk.sending.acquire().await.map_err(|_| Lost::Ending)?;
    let coding = tokio::task::spawn_blocking(move || rmp_serde::to_vec_named(&message));
    let bytes = Bytes::from(coding.await.map_err(|_| Lost::Ending)??);
    if bytes.len() > MESSAGE_BYTES {
        return Err(Lost::TooLarge(bytes.len()));
    }
    let id = wire.next_bulk_id();
    let subject = wire.subjects.bulk(to);
    for offset in (0..bytes.len()).step_by(wire.max_frame() - OVERHEAD) {
        let end = bytes.len().min(offset + wire.max_frame() - OVERHEAD);
        // A message has at most `MESSAGE_BYTES`, far below 4 GiB.
        let piece =
            Piece { id, total: bytes.len() as u32, offset: offset as u32, bytes: bytes.slice(offset..end) };
        request(wire, &subject, piece).await?;
    }
    wire::count("out", 0, 1, 0);
    Ok(())
}

async fn request(wire: &Wire, subject: &str, piece: Piece) -> Result<(), Lost> {
    // Pieces have their place in themselves, so the frames are no chain.
    let frame = Frame { from: wire.me, seq: 0, previous: 0, body: Body::Piece(piece) }.encode();
    wire::count("out", 1, 0, frame.len());
    let answered = wire.bulk_client.request(subject.to_owned(), frame);
    match timeout(PATIENCE, answered).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) if error.kind() != RequestErrorKind::TimedOut => Err(error.into()),
        Ok(Err(_)) | Err(_) => Err(Lost::Late),
    }
}
