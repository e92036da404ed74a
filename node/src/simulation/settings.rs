//! What a simulation is made of, apart from its seed.

use super::torment::Kind;

/// How an append asks whether its writer still owns the shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fence {
    /// At the moment of writing, in one step with it. As it has to be.
    Locked,
    /// When the statement begins; it writes later. What a comparison without a lock amounts to.
    Naive,
    /// The same, and without the key that keeps two rows from having the same seqs.
    NaiveWithoutKey,
}

/// Ways in which log and bus can be wrong on purpose, so that the checks are seen to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutation {
    /// Nothing is wrong.
    None,
    /// The log says `Committed` before it writes, and may then be kept from writing.
    AnsweredEarly,
    /// The bus carries no op a second time.
    LostResends,
}

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) start_ms: u64,
    pub(super) nodes: usize,
    pub(super) rooms: usize,
    pub(super) clients: usize,
    /// How often a client writes, and how often it goes away and comes back, in thousandths of steps.
    pub(super) writes: u64,
    pub(super) moves: u64,
    /// For how long the cluster is tormented.
    pub(super) torment_ms: u64,
    /// By what.
    pub(super) kinds: &'static [Kind],
    pub(super) fence: Fence,
    pub(super) mutation: Mutation,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            start_ms: 1_700_000_000_000,
            nodes: 3,
            rooms: 3,
            clients: 7,
            writes: 25,
            moves: 1,
            torment_ms: 25_000,
            kinds: Kind::ALL,
            fence: Fence::Locked,
            mutation: Mutation::None,
        }
    }
}
