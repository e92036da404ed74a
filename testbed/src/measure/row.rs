//! What a row of the table is: how it is measured, what is read, and what has to come out.
//!
//! Pure. A row is taken through its rounds by shots; each shot gives readings, called `shot.figure`; its lines make one
//! number of one or two readings of the same round, and say what it has to be.

use super::load::{Load, Subject};

/// A row of the table: one question.
#[derive(Clone, Debug)]
pub struct Row {
    pub name: &'static str,
    pub title: &'static str,
    /// What others reach, and where that is known from if not from our own measurement of them.
    pub peer: &'static str,
    pub how: How,
    pub lines: Vec<Line>,
}

#[derive(Clone, Debug)]
pub enum How {
    /// Each shot has a server that was just started; every other round they are taken in the opposite order.
    Shots(Vec<Shot>),
    /// The load at which ops still hold is searched for, once; then half of it, and what the database's commits took.
    HalfLoad { search: Load, half: Load },
    /// One node owns the rooms, all connections are on another.
    Owner(Vec<(&'static str, Load)>),
    /// A recorded session on a single node and on a cluster of three.
    Recording,
    /// Nothing of its own: what all other rows found.
    Sum,
}

/// A command of the load tester against a server.
#[derive(Clone, Debug)]
pub struct Shot {
    pub name: &'static str,
    pub on: Subject,
    pub load: Load,
}

/// One number of a row.
#[derive(Clone, Debug)]
pub struct Line {
    pub name: &'static str,
    pub figure: Figure,
    pub unit: Unit,
    /// None: it is only told.
    pub target: Option<Target>,
}

/// A number of a round, by the names of its readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    Of(&'static str),
    /// The first divided by the second.
    Ratio(&'static str, &'static str),
    /// By how much the first is more than the second.
    Beyond(&'static str, &'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Ratio,
    Bytes,
    Milliseconds,
    Seconds,
    /// Microseconds of CPU.
    Microseconds,
    PerSecond,
    Count,
}

/// What the median has to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// A ratio, unchanged: no more than 1, or than the highest of the readings of this name, those of runs in which nothing was done.
    WithinNoiseOf(&'static str),
}

impl Figure {
    /// The readings it is made of.
    pub fn readings(self) -> impl Iterator<Item = &'static str> {
        let (first, second) = match self {
            Self::Of(reading) => (reading, None),
            Self::Ratio(first, second) | Self::Beyond(first, second) => (first, Some(second)),
        };
        std::iter::once(first).chain(second)
    }
}
