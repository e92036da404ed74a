//! A floor in a process of its own, as runs are measured against.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use crate::target::{InvalidTarget, Target};

#[derive(Debug, thiserror::Error)]
pub enum FloorError {
    #[error("the floor cannot be started: {0}")]
    Start(#[from] std::io::Error),
    #[error("the floor does not say where it is")]
    Silent,
    #[error(transparent)]
    Target(#[from] InvalidTarget),
}

/// What a floor says when it has started.
#[derive(Debug, Serialize, Deserialize)]
pub struct Announcement {
    pub address: String,
    pub pid: u32,
}

/// Ends when dropped.
#[derive(Debug)]
pub struct FloorProcess {
    pub target: Target,
    pub pid: u32,
    _child: Child,
    _stdin: ChildStdin,
}

const START: Duration = Duration::from_secs(20);

impl FloorProcess {
    /// Starts `program floor`, on a core of its own if one is given.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(program: &Path, coalesce: bool, cpu: Option<usize>) -> Result<Self, FloorError> {
        let mut command = Command::new(program);
        command.args(["floor", "--until-stdin-closes"]);
        command.args(coalesce.then_some("--coalesce"));
        if let Some(cpu) = cpu {
            command.args(["--cpu", &cpu.to_string()]);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(FloorError::Silent);
        };
        let line = timeout(START, BufReader::new(stdout).lines().next_line()).await;
        let line = line.map_err(|_| FloorError::Silent)??.ok_or(FloorError::Silent)?;
        let said: Announcement = serde_json::from_str(&line).map_err(|_| FloorError::Silent)?;
        let target = format!("http://{}", said.address).parse()?;
        Ok(Self { target, pid: said.pid, _child: child, _stdin: stdin })
    }
}
