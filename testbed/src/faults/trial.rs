//! One fault from beginning to end: a cluster, a crowd in it, the fault, quiet, the audit.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use enfilade_loadtest::checker::files::{FilesError, rooms_of, scan_exports, scan_journals};
use enfilade_loadtest::checker::remote::scan_room;
use enfilade_loadtest::checker::{Invariant, LogScan, Report as Audit, Trust};
use enfilade_loadtest::clock::{Micros, SECOND};
use enfilade_loadtest::http::ApiError;
use enfilade_loadtest::result::RunResult;
use enfilade_loadtest::target::{InvalidTarget, Target};

use super::catalogue::{Act, Fault, Victims};
use super::inject::{Done, InjectError, Tormentor};
use super::journal::{self, ReadError};
use super::load::{Crowd, Load, LoadError};
use super::marks::Marks;
use super::measure::{Felt, Observer, Window};
use super::rolling::Leg;
use crate::cluster::{Cluster, ClusterError, Network, Plan, Ports, Shape, temporary_folder};
use crate::node::{DATABASE_URL, Node};
use crate::prometheus::{self, Prometheus, PrometheusError};

/// How long people draw before the fault, and after it was mended.
const BEFORE: Duration = Duration::from_secs(4);
const AFTER: Duration = Duration::from_secs(8);
/// What clients feel of a fault may come a while after it was mended.
const AFTERMATH: Micros = AFTER.as_secs() * SECOND;
const DRAIN_SECONDS: u32 = 4;
const GRACE: Duration = Duration::from_secs(20);
const NODES: usize = 3;
/// Enough for a database of this size, and little to fill.
const DISK_MEGABYTES: u32 = 192;

