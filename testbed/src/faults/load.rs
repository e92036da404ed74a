//! People who draw all the while: a recorded session, repeated, replayed by the load tester with its oracle on.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use enfilade_loadtest::result::RunResult;
use enfilade_loadtest::session::{SessionError, SessionWriter, Title, read_session};

use super::journal::{self, Progress};
use super::repeat::{RepeatError, repeat};
use crate::process::{Launch, Process, ProcessError, Signal};

/// How long the crowd may take to come in and to get going.
const BUSY: Duration = Duration::from_secs(90);
/// How long everybody may take to have seen everything, after the last op.
const SETTLE: Duration = Duration::from_secs(60);
/// For the newcomers and the goodbyes after that.
const END: Duration = Duration::from_secs(60);
/// How many ops are accepted before anything is broken.
const WARM_OPS: u64 = 30;

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("the load tester is not built: cargo build -p enfilade-loadtest")]
    NoProgram,
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("{path}: {source}")]
    Session { path: PathBuf, source: SessionError },
    #[error("{path}: {source}")]
    Repeat { path: PathBuf, source: RepeatError },
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error("the load tester did not say how it went; its log ends with:\n{0}")]
    Silent(String),
    #[error("the load tester is not done {0} s after the last op; its log ends with:\n{1}")]
    Endless(u64, String),
}

/// Who draws what.
#[derive(Clone, Debug)]
pub struct Crowd {
    /// The recording.
    pub session: PathBuf,
    pub clients: usize,
    pub rooms: usize,
    pub speed: f64,
    /// The recording is repeated for so long; None: it is played once.
    pub lasts: Option<Duration>,
}

/// A crowd at work.
#[derive(Debug)]
pub struct Load {
    process: Process,
    pub journal: PathBuf,
    report: PathBuf,
    lasts: Duration,
}

impl Load {
    /// Writes the session and lets the crowd come in.
    ///
    /// # Errors
    /// When the recording cannot be used, or the load tester does not start.
    pub fn start(crowd: &Crowd, url: &str, folder: &Path, logs: &Path) -> Result<Self, LoadError> {
        let program = crate::program::built("ENFILADE_LOADTEST_BIN", "enfilade-loadtest");
        let program = program.ok_or(LoadError::NoProgram)?;
        let (session, lasts) = prepare(crowd, folder)?;
        let (journal, report) = (folder.join("journal.ndjson"), folder.join("replay.json"));
        let number = |number: usize| OsString::from(number.to_string());
        let arguments: Vec<OsString> = vec![
            "replay".into(),
            session.into(),
            "--url".into(),
            url.into(),
            "--clients".into(),
            number(crowd.clients),
            "--rooms".into(),
            number(crowd.rooms),
            "--speed".into(),
            crowd.speed.to_string().into(),
            "--gather".into(),
            format!("{}s", BUSY.as_secs()).into(),
            "--settle".into(),
            format!("{}s", SETTLE.as_secs()).into(),
            // What is judged here is correctness; figures of latency say by themselves how late the generator was.
            "--max-lag".into(),
            "1h".into(),
            "--journal".into(),
            journal.clone().into(),
            "--json".into(),
            report.clone().into(),
        ];
        let process = Launch::new("replay", program).args(arguments).start(logs)?;
        Ok(Self { process, journal, report, lasts })
    }

    /// Waits until ops flow; says in which rooms.
    ///
    /// # Errors
    /// When it ends before, or takes too long.
    pub async fn wait_until_busy(&mut self) -> Result<Progress, LoadError> {
        let path = self.journal.clone();
        let busy = async || journal::progress(&path).is_ok_and(|progress| progress.accepted >= WARM_OPS);
        self.process.wait_until("busy", BUSY, busy).await?;
        journal::progress(&path).map_err(|source| LoadError::File { path, source: io::Error::other(source) })
    }

    /// Nobody draws anything new from now on; everything is judged all the same.
    ///
    /// # Errors
    /// When it has ended.
    pub fn interrupt(&self) -> Result<(), ProcessError> {
        self.process.signal(Signal::INT)
    }

    /// Waits until everybody has drawn and seen everything, and says how it went.
    ///
    /// # Errors
    /// When it takes too long, or ends without a report.
    pub async fn finish(mut self) -> Result<(RunResult, PathBuf), LoadError> {
        let patience = self.lasts + SETTLE + END;
        if self.process.wait(patience).await.is_none() {
            return Err(LoadError::Endless((SETTLE + END).as_secs(), self.process.tail()));
        }
        let silent = || LoadError::Silent(self.process.tail());
        let file = File::open(&self.report).map_err(|_| silent())?;
        let replayed = RunResult::read(file).map_err(|_| silent())?;
        Ok((replayed, self.journal))
    }
}

/// The session to be played, and how long it takes.
fn prepare(crowd: &Crowd, folder: &Path) -> Result<(PathBuf, Duration), LoadError> {
    let path = || crowd.session.clone();
    let unreadable = |source| LoadError::File { path: path(), source };
    let file = File::open(&crowd.session).map_err(unreadable)?;
    let session =
        read_session(BufReader::new(file)).map_err(|source| LoadError::Session { path: path(), source })?;
    let Some(lasts) = crowd.lasts else {
        let lasts = Duration::from_secs_f64(session.header.duration.max(0.0) / crowd.speed);
        return Ok((path(), lasts));
    };
    let events = repeat(&session, lasts.as_secs_f64() * crowd.speed)
        .map_err(|source| LoadError::Repeat { path: path(), source })?;
    let repeated = folder.join("session.enfilade.ndjson");
    let written = SessionWriter::create(&repeated).and_then(|mut writer| {
        events.iter().try_for_each(|event| writer.event(event))?;
        writer.finish(Title { title: session.header.title, ..Title::default() })
    });
    written.map_err(|source| LoadError::File { path: repeated.clone(), source })?;
    Ok((repeated, lasts))
}
