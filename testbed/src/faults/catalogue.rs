//! What there is to break, as data.

use std::time::Duration;

use crate::cluster::{Network, Shape};
use crate::link::{Condition, Swallowed};

/// How long a takeover may take where nobody refuses a probe: the lease, its notice, and the reload.
const TAKEOVER: Duration = Duration::from_secs(8);
/// How long a room may stand still while it is handed over in good order.
pub const HANDOVER: Duration = Duration::from_millis(500);

/// One way to break a cluster.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fault {
    pub name: &'static str,
    /// For the table.
    pub title: &'static str,
    pub act: Act,
    /// Among those that every change has to survive.
    pub short: bool,
    /// What operators have to see of it; None: nobody looks.
    pub visible: Option<Visible>,
}

/// What operators have to see of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visible {
    /// Others own what the struck nodes owned.
    pub moves: bool,
    /// The alerts that fire, at least. Besides, the struck nodes, or all, say that they are not ready.
    pub alerts: &'static [&'static str],
}

/// What is done. Durations are from the injection to the mending.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Act {
    /// `kill -9`; started again after [`Fault::lasts`].
    Kill(Victims),
    /// SIGSTOP, then SIGCONT.
    Pause(Victims, Duration),
    PauseServer(Server, Duration),
    /// SIGTERM and start, one node after another.
    RollingRestart,
    /// The same, from the release before this one to this one, and back.
    RollingUpgrade,
    RestartNats,
    /// `pg_ctl stop -m immediate`, then start.
    RestartDatabase,
    /// The owner's link to a server.
    OwnersLink(Server, Condition, Duration),
    /// Every node's link to a server.
    EveryLink(Server, Condition, Duration),
    /// The owner's address is gone, silently.
    Vanish(Duration),
    /// Not a byte more fits on the database's disk.
    FullDisk(Duration),
    /// The database's disk writes a byte a second.
    StalledDisk(Duration),
    /// The owner may use hardly more memory than it does for so long, then less: the kernel kills it.
    Starve(Duration),
}

/// Nodes, by what they are to the first room of the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victims {
    Owner,
    /// A node that does not own it.
    Edge,
    /// One of each.
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    Database,
    Nats,
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// How long what was killed stays away.
pub const AWAY: Duration = seconds(5);
/// Long enough for the alert about it.
const NEAR_LIMIT: Duration = seconds(8);
/// Long enough for all that a node does by itself after it lost a server: to notice, to leave, to come back.
const CUT_OFF: Duration = seconds(12);
const BOTH_WAYS: Condition = Condition::HalfOpen(Swallowed::Both);
const SLOW: Condition = Condition::Delay { fixed: seconds(1), jitter: Duration::from_millis(100) };

const fn fault(name: &'static str, title: &'static str, act: Act) -> Fault {
    Fault { name, title, act, short: false, visible: None }
}

const fn short(fault: Fault) -> Fault {
    Fault { short: true, ..fault }
}

const fn visible(fault: Fault, moves: bool, alerts: &'static [&'static str]) -> Fault {
    Fault { visible: Some(Visible { moves, alerts }), ..fault }
}

