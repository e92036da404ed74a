//! What `run` and `search` measure, and by what: a server, and the floor beside it.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use clap::Args;
use enfilade_loadtest::display::Moment;
use enfilade_loadtest::door::Address;
use enfilade_loadtest::floor::process::FloorProcess;
use enfilade_loadtest::result::RunResult;
use enfilade_loadtest::scenario::{Kind, Scenario, Settings};
use enfilade_loadtest::swarm::run::{Generator, Subject, run};
use enfilade_loadtest::target::Target;
use tokio::sync::watch;

use super::door::DoorArgs;
use super::report::RunResultArgs;
use super::{Failure, display};

/// What is measured, and against what.
#[derive(Debug, Args)]
pub(super) struct SubjectArgs {
    /// A kind of scenario, or a TOML file with one
    #[arg(value_name = "KIND|FILE")]
    what: String,
    /// Where the server is; several nodes, if it is given several times
    #[arg(long, default_value = "http://127.0.0.1:8080", env = "ENFILADE_URL", value_delimiter = ',')]
    url: Vec<Address>,
    #[command(flatten)]
    door: DoorArgs,
    /// The server's processes on this machine: their CPU and memory are measured
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pid: Vec<u32>,
    /// The operators' port of a node: what it counts while it is measured is told
    #[arg(long, value_name = "URL")]
    metrics: Option<Target>,
    /// Measure the floor, too, in turns with the server
    #[arg(long, help_heading = "Floor")]
    pub(super) floor: bool,
    /// Let the floor coalesce
    #[arg(long, requires = "floor", help_heading = "Floor")]
    coalesce: bool,
    /// The core that the floor runs on
    #[arg(long, value_name = "CORE", requires = "floor", help_heading = "Floor")]
    floor_cpu: Option<usize>,
    /// The cores that the workers run on
    #[arg(long, value_name = "CORE", value_delimiter = ',', help_heading = "Generator")]
    cpus: Vec<usize>,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    pub(super) result: RunResultArgs,
}

impl SubjectArgs {
    /// Those of the flags, and of the file if one is named.
    pub(super) fn take_settings(&mut self) -> anyhow::Result<Settings> {
        let what = &self.what;
        let file = match what.parse::<Kind>() {
            Ok(kind) => Settings { kind: Some(kind), ..Settings::default() },
            Err(error) if !what.ends_with(".toml") => return Err(anyhow!("{error}, or a TOML file")),
            Err(_) => {
                let text = std::fs::read_to_string(what).with_context(|| format!("read {what}"))?;
                toml::from_str(&text).with_context(|| format!("understand {what}"))?
            }
        };
        let mut settings = std::mem::take(&mut self.settings).or(file);
        settings.thresholds.get_or_insert_default().extend(self.result.thresholds());
        Ok(settings)
    }
}

/// What is measured, where, and by what.
pub(super) struct Bench {
    server: Subject,
    program: PathBuf,
    cpus: Vec<usize>,
    coalesce: bool,
    floor_cpu: Option<usize>,
}

impl Bench {
    pub(super) async fn new(args: &SubjectArgs) -> Result<Self, Failure> {
        Ok(Self {
            server: Subject {
                targets: args.door.open(&args.url).await?,
                pids: args.pid.clone(),
                metrics: args.metrics.clone(),
            },
            program: std::env::current_exe()?,
            cpus: args.cpus.clone(),
            coalesce: args.coalesce,
            floor_cpu: args.floor_cpu,
        })
    }

    pub(super) async fn server(&self, scenario: &Scenario) -> Result<RunResult, Failure> {
        self.run(scenario, &self.server).await
    }

    pub(super) async fn floor(&self, scenario: &Scenario) -> Result<RunResult, Failure> {
        let floor = FloorProcess::start(&self.program, self.coalesce, self.floor_cpu).await?;
        let subject = Subject { targets: vec![floor.target.clone()], pids: vec![floor.pid], metrics: None };
        self.run(scenario, &subject).await
    }

    /// Runs a scenario; who looks on sees how it goes.
    async fn run(&self, scenario: &Scenario, subject: &Subject) -> Result<RunResult, Failure> {
        let (moments, mut told) = watch::channel(Moment::default());
        let looking_on = tokio::spawn(async move {
            let mut screen = display::screen();
            while told.changed().await.is_ok() {
                let moment = told.borrow_and_update().clone();
                screen.show(moment);
            }
        });
        let generator = Generator { program: self.program.clone(), cpus: self.cpus.clone(), moments };
        let result = run(scenario, subject, &generator).await.map_err(Failure::unreachable);
        drop(generator);
        // Nobody tells any more, so it ends, and what is said next stands below.
        let _ = looking_on.await;
        result
    }
}

/// A run in a line.
pub(super) fn brief(result: &RunResult) -> String {
    let figure = |name: &str| result.figures.get(name).copied().unwrap_or(0.0);
    let p99 = result.latency.get("signal").map_or(0.0, |latency| latency.corrected.p99);
    format!(
        "{} {:.0} deliveries/s, {:.2} % arrived, p99 {p99:.1} ms, {:.0} per CPU second, server {:.2} cores, generator {:.2}",
        result.verdict.as_str(),
        figure("deliveries_per_second"),
        figure("delivered") * 100.0,
        figure("deliveries_per_cpu_second"),
        figure("server_cores"),
        result.generator.cores,
    )
}
