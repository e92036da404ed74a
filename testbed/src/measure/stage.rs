//! Where rows are played: programs, a folder, the people who are signed in; and servers that start fresh for each shot.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use enfilade_loadtest::floor::process::{FloorError, FloorProcess};
use enfilade_loadtest::result::{ReadError, RunResult};

use super::load::{Load, SERVERS_CORE, Server, Subject, TESTERS_CORE, Verb};
use crate::cluster::{ClusterError, temporary_folder};
use crate::faults::trial::TrialError;
use crate::node::{Node, NodeSettings};
use crate::ports::{self, loopback};
use crate::process::{Launch, ProcessError};

/// Flags of every node that is measured: so many come that its usual bounds would be what is measured.
pub const NODE_FLAGS: [&str; 4] = ["--rooms-per-hour", "1000000", "--max-connections", "20000"];
/// How long a command of the load tester may take at the most.
const RUN: Duration = Duration::from_secs(180);
const SEARCH: Duration = Duration::from_secs(900);
const SIGN_UP: Duration = Duration::from_secs(600);

#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error(transparent)]
    Floor(#[from] FloorError),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Recording(#[from] TrialError),
    #[error("the load tester's result: {0}")]
    Result(#[from] ReadError),
    #[error("the load tester did not say how it went; its log ends with:\n{0}")]
    Silent(String),
    #[error("the load tester is not done after {0} s")]
    Endless(u64),
    #[error("{0}")]
    Nothing(&'static str),
}

/// The programs that are measured and that measure.
#[derive(Clone, Debug)]
pub struct Programs {
    pub node: PathBuf,
    pub tester: PathBuf,
}

/// What lasts from row to row.
#[derive(Debug)]
pub struct Stage {
    pub programs: Programs,
    /// Everything in small.
    pub quick: bool,
    /// How many people sign up where people are signed in; each brings several connections if there are more of those.
    people: u32,
    signed_up: bool,
    folder: tempfile::TempDir,
}

/// A server that runs. Dropped, it ends.
#[derive(Debug)]
pub struct Opened {
    pub url: String,
    /// The processes whose CPU and memory are measured.
    pub pids: Vec<u32>,
    pub node: Option<Node>,
    /// The core that the load tester keeps to.
    tester_core: Option<usize>,
    _floor: Option<FloorProcess>,
    /// Goes after the node that uses it.
    _data: Option<tempfile::TempDir>,
}

impl Opened {
    /// What runs already, and is ended by somebody else.
    #[must_use]
    pub fn elsewhere(url: String, pids: Vec<u32>) -> Self {
        Self { url, pids, node: None, tester_core: None, _floor: None, _data: None }
    }
}

impl Stage {
    /// # Errors
    /// When there is no room for a folder.
    pub fn new(programs: Programs, quick: bool, people: u32) -> Result<Self, MeasureError> {
        let folder = temporary_folder()?;
        std::fs::create_dir_all(folder.path().join("logs"))?;
        Ok(Self { programs, quick, people, signed_up: false, folder })
    }

    /// As large as it is played here.
    #[must_use]
    pub fn sized(&self, load: &Load) -> Load {
        if self.quick { load.clone().quick() } else { load.clone() }
    }

    /// Starts a server for one load.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn open(&mut self, on: Subject, load: &Load) -> Result<Opened, MeasureError> {
        let core = on.pinned.then_some(SERVERS_CORE);
        let mut opened = match on.server {
            Server::Node if load.signed_in => {
                self.sign_up().await?;
                self.open_node(&self.home(), core).await?
            }
            Server::Node => {
                let data = tempfile::tempdir_in(self.folder.path())?;
                let mut opened = self.open_node(data.path(), core).await?;
                opened._data = Some(data);
                opened
            }
            Server::Floor | Server::Coalescing => {
                let coalesce = on.server == Server::Coalescing;
                let floor = FloorProcess::start(&self.programs.tester, coalesce, core).await?;
                let mut opened = Opened::elsewhere(floor.target.to_string(), vec![floor.pid]);
                opened._floor = Some(floor);
                opened
            }
        };
        opened.tester_core = on.pinned.then_some(TESTERS_CORE);
        Ok(opened)
    }

    /// Takes a load to a server.
    ///
    /// # Errors
    /// When the load tester does not come back with a result.
    pub async fn take(&self, load: &Load, to: &Opened) -> Result<RunResult, MeasureError> {
        let result = self.folder.path().join("result.json");
        match std::fs::remove_file(&result) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let mut arguments: Vec<OsString> = load.arguments().into_iter().map(Into::into).collect();
        let mut set = |name: &str, value: OsString| arguments.extend([name.into(), value]);
        set("--url", to.url.clone().into());
        set("--json", result.clone().into());
        for pid in &to.pids {
            set("--pid", pid.to_string().into());
        }
        if let Some(core) = to.tester_core {
            set("--cpus", core.to_string().into());
        }
        if load.signed_in {
            set("--people", self.people_file().into());
        }
        let at_most = if load.verb == Verb::Run { RUN } else { SEARCH };
        let log = self.test(arguments, at_most).await?;
        let file = File::open(&result).map_err(|_| MeasureError::Silent(log))?;
        Ok(RunResult::read(file)?)
    }

    /// Runs the load tester to its end; the last lines that it said.
    async fn test(&self, arguments: Vec<OsString>, at_most: Duration) -> Result<String, MeasureError> {
        let launch = Launch::new("loadtest", &self.programs.tester).args(arguments);
        let mut process = launch.start(&self.logs())?;
        match process.wait(at_most).await {
            Some(_) => Ok(process.tail()),
            None => Err(MeasureError::Endless(at_most.as_secs())),
        }
    }

    async fn open_node(&self, data: &Path, core: Option<usize>) -> Result<Opened, MeasureError> {
        let pin = |core: usize| ["taskset".into(), "-c".into(), core.to_string().into()].to_vec();
        let settings = NodeSettings {
            name: "node".into(),
            listen: loopback(ports::free()?),
            admin: loopback(ports::free()?),
            data: data.to_owned(),
            cluster: None,
            trusted_proxies: "127.0.0.1".into(),
            wrapper: core.map(pin).unwrap_or_default(),
            flags: NODE_FLAGS.map(Into::into).to_vec(),
        };
        let mut node = Node::new(&self.programs.node, &self.logs(), settings);
        node.start().await?;
        let pids = node.process().map(|process| process.pid()).into_iter().collect();
        let mut opened = Opened::elsewhere(node.url(), pids);
        opened.node = Some(node);
        Ok(opened)
    }

    /// Once: hashing thousands of passwords takes a while, so these people last as long as the stage.
    async fn sign_up(&mut self) -> Result<(), MeasureError> {
        if self.signed_up {
            return Ok(());
        }
        let people = if self.quick { 10 } else { self.people };
        eprintln!("  {people} people sign up …");
        std::fs::create_dir_all(self.home())?;
        let node = self.open_node(&self.home(), None).await?;
        let file = self.people_file();
        let mut arguments: Vec<OsString> = vec!["people".into(), "--count".into(), people.to_string().into()];
        arguments.extend(["--url".into(), node.url.clone().into(), "--out".into(), file.clone().into()]);
        let log = self.test(arguments, SIGN_UP).await?;
        if !file.is_file() {
            return Err(MeasureError::Silent(log));
        }
        self.signed_up = true;
        Ok(())
    }

    /// The data of the node where people have signed up.
    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    fn people_file(&self) -> PathBuf {
        self.folder.path().join("people.json")
    }

    fn logs(&self) -> PathBuf {
        self.folder.path().join("logs")
    }
}
