//! Memory taken from a node until the kernel kills it.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use super::inject::{InjectError, LOOK, Tormentor};
use crate::memory::MemoryGroup;
use crate::process::Process;

/// How much more a node may use than it does, at first: by the rules it is near its limit.
const SPARE: f64 = 1.06;
/// How long it may live on less and less.
const SQUEEZE: Duration = Duration::from_secs(30);
const STEP: Duration = Duration::from_millis(20);

impl Tormentor<'_> {
    /// Bounds a node's memory just above what it uses for so long, then takes it away. Returns when it was killed for that.
    pub(super) async fn starve(&mut self, i: usize, near: Duration) -> Result<(), InjectError> {
        let spare = (self.resident(i)? as f64 * SPARE) as u64;
        self.bound(i, spare)?;
        let deadline = Instant::now() + near;
        while Instant::now() < deadline && self.cluster.nodes[i].is_running() {
            tokio::time::sleep(LOOK).await;
        }
        let deadline = Instant::now() + SQUEEZE;
        while self.cluster.nodes[i].is_running() {
            if Instant::now() > deadline {
                return Err(InjectError::Survives(self.cluster.nodes[i].name().to_owned()));
            }
            let used = self.memory(i)?.usage()?;
            self.bound(i, used)?;
            tokio::time::sleep(STEP).await;
        }
        let status = self.cluster.nodes[i].process().and_then(Process::ended);
        let killed = status.and_then(|status| status.signal()) == Some(9);
        if killed && self.memory(i)?.kills()? > 0 {
            Ok(())
        } else {
            let name = self.cluster.nodes[i].name().to_owned();
            Err(InjectError::OtherEnd(name, status.map(|status| status.to_string()).unwrap_or_default()))
        }
    }

    pub(super) fn feed(&self, i: usize) -> Result<(), InjectError> {
        Ok(self.memory(i)?.free()?)
    }

    /// The kernel refuses a bound below what it cannot get back; then the next one may be it.
    fn bound(&self, i: usize, bytes: u64) -> Result<(), InjectError> {
        match self.memory(i)?.limit(bytes) {
            Err(error) if error.kind() != io::ErrorKind::ResourceBusy => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn memory(&self, i: usize) -> Result<&MemoryGroup, InjectError> {
        self.cluster.memory.get(i).ok_or(InjectError::Missing("a control group"))
    }

    /// Bytes of memory that a node has, as it tells itself in its metrics.
    fn resident(&mut self, i: usize) -> Result<u64, InjectError> {
        let process = self.cluster.nodes[i].process().ok_or(InjectError::Missing("the node"))?;
        let pages = std::fs::read_to_string(format!("/proc/{}/statm", process.pid()))?;
        let resident = pages.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
        Ok(resident.ok_or(InjectError::Missing("the node's memory"))? * rustix::param::page_size() as u64)
    }
}
