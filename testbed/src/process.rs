//! A program that runs as a child of this process: started with a log of its own, paused, ended, never left behind.
//!
//! Every child leads a process group, so that a terminal's Ctrl-C does not reach it and it is ended in order. If this process
//! dies without a chance to end anything, the kernel ends the children.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::{Duration, Instant};

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process, kill_process_group, set_parent_process_death_signal};

/// How often a wait looks again.
const LOOK: Duration = Duration::from_millis(10);

#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    #[error("{program} cannot be started: {source}")]
    Start { program: String, source: io::Error },
    #[error("the log {path} cannot be opened: {source}")]
    Log { path: String, source: io::Error },
    #[error("{name} ended with {status}; its log {log} ends with:\n{tail}")]
    Ended { name: String, status: ExitStatus, log: String, tail: String },
    #[error("{name} is not {state} after {seconds} s; its log {log} ends with:\n{tail}")]
    Late { name: String, state: &'static str, seconds: u64, log: String, tail: String },
    #[error("{name} cannot be signalled: {source}")]
    Signal { name: String, source: io::Error },
}

/// What to start, and how.
#[derive(Clone, Debug)]
pub struct Launch {
    /// What it is called in messages; its log is `NAME.log`.
    pub name: String,
    pub program: PathBuf,
    pub args: Vec<OsString>,
    /// What is not for everybody's eyes, by the names of environment variables.
    pub secrets: Vec<(String, String)>,
    /// What asks it to end in good order.
    pub stop_with: Signal,
    /// What the kernel sends when this process is gone.
    pub orphaned_with: Signal,
}

impl Launch {
    #[must_use]
    pub fn new(name: impl Into<String>, program: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            program: program.into(),
            args: Vec::new(),
            secrets: Vec::new(),
            stop_with: Signal::TERM,
            orphaned_with: Signal::KILL,
        }
    }

    #[must_use]
    pub fn args<I: Into<OsString>>(mut self, args: impl IntoIterator<Item = I>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    #[must_use]
    pub fn secrets(mut self, secrets: impl IntoIterator<Item = (String, String)>) -> Self {
        self.secrets.extend(secrets);
        self
    }

    /// Starts it; what it prints goes to the end of its log in the folder.
    ///
    /// # Errors
    /// When the program is not there or the log cannot be written.
    pub fn start(self, logs: &Path) -> Result<Process, ProcessError> {
        let log = logs.join(format!("{}.log", self.name));
        let open = || File::options().create(true).append(true).open(&log);
        let unwritable = |source| ProcessError::Log { path: log.display().to_string(), source };
        let (out, err) = (open().map_err(unwritable)?, open().map_err(unwritable)?);
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .envs(self.secrets)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(0);
        die_with_this_process(&mut command, self.orphaned_with);
        let child = spawn_on_lasting_thread(command)
            .map_err(|source| ProcessError::Start { program: self.program.display().to_string(), source })?;
        Ok(Process { name: self.name, child, log, stop_with: self.stop_with })
    }
}

#[expect(
    unsafe_code,
    reason = "what runs between fork and exec is two system calls, which allocate and lock nothing"
)]
fn die_with_this_process(command: &mut Command, signal: Signal) {
    let parent = rustix::process::getpid();
    // SAFETY: both calls are async-signal-safe, and the closure owns plain numbers only.
    unsafe {
        command.pre_exec(move || {
            set_parent_process_death_signal(Some(signal))?;
            // The parent may have died before the kernel was told to watch it.
            if rustix::process::getppid() == Some(parent) {
                Ok(())
            } else {
                Err(io::ErrorKind::NotFound.into())
            }
        });
    }
}

/// The kernel's watch ends with the *thread* that forked, so all children are forked by one that lasts.
fn spawn_on_lasting_thread(command: Command) -> io::Result<Child> {
    type Order = (Command, mpsc::Sender<io::Result<Child>>);
    static SPAWNER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, inbox) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in inbox {
                // Nobody waits any more only if the asking thread is gone.
                let _ = answer.send(command.spawn());
            }
        });
        orders
    });
    let (answer, child) = mpsc::channel();
    // It is not: nothing ends it. Were it, the answer's sender would be dropped.
    let _ = spawner.send((command, answer));
    child.recv().map_err(io::Error::other)?
}

/// A running program. Dropped, it is killed.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    stop_with: Signal,
}

impl Process {
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// None while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// `kill -9` of the program and its group.
    pub fn kill(&mut self) {
        if self.ended().is_none() {
            // It may end by itself at this moment.
            let _ = kill_process_group(self.own_pid(), Signal::KILL);
            let _ = self.child.wait();
        }
    }

    /// SIGSTOP to the program and all that it started: a machine that hangs.
    ///
    /// # Errors
    /// When it has ended.
    pub fn pause(&self) -> Result<(), ProcessError> {
        self.signal_family(Signal::STOP)
    }

    /// SIGCONT to all of them.
    ///
    /// # Errors
    /// When it has ended.
    pub fn resume(&self) -> Result<(), ProcessError> {
        self.signal_family(Signal::CONT)
    }