/// All of them, in the order of the table.
pub const ALL: [Fault; 30] = [
    short(fault("kill-owner", "`kill -9` of the owner", Act::Kill(Victims::Owner))),
    fault("kill-edge", "`kill -9` of an edge that does not own the room", Act::Kill(Victims::Edge)),
    fault("kill-both", "`kill -9` of the owner and of an edge", Act::Kill(Victims::Both)),
    fault("pause-owner-1", "SIGSTOP of the owner for 1 s", Act::Pause(Victims::Owner, seconds(1))),
    fault("pause-owner-5", "SIGSTOP of the owner for 5 s", Act::Pause(Victims::Owner, seconds(5))),
    short(fault("pause-owner-12", "SIGSTOP of the owner for 12 s", Act::Pause(Victims::Owner, seconds(12)))),
    fault("pause-owner-30", "SIGSTOP of the owner for 30 s", Act::Pause(Victims::Owner, seconds(30))),
    fault("rolling-restart", "SIGTERM and start of each node in turn", Act::RollingRestart),
    short(fault(
        "rolling-upgrade",
        "SIGTERM of each node in turn, started as the other version: the one before to this one, and back",
        Act::RollingUpgrade,
    )),
    short(fault("restart-nats", "NATS killed and started", Act::RestartNats)),
    fault("pause-nats-5", "SIGSTOP of NATS for 5 s", Act::PauseServer(Server::Nats, seconds(5))),
    fault(
        "cut-nats",
        "the owner's connections to NATS reset, new ones refused, 12 s",
        Act::OwnersLink(Server::Nats, Condition::Cut, CUT_OFF),
    ),
    fault(
        "half-open-nats",
        "what the owner and NATS say to each other vanishes, 12 s",
        Act::OwnersLink(Server::Nats, BOTH_WAYS, CUT_OFF),
    ),
    fault(
        "deaf-to-nats",
        "what NATS says to the owner vanishes, 12 s",
        Act::OwnersLink(Server::Nats, Condition::HalfOpen(Swallowed::FromServer), CUT_OFF),
    ),
    short(fault(
        "restart-database",
        "PostgreSQL stopped with `-m immediate` and started",
        Act::RestartDatabase,
    )),
    fault(
        "pause-database-5",
        "SIGSTOP of all PostgreSQL processes for 5 s",
        Act::PauseServer(Server::Database, seconds(5)),
    ),
    fault(
        "cut-database",
        "the owner's connections to PostgreSQL reset, new ones refused, 12 s",
        Act::OwnersLink(Server::Database, Condition::Cut, CUT_OFF),
    ),
    visible(
        fault(
            "half-open-database",
            "what the owner and PostgreSQL say to each other vanishes, 12 s",
            Act::OwnersLink(Server::Database, BOTH_WAYS, CUT_OFF),
        ),
        true,
        &["EnfiladeDatabaseDown"],
    ),
    fault(
        "unanswered-database",
        "PostgreSQL hears the owner, its answers vanish, 12 s",
        Act::OwnersLink(Server::Database, Condition::HalfOpen(Swallowed::FromServer), CUT_OFF),
    ),
    fault(
        "slow-database",
        "1 s to PostgreSQL and 1 s back, for every node, 15 s",
        Act::EveryLink(Server::Database, SLOW, seconds(15)),
    ),
    fault(
        "thin-database",
        "20 kB/s to PostgreSQL and back, for the owner, 12 s",
        Act::OwnersLink(Server::Database, Condition::Throttle { bytes_per_second: 20_000 }, CUT_OFF),
    ),
    fault("vanish-1", "the owner's address gone without a word for 1 s", Act::Vanish(seconds(1))),
    fault("vanish-15", "the owner's address gone without a word for 15 s", Act::Vanish(seconds(15))),
    short(visible(
        fault(
            "out-of-memory",
            "the owner's memory bounded until the kernel kills it; away for 5 s",
            Act::Starve(NEAR_LIMIT),
        ),
        true,
        &["EnfiladeMemoryNearLimit", "EnfiladeNodeDown"],
    )),
    short(visible(
        fault("full-disk-database", "no byte free on PostgreSQL's disk, 12 s", Act::FullDisk(seconds(12))),
        false,
        &["EnfiladeCommitsFailing", "EnfiladeNodeNotReady"],
    )),
    visible(
        fault("stalled-disk-database", "PostgreSQL's disk stands still, 20 s", Act::StalledDisk(seconds(20))),
        false,
        &["EnfiladeCommitsFailing", "EnfiladeNodeNotReady"],
    ),
    fault("kill-single", "`kill -9` of a single node with SQLite", Act::Kill(Victims::Owner)),
    fault(
        "pause-single-5",
        "SIGSTOP of a single node with SQLite for 5 s",
        Act::Pause(Victims::Owner, seconds(5)),
    ),
    visible(
        fault(
            "full-disk-single",
            "no byte free on the disk of a single node with SQLite, 12 s",
            Act::FullDisk(seconds(12)),
        ),
        false,
        &["EnfiladeCommitsFailing", "EnfiladeDiskNearlyFull", "EnfiladeNodeNotReady"],
    ),
    short(visible(
        fault(
            "stalled-disk-single",
            "the disk of a single node with SQLite stands still, 20 s",
            Act::StalledDisk(seconds(20)),
        ),
        false,
        &["EnfiladeCommitStuck", "EnfiladeNodeNotReady"],
    )),
];