#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Prometheus(#[from] PrometheusError),
    #[error(transparent)]
    Inject(#[from] InjectError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the audit: {0}")]
    Files(#[from] FilesError),
    #[error("the audit: {0}")]
    Api(#[from] ApiError),
    #[error("the audit: {0}")]
    Target(#[from] InvalidTarget),
    #[error("the log cannot be exported: {0}")]
    Export(String),
}

/// Who draws, and with which node's program.
#[derive(Clone, Debug)]
pub struct Stage {
    pub binary: PathBuf,
    /// The node of the release before this one, if it was built.
    pub previous: Option<PathBuf>,
    pub session: PathBuf,
    pub clients: usize,
    pub rooms: usize,
    pub speed: f64,
    /// Limits of time are so many times as long.
    pub patience: f64,
}

/// Everything that is known of a trial.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub replayed: RunResult,
    pub audit: Audit,
    pub felt: Felt,
    /// The same of every leg, by its name.
    pub legs: Vec<(&'static str, Felt)>,
    pub done: Done,
    /// By how much limits of time were stretched.
    pub patience: f64,
}

/// What is special about a cluster.
#[derive(Clone, Copy, Debug)]
pub struct Scenery<'a> {
    pub shape: Shape,
    pub network: Network,
    /// Of the database's own.
    pub disk_megabytes: Option<u32>,
    pub memory_groups: bool,
    /// Whether the chart's alerts are judged.
    pub prometheus: bool,
    /// What its nodes begin as; None: this version.
    pub program: Option<&'a PathBuf>,
}

impl<'a> Scenery<'a> {
    #[must_use]
    pub fn plain(shape: Shape, network: Network) -> Self {
        Self { shape, network, disk_megabytes: None, memory_groups: false, prometheus: false, program: None }
    }

    fn of(fault: &Fault, stage: &'a Stage) -> Self {
        Self {
            disk_megabytes: matches!(fault.act, Act::FullDisk(_) | Act::StalledDisk(_))
                .then_some(DISK_MEGABYTES),
            memory_groups: matches!(fault.act, Act::Starve(_)),
            prometheus: fault.visible.is_some() && prometheus::program().is_some(),
            program: stage.previous.as_ref().filter(|_| fault.act == Act::RollingUpgrade),
            ..Self::plain(fault.shape(), fault.network())
        }
    }
}

/// A cluster with a folder of its own.
#[derive(Debug)]
pub struct Theatre {
    pub cluster: Cluster,
    pub folder: tempfile::TempDir,
    /// Who judges by the chart's alerts.
    pub prometheus: Option<Prometheus>,
}

impl Theatre {
    /// # Errors
    /// When a program is missing or does not start.
    pub async fn open(stage: &Stage, scenery: Scenery<'_>) -> Result<Self, TrialError> {
        let folder = temporary_folder()?;
        let nodes = if scenery.shape == Shape::Alone { 1 } else { NODES };
        let plan = Plan {
            binary: scenery.program.unwrap_or(&stage.binary).clone(),
            folder: folder.path().to_owned(),
            ports: Ports::free(nodes)?,
            shape: scenery.shape,
            network: scenery.network,
            drain_seconds: DRAIN_SECONDS,
            disk_megabytes: scenery.disk_megabytes,
            memory_groups: scenery.memory_groups,
            roles: Vec::new(),
            flags: Vec::new(),
        };
        let started = Cluster::start(&plan).await;
        // Its logs tell why.
        let cluster = started.inspect_err(|_| keep_logs(&folder, "start"))?;
        let mut theatre = Self { cluster, folder, prometheus: None };
        if scenery.prometheus {
            let node = |node: &Node| (node.name().to_owned(), node.settings.admin);
            let nodes: Vec<_> = theatre.cluster.nodes.iter().map(node).collect();
            let logs = &theatre.cluster.logs;
            theatre.prometheus = Some(Prometheus::start(theatre.folder.path(), logs, &nodes).await?);
        }
        Ok(theatre)
    }

    /// The load balancer's address.
    #[must_use]
    pub fn url(&self) -> String {
        self.cluster.url().unwrap_or_default()
    }

    /// Lets a crowd in and waits until it draws.
    ///
    /// # Errors
    /// When it does not come in.
    pub async fn fill(&self, crowd: &Crowd) -> Result<(Load, journal::Progress), TrialError> {
        let mut load = Load::start(crowd, &self.url(), self.folder.path(), &self.cluster.logs)?;
        let progress = load.wait_until_busy().await?;
        Ok((load, progress))
    }

    /// Holds the log against what the clients and the tormentor wrote down.
    ///
    /// # Errors
    /// When the log cannot be had.
    pub async fn audit(&self, binary: &Path, journal: &Path, marks: &Marks) -> Result<Audit, TrialError> {
        let journals = [journal.to_owned(), marks.path().to_owned()];
        let mut scan = LogScan::new(Trust::default());
        match self.export(binary)? {
            Some(log) => scan_exports(&mut scan, &[log])?,
            None => {
                let target: Target = self.url().parse()?;
                for (room, link) in rooms_of(&[journal.to_owned()])? {
                    scan_room(&mut scan, &target, room, link.as_deref()).await?;
                }
            }
        }
        let mut scan = scan.end_of_log();
        scan_journals(&mut scan, &journals)?;
        let audit = scan.finish();
        // Kept with the logs if something is wrong.
        std::fs::write(self.folder.path().join("audit.txt"), audit.to_string())?;
        Ok(audit)
    }

    /// The log as a file, with epochs; None if this node's program cannot write one.
    fn export(&self, binary: &Path) -> Result<Option<PathBuf>, TrialError> {
        let knows = Command::new(binary).args(["export", "--help"]).output()?.status.success();
        let Some(postgres) = self.cluster.postgres.as_ref().filter(|_| knows) else { return Ok(None) };
        let path = self.folder.path().join("log.ndjson");
        let output = Command::new(binary)
            .args(["export", "--all"])
            .env(DATABASE_URL, postgres.url())
            .stdin(Stdio::null())
            .stdout(File::create(&path)?)
            .stderr(Stdio::piped())
            .spawn()?
            .wait_with_output()?;
        if output.status.success() {
            Ok(Some(path))
        } else {
            Err(TrialError::Export(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
        }
    }

    /// Ends the cluster. Logs and journals are kept if something is wrong.
    pub async fn close(mut self, keep: Option<&str>) {
        if let Some(prometheus) = &mut self.prometheus {
            prometheus.stop().await;
        }
        self.cluster.stop(GRACE).await;
        if let Some(name) = keep {
            keep_logs(&self.folder, name);
        }
    }
}

/// Whoever has to find out why something failed needs what was written; the servers' data would be too much.
fn keep_logs(folder: &tempfile::TempDir, name: &str) {
    let kept = std::env::temp_dir().join(format!("enfilade-faults-{}", std::process::id())).join(name);
    let copied =
        copy_files(folder.path(), &kept).and_then(|()| copy_files(&folder.path().join("logs"), &kept));
    match copied {
        Ok(()) => eprintln!("  logs and journals are in {}", kept.display()),
        Err(error) => eprintln!("  logs and journals are lost: {error}"),
    }
}

fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// Runs one fault.
///
/// # Errors
/// When it could not be run to its end; the cluster is ended all the same.
pub async fn run(stage: &Stage, fault: &Fault) -> Result<Outcome, TrialError> {
    let mut theatre = Theatre::open(stage, Scenery::of(fault, stage)).await?;
    let outcome = play(stage, fault, &mut theatre).await;
    let clean = outcome.as_ref().is_ok_and(|outcome| super::report::judge(fault, outcome).is_empty());
    theatre.close((!clean).then_some(fault.name)).await;
    outcome
}

async fn play(stage: &Stage, fault: &Fault, theatre: &mut Theatre) -> Result<Outcome, TrialError> {
    // In a single room, whoever does not own it owns nothing.
    let one_room = matches!(fault.act, Act::Kill(Victims::Edge | Victims::Both));
    let crowd = Crowd {
        session: stage.session.clone(),
        clients: stage.clients,
        rooms: if one_room { 1 } else { stage.rooms },
        speed: stage.speed,
        lasts: Some(BEFORE + fault.lasts() + AFTER),
    };
    let (load, progress) = theatre.fill(&crowd).await?;
    let room = *progress.rooms.first().ok_or_else(|| io::Error::other("the crowd has no room"))?;
    tokio::time::sleep(BEFORE).await;
    let mut marks = Marks::create(&theatre.folder.path().join("marks.ndjson"))?;
    let mut tormentor = Tormentor::new(&mut theatre.cluster, &mut marks, room, stage);
    tormentor.prometheus = theatre.prometheus.as_ref().map(|prometheus| prometheus.address);
    let done = tormentor.perform(fault).await?;
    let (replayed, journal) = load.finish().await?;
    let audit = theatre.audit(&stage.binary, &journal, &marks).await?;
    let felt = observe(&journal, window(&marks, &done))?;
    let of_leg = |leg: &Leg| {
        let window = Window { from: leg.from, to: leg.to, struck: done.struck.clone() };
        Ok::<_, ReadError>((leg.name, observe(&journal, window)?))
    };
    let legs = done.legs.iter().map(of_leg).collect::<Result<_, _>>()?;
    Ok(Outcome { replayed, audit, felt, legs, done, patience: stage.patience })
}

/// From the first mark to a moment after the last.
#[must_use]
pub fn window(marks: &Marks, done: &Done) -> Window {
    let (from, to) = marks.span(0);
    Window { from, to: to + AFTERMATH, struck: done.struck.clone() }
}

/// # Errors
/// When the journal cannot be read.
pub fn observe(path: &Path, window: Window) -> Result<Felt, ReadError> {
    let mut observer = Observer::new(window);
    journal::each(path, |moment, entry| observer.take(moment, entry))?;
    Ok(observer.finish())
}

/// How many violations the audit found of an invariant.
#[must_use]
pub fn violations(audit: &Audit, invariant: Invariant) -> u64 {
    audit.of(invariant).map_or(0, |outcome| outcome.violations)
}
