//! What the nodes of a simulation have in common: the time, chance, what is under way between them, the database, the network,
//! and the record of what happened.
//!
//! Everything that takes time is an event in one queue. Nodes run one after the other on one thread, a few milliseconds each,
//! and meet nowhere but here; so a seed decides everything.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::chance::Chance;
use super::database::Database;
use super::journal::Journal;
use super::network::Network;
use super::processes::Processes;
use super::settings::Settings;
use super::trace::Trace;

type Event = Box<dyn FnOnce(&mut State) + Send>;

/// Shared by all nodes, their clients and whoever torments them.
#[derive(Clone, Debug)]
pub(super) struct World(Arc<Mutex<State>>);

pub(super) struct State {
    pub(super) now_ms: u64,
    pub(super) chance: Chance,
    pub(super) settings: Settings,
    pub(super) database: Database,
    pub(super) network: Network,
    pub(super) processes: Processes,
    pub(super) journal: Journal,
    pub(super) trace: Trace,
    events: BTreeMap<(u64, u64), Event>,
    scheduled: u64,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("now_ms", &self.now_ms).finish_non_exhaustive()
    }
}

impl World {
    pub(super) fn new(seed: u64, settings: Settings, verbose: bool) -> Self {
        Self(Arc::new(Mutex::new(State {
            now_ms: settings.start_ms,
            chance: Chance::new(seed),
            database: Database::new(settings.fence),
            network: Network::default(),
            processes: Processes::default(),
            journal: Journal::default(),
            trace: Trace::new(verbose),
            events: BTreeMap::new(),
            scheduled: 0,
            settings,
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the time on and lets happen what is due.
    pub(super) fn advance(&self, by_ms: u64) {
        self.lock().now_ms += by_ms;
        while let Some(event) = self.due() {
            event(&mut self.lock());
        }
    }

    fn due(&self) -> Option<Event> {
        let mut state = self.lock();
        let now_ms = state.now_ms;
        let first = state.events.first_entry().filter(|first| first.key().0 <= now_ms)?;
        Some(first.remove())
    }
}

impl State {
    pub(super) fn at(&mut self, at_ms: u64, event: impl FnOnce(&mut Self) + Send + 'static) {
        self.scheduled += 1;
        self.events.insert((at_ms, self.scheduled), Box::new(event));
    }

    pub(super) fn note(&mut self, what: &'static str, numbers: [u64; 3], detail: impl FnOnce() -> String) {
        self.trace.note(self.now_ms - self.settings.start_ms, what, numbers, detail);
    }
}
