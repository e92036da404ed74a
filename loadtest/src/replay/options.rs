//! What a replay is told, and why it may not take place.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use enfilade_proto::{Codec, RoomId};

use crate::crowd::Crowd;
use crate::http::ApiError;
use crate::target::Target;
use crate::threshold::Threshold;

#[derive(Clone, Debug)]
pub struct Options {
    /// The nodes, or one load balancer before them. Clones are spread over them in turn.
    pub targets: Vec<Target>,
    pub clones: usize,
    pub rooms: RoomChoice,
    pub speed: f64,
    pub codec: Codec,
    pub seed: u64,
    /// Clones start up to this much late.
    pub jitter: Duration,
    pub crowd: Crowd,
    /// How long everybody may take to come in.
    pub gather: Duration,
    /// How long it may take after the last event until everybody has seen everything.
    pub settle: Duration,
    /// How long whoever was thrown out tries to come back, and how long the run waits for answers in the end.
    pub patience: Duration,
    /// A 99th percentile of the generator's own lag above this makes the run invalid.
    pub max_lag: Duration,
    pub journal: Option<PathBuf>,
    /// The servers' processes on this machine, whose CPU and memory are measured.
    pub pids: Vec<u32>,
    /// Those that abort end the run early.
    pub thresholds: Vec<Threshold>,
}

#[derive(Clone, Debug)]
pub enum RoomChoice {
    /// So many new boards.
    Fresh(usize),
    Existing {
        room: RoomId,
        link: Option<String>,
    },
}

impl RoomChoice {
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Fresh(count) => *count,
            Self::Existing { .. } => 1,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("{0}")]
    Usage(&'static str),
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("of {clones} clones {missing} did not get in within {seconds} s; {why}")]
    NotGathered { clones: usize, missing: usize, seconds: u64, why: String },
    #[error("the journal cannot be written: {0}")]
    Journal(#[source] io::Error),
}

impl Options {
    /// Whether they make sense.
    pub(super) fn check(&self) -> Result<(), ReplayError> {
        let rooms = self.rooms.count();
        if self.targets.is_empty() {
            return Err(ReplayError::Usage("there has to be a server"));
        }
        if !(1..=19_000).contains(&self.clones) {
            return Err(ReplayError::Usage("a process plays 1 to 19000 clones"));
        }
        if !(1..=self.clones).contains(&rooms) {
            return Err(ReplayError::Usage("there are at least one room and at most as many as clones"));
        }
        if !(0.01..=1000.0).contains(&self.speed) {
            return Err(ReplayError::Usage("the speed is 0.01 to 1000"));
        }
        self.crowd.check().map_err(ReplayError::Usage)
    }
}
