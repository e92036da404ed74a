//! What rooms work with: the time, the database, and whom they tell. All of it is handed in.

use std::fmt;
use std::sync::{Arc, OnceLock, Weak};

use enfilade_proto::{Epoch, RoomId};
use enfilade_store::{Directory, RoomLog, Shard};

use crate::bus::RoomEvent;
use crate::committer::Committers;
use crate::room::{Audience, RoomSettings};
use crate::trace::Tracer;

/// Time as it is handed in, in milliseconds since 1970.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    fn now_ms(&self) -> u64;
}

/// What rooms tell the world.
pub trait Outlet: fmt::Debug + Send + Sync + 'static {
    /// To edges.
    fn publish(&self, room: RoomId, epoch: Epoch, to: Audience, event: RoomEvent);

    /// The database says that the shard is not this node's any more.
    fn fenced(&self, shard: Shard);
}

/// Where work goes that would hold up others, such as reading a large board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offload {
    /// To a thread for such work.
    Thread,
    /// Nowhere: it is done at once. A simulation that is to run the same way again has no threads.
    Inline,
}

impl Offload {
    /// # Errors
    /// When the work panicked.
    pub async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, tokio::task::JoinError> {
        match self {
            Self::Thread => tokio::task::spawn_blocking(work).await,
            Self::Inline => Ok(work()),
        }
    }
}

/// What rooms work with.
#[derive(Debug)]
pub(crate) struct Deps {
    pub(crate) log: Arc<dyn RoomLog>,
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: RoomSettings,
    pub(crate) committers: Committers,
    pub(crate) offload: Offload,
    pub(crate) tracer: Tracer,
    pub(super) outlet: OnceLock<Weak<dyn Outlet>>,
}

impl Deps {
    pub(crate) fn publish(&self, room: RoomId, epoch: Epoch, to: Audience, event: RoomEvent) {
        if let Some(outlet) = self.outlet.get().and_then(Weak::upgrade) {
            outlet.publish(room, epoch, to, event);
        }
    }

    pub(super) fn fenced(&self, shard: Shard) {
        if let Some(outlet) = self.outlet.get().and_then(Weak::upgrade) {
            outlet.fenced(shard);
        }
    }
}
