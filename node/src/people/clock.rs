//! The time, handed in, so that a test lives through a month of sign-ins at once.

use std::time::{SystemTime, UNIX_EPOCH};

pub use enfilade_actors::host::Clock;

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        // A machine that believes to be before 1970 is told that it is 1970.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}