impl Fault {
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        ALL.into_iter().find(|fault| fault.name == name)
    }

    #[must_use]
    pub fn shape(&self) -> Shape {
        if self.name.contains("single") { Shape::Alone } else { Shape::Together }
    }

    #[must_use]
    pub fn network(&self) -> Network {
        match (self.act, self.shape()) {
            (Act::Vanish(_), _) => Network::Namespaces,
            (_, Shape::Alone) => Network::Direct,
            (_, Shape::Together) => Network::Links,
        }
    }

    /// How much of the load has to come after the injection for the fault to be over by then.
    #[must_use]
    pub fn lasts(&self) -> Duration {
        match self.act {
            Act::Kill(_) => AWAY,
            Act::Pause(_, time)
            | Act::PauseServer(_, time)
            | Act::OwnersLink(_, _, time)
            | Act::EveryLink(_, _, time)
            | Act::Vanish(time)
            | Act::FullDisk(time)
            | Act::StalledDisk(time) => time,
            Act::Starve(time) => time + AWAY + seconds(5),
            Act::RollingRestart => seconds(30),
            Act::RollingUpgrade => seconds(60),
            Act::RestartNats => seconds(1),
            Act::RestartDatabase => seconds(3),
        }
    }

    /// How long a room may stand still, on a machine that has time.
    #[must_use]
    pub fn limit(&self) -> Duration {
        match self.act {
            Act::RollingRestart | Act::RollingUpgrade => HANDOVER,
            // Nobody else can take over, or what is broken is needed by all.
            Act::PauseServer(..)
            | Act::EveryLink(..)
            | Act::FullDisk(_)
            | Act::StalledDisk(_)
            | Act::RestartDatabase => self.lasts() + TAKEOVER,
            _ if self.shape() == Shape::Alone => self.lasts() + TAKEOVER,
            _ => TAKEOVER,
        }
    }

    /// How long a client may wait for an answer, looking for another node included, on a machine that has time.
    #[must_use]
    pub fn patience_of_clients(&self) -> Duration {
        let held_up = match self.act {
            Act::Kill(_) | Act::Starve(_) if self.shape() == Shape::Together => Duration::ZERO,
            Act::RollingRestart | Act::RollingUpgrade | Act::RestartNats => Duration::ZERO,
            // Who is connected to what hangs, or to what alone can answer, waits until it is mended.
            _ => self.lasts(),
        };
        held_up + self.limit() + seconds(2)
    }

    /// Whether those whose node is not struck must keep their connections.
    #[must_use]
    pub fn spares_bystanders(&self) -> bool {
        self.shape() == Shape::Together && !matches!(self.act, Act::RollingRestart | Act::RollingUpgrade)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_fault_has_a_name_of_its_own_and_the_short_ones_fit_into_seven_minutes() {
        let names: BTreeSet<&str> = ALL.iter().map(|fault| fault.name).collect();
        assert_eq!(names.len(), ALL.len());
        assert!(names.iter().all(|name| Fault::named(name).is_some()));
        // Besides its own time each takes some thirty seconds to start, to become quiet and to be audited.
        let time: Duration =
            ALL.iter().filter(|fault| fault.short).map(|fault| fault.lasts() + seconds(30)).sum();
        assert!(time < seconds(420), "{time:?}");
    }
}
