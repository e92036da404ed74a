//! The machine's monotonic clock, which all processes on it share: times of one worker mean the same to another.

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::clock::Micros;

/// Microseconds since the machine started.
#[must_use]
pub fn now() -> Micros {
    let now = clock_gettime(ClockId::Monotonic);
    // It is never negative.
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000
}

/// A wait for `epoll`.
#[must_use]
pub fn wait(time: Micros) -> Timespec {
    Timespec { tv_sec: (time / 1_000_000) as i64, tv_nsec: (time % 1_000_000 * 1_000) as i64 }
}
