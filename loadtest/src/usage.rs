//! What processes use, as `/proc` tells, and what they may use.

use std::fs;
use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

use crate::clock::{Micros, SECOND};

/// As many sockets as the machine allows.
///
/// # Errors
/// When the limit cannot be set.
pub fn raise_file_limit() -> io::Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}

/// How many files this process may have open at the most.
#[must_use]
pub fn file_limit() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

/// Keeps the calling thread on one core.
///
/// # Errors
/// When there is no such core.
pub fn run_on(cpu: usize) -> io::Result<()> {
    if cpu >= CpuSet::MAX_CPU {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    Ok(sched_setaffinity(None, &cpus)?)
}

/// What this process used of CPU, all threads, since it began.
#[must_use]
pub fn own_cpu() -> Micros {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    // It is never negative.
    used.tv_sec as u64 * SECOND + used.tv_nsec as u64 / 1_000
}

/// Bytes that this process has in memory.
#[must_use]
pub fn own_memory() -> u64 {
    glance(std::process::id()).map_or(0, |usage| usage.memory)
}

/// The most that this process ever had.
#[must_use]
pub fn own_memory_peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").ok();
    status.and_then(|status| bytes(&status, "VmHWM:")).unwrap_or(0)
}

/// What a process used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of CPU, all threads, since it began.
    pub cpu: Micros,
    /// Bytes in memory that are its own.
    pub memory: u64,
}

impl Usage {
    /// Seconds of CPU since an earlier look.
    #[must_use]
    pub fn cpu_seconds_since(self, before: Self) -> f64 {
        self.cpu.saturating_sub(before.cpu) as f64 / SECOND as f64
    }
}

/// What the process `pid` used so far; None if there is none, or it is not for us to know.
#[must_use]
pub fn of(pid: u32) -> Option<Usage> {
    let glance = glance(pid)?;
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok();
    // Without leave to look so close, the glance has to do.
    let memory = smaps.and_then(|smaps| bytes(&smaps, "Anonymous:")).unwrap_or(glance.memory);
    Some(Usage { memory, ..glance })
}

/// The same, but for memory that some threads have not told of yet (256 KiB each at most). The process notices nothing of this:
/// to know its memory exactly, the kernel has to walk all of it, and meanwhile the process gets none.
#[must_use]
pub fn glance(pid: u32) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(Usage { cpu: cpu(&stat)?, memory: bytes(&status, "RssAnon:")? })
}

/// The scheduler counts to the nanosecond, but tells others hundredths of a second.
fn cpu(stat: &str) -> Option<Micros> {
    const TICK: Micros = 10_000;
    // The name, in parentheses, may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let [user, system] = [11, 12].map(|field| fields.get(field).and_then(|ticks| ticks.parse::<u64>().ok()));
    Some((user? + system?) * TICK)
}

/// The kernel tells kilobytes.
fn bytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 250 150 0 0 20 0 4 0 1 1 1";
        assert_eq!(cpu(stat), Some(4_000_000));
        assert_eq!(cpu("42"), None);
        assert_eq!(bytes("Rss:  12 kB\nAnonymous:       7 kB\n", "Anonymous:"), Some(7 * 1024));
    }

    #[test]
    fn this_process_uses_something() {
        let usage = of(std::process::id()).unwrap();
        assert!(usage.memory > 100_000 && own_memory_peak() >= 100_000 && own_cpu() > 0, "{usage:?}");
        assert_eq!(of(u32::MAX), None);
    }
}