    /// Sends the program a signal, and nobody else.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal(&self, signal: Signal) -> Result<(), ProcessError> {
        kill_process(self.own_pid(), signal)
            .map_err(|source| ProcessError::Signal { name: self.name.clone(), source: source.into() })
    }

    /// Asks it to end.
    ///
    /// # Errors
    /// When it has ended.
    pub fn terminate(&self) -> Result<(), ProcessError> {
        self.signal(self.stop_with)
    }

    /// Asks it to end and kills it if it has not within the grace. True if it ended by itself.
    pub async fn stop(&mut self, grace: Duration) -> bool {
        let _ = self.resume();
        let _ = self.terminate();
        let ended = self.wait(grace).await.is_some();
        self.kill();
        ended
    }

    /// Waits until it has ended.
    pub async fn wait(&mut self, at_most: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + at_most;
        loop {
            let status = self.ended();
            if status.is_some() || Instant::now() >= deadline {
                return status;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until a look says that it is so, and notices if the program ends instead.
    ///
    /// # Errors
    /// When it ended, or the time is up.
    pub async fn wait_until(
        &mut self,
        state: &'static str,
        at_most: Duration,
        look: impl AsyncFn() -> bool,
    ) -> Result<(), ProcessError> {
        let deadline = Instant::now() + at_most;
        while !look().await {
            let (name, log, tail) = (self.name.clone(), self.log.display().to_string(), self.tail());
            if let Some(status) = self.ended() {
                return Err(ProcessError::Ended { name, status, log, tail });
            }
            if Instant::now() >= deadline {
                return Err(ProcessError::Late { name, state, seconds: at_most.as_secs(), log, tail });
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// The last lines of its log.
    #[must_use]
    pub fn tail(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }

    fn signal_family(&self, signal: Signal) -> Result<(), ProcessError> {
        signal_family(self.pid(), signal)
            .map_err(|source| ProcessError::Signal { name: self.name.clone(), source })
    }

    fn own_pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Signals a process and all that it started.
///
/// # Errors
/// When there is no such process.
pub fn signal_family(pid: u32, signal: Signal) -> io::Result<()> {
    let parent = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::NotFound)?;
    kill_process(parent, signal)?;
    for pid in descendants(pid) {
        // Some may have ended meanwhile.
        let _ = kill_process(pid, signal);
    }
    Ok(())
}

/// All that a process started, and they. PostgreSQL's backends lead groups of their own, so a group is not enough.
fn descendants(of: u32) -> Vec<Pid> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // After the name, which may hold anything: the state, then the parent.
        let parent =
            stat.rsplit_once(')').and_then(|(_, after)| after.split_whitespace().nth(1)?.parse().ok());
        if let Some(parent) = parent {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut left = vec![of];
    while let Some(pid) = left.pop() {
        let next = children.remove(&pid).unwrap_or_default();
        found.extend(next.iter().filter_map(|pid| Pid::from_raw(i32::try_from(*pid).ok()?)));
        left.extend(next);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(30);

    fn shell(name: &str, script: &str, logs: &Path) -> Process {
        Launch::new(name, "/bin/sh").args(["-c", script]).start(logs).unwrap()
    }

    fn state(pid: u32) -> Option<char> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.chars().next()
    }

    async fn until(what: &str, look: impl Fn() -> bool) {
        let deadline = Instant::now() + SOON;
        while !look() {
            assert!(Instant::now() < deadline, "{what}");
            tokio::time::sleep(LOOK).await;
        }
    }

    #[tokio::test]
    async fn what_it_prints_is_in_its_log_and_its_end_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = shell("talker", "echo out; echo err >&2; exit 3", folder.path());
        assert_eq!(process.wait(SOON).await.unwrap().code(), Some(3));
        assert_eq!(process.tail(), "out\nerr");
        let error = process.wait_until("ready", SOON, async || false).await.unwrap_err();
        assert!(error.to_string().contains("talker ended with exit status: 3"), "{error}");
    }

    #[tokio::test]
    async fn a_pause_reaches_the_whole_family_even_other_groups() {
        let folder = tempfile::tempdir().unwrap();
        let process = shell("parent", "setsid sleep 600 & echo started; wait", folder.path());
        until("no child", || !descendants(process.pid()).is_empty()).await;
        let child = descendants(process.pid())[0].as_raw_nonzero().get().cast_unsigned();
        process.pause().unwrap();
        until("not stopped", || state(process.pid()) == Some('T') && state(child) == Some('T')).await;
        process.resume().unwrap();
        until("not resumed", || state(process.pid()) == Some('S') && state(child) == Some('S')).await;
        kill_process(Pid::from_raw(child.cast_signed()).unwrap(), Signal::KILL).unwrap();
    }

    #[tokio::test]
    async fn who_does_not_end_when_asked_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let mut deaf = shell("deaf", "trap '' TERM; echo deaf; while :; do sleep 0.05; done", folder.path());
        until("not deaf yet", || deaf.tail() == "deaf").await;
        assert!(!deaf.stop(Duration::from_millis(100)).await);
        assert!(deaf.ended().is_some());
        let mut polite = shell("polite", "sleep 600", folder.path());
        assert!(polite.stop(SOON).await);
    }

    #[tokio::test]
    async fn a_dropped_process_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let process = shell("dropped", "sleep 600", folder.path());
        let pid = process.pid();
        drop(process);
        assert_eq!(state(pid), None);
    }
}
