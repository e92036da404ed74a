//! What befalls a cluster in the time of its torment: drawn from the seed before it begins, so that it can be read.

use super::chance::Chance;
use super::settings::Settings;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// `kill -9`; the process is started again after a while.
    Crash {
        node: usize,
        back_after_ms: u64,
    },
    /// `SIGSTOP` and `SIGCONT`.
    Pause {
        node: usize,
        for_ms: u64,
    },
    /// `SIGTERM`; the process is started again.
    Drain {
        node: usize,
    },
    /// Two nodes do not hear each other.
    Cut {
        one: usize,
        other: usize,
        for_ms: u64,
    },
    OffBus {
        node: usize,
        for_ms: u64,
    },
    BusAway {
        for_ms: u64,
    },
    DatabaseRestart {
        for_ms: u64,
    },
    OffDatabase {
        node: usize,
        for_ms: u64,
    },
    /// Calls of a node take so much longer to get to the database.
    FarDatabase {
        node: usize,
        by_ms: u64,
        for_ms: u64,
    },
    /// The same, and nothing passes between the node and the others.
    FarAway {
        node: usize,
        by_ms: u64,
        for_ms: u64,
    },
    /// The clock of the database is set.
    ClockSet {
        by_ms: i64,
    },
    /// The table of owners is set back to what it was some time ago.
    OwnersSetBack {
        by_ms: u64,
    },
    Prune,
    /// How often calls and messages fare ill for a while, in thousandths.
    Weather {
        unavailable: u64,
        unknown: u64,
        slow: u64,
        lost: u64,
        late: u64,
        wrong_hints: u64,
    },
}

/// The kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Crash,
    Pause,
    Drain,
    Cut,
    OffBus,
    BusAway,
    DatabaseRestart,
    OffDatabase,
    FarDatabase,
    FarAway,
    ClockSet,
    OwnersSetBack,
    Prune,
    Weather,
}

impl Kind {
    pub(super) const ALL: &'static [Self] = &[
        Self::Crash,
        Self::Pause,
        Self::Drain,
        Self::Cut,
        Self::OffBus,
        Self::BusAway,
        Self::DatabaseRestart,
        Self::OffDatabase,
        Self::FarDatabase,
        Self::FarAway,
        Self::ClockSet,
        Self::OwnersSetBack,
        Self::Prune,
        Self::Weather,
    ];
}

/// The faults by when they happen, in milliseconds from the beginning.
pub(super) fn draw(chance: &mut Chance, settings: &Settings) -> Vec<(u64, Fault)> {
    // Only some of the kinds, so that there are runs that are shaped by one of them.
    let kinds: Vec<Kind> = settings.kinds.iter().copied().filter(|_| chance.one_in(2)).collect();
    let kinds = if kinds.is_empty() { settings.kinds.to_vec() } else { kinds };
    let count = chance.between(3, 14);
    let mut faults = Vec::new();
    for _ in 0..count {
        let at_ms = chance.between(1_500, settings.torment_ms - 500);
        if let Some(kind) = chance.pick(&kinds) {
            faults.push((at_ms, fault(chance, *kind, settings.nodes)));
        }
    }
    faults.sort_by_key(|(at_ms, _)| *at_ms);
    faults
}

fn fault(chance: &mut Chance, kind: Kind, nodes: usize) -> Fault {
    let node = chance.below(nodes as u64) as usize;
    let other = (node + 1 + chance.below(nodes as u64 - 1) as usize) % nodes;
    match kind {
        Kind::Crash => Fault::Crash { node, back_after_ms: chance.between(50, 7_000) },
        Kind::Pause => Fault::Pause { node, for_ms: chance.between(100, 12_000) },
        Kind::Drain => Fault::Drain { node },
        Kind::Cut => Fault::Cut { one: node, other, for_ms: chance.between(200, 12_000) },
        Kind::OffBus => Fault::OffBus { node, for_ms: chance.between(200, 12_000) },
        Kind::BusAway => Fault::BusAway { for_ms: chance.between(200, 8_000) },
        Kind::DatabaseRestart => Fault::DatabaseRestart { for_ms: chance.between(100, 6_000) },
        Kind::OffDatabase => Fault::OffDatabase { node, for_ms: chance.between(200, 12_000) },
        Kind::FarDatabase => {
            Fault::FarDatabase { node, by_ms: chance.between(200, 8_000), for_ms: chance.between(200, 9_000) }
        }
        Kind::FarAway => {
            Fault::FarAway { node, by_ms: chance.between(200, 8_000), for_ms: chance.between(200, 9_000) }
        }
        Kind::ClockSet => {
            let by_ms = chance.between(100, 3_600_000) as i64;
            Fault::ClockSet { by_ms: if chance.one_in(2) { by_ms } else { -by_ms } }
        }
        Kind::OwnersSetBack => Fault::OwnersSetBack { by_ms: chance.between(100, 8_000) },
        Kind::Prune => Fault::Prune,
        Kind::Weather => Fault::Weather {
            unavailable: chance.below(30),
            unknown: chance.below(60),
            slow: chance.below(200),
            lost: chance.below(60),
            late: chance.below(150),
            wrong_hints: chance.below(20),
        },
    }
}
