//! Whole clusters in one process, tormented by chance and judged afterwards. A seed decides everything, so a run that fails can be
//! looked at again: `make simulate SEED=n`.
//!
//! ```text
//! clients ─▶ nodes (real edge, cluster, host; a runtime each) ─▶ SimBus, SimLog ─▶ one World: time, chance, events, record
//! ```

mod chance;
mod client;
mod database;
mod journal;
mod network;
mod node;
mod processes;
mod settings;
#[expect(clippy::module_inception, reason = "the thing itself beside what it is made of")]
mod simulation;
mod store;
mod tests;
mod torment;
mod trace;
mod verdict;
mod world;
