//! `make cluster`: three nodes, NATS, PostgreSQL and HAProxy on this machine, until Ctrl-C or `make cluster-down`.

use std::fs::{self, File, TryLockError};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::{Args, Parser, Subcommand};
use enfilade_testbed::cluster::{Cluster, Network, Plan, Ports, Shape};
use enfilade_testbed::node::DATABASE_URL;
use enfilade_testbed::process::{Signal, signal_family};
use enfilade_testbed::state::{Member, State};
use enfilade_testbed::{admin, program};
use tokio::signal::unix::{SignalKind, signal};

/// How long everything may take to start; the first time PostgreSQL makes its folder.
const UP: Duration = Duration::from_secs(120);
/// How long the nodes may take to let their clients go, and everything to end.
const GRACE: Duration = Duration::from_secs(15);
const DOWN: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(100);
/// A node that ended is started again after this, as an operating system's supervisor would.
const RESTART: Duration = Duration::from_secs(2);
const DRAIN_SECONDS: u32 = 5;

/// A whole cluster on this machine: PostgreSQL, NATS, nodes, and HAProxy in front.
#[derive(Debug, Parser)]
#[command(name = "enfilade-cluster", version, max_term_width = 110)]
struct Cli {
    /// Where data, configuration and logs are
    #[arg(long, default_value = ".cluster", global = true)]
    folder: PathBuf,
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Start it, on the data that are there; ends with Ctrl-C
    Up(Up),
    /// End it; the data stay
    Down,
    /// Say what runs where, and who owns what
    Status,
    /// Follow the logs of all
    Logs,
}

#[derive(Debug, Args)]
struct Up {
    /// Return when it is up; `down` ends it
    #[arg(long)]
    detach: bool,
    /// How many nodes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=20))]
    nodes: u16,
    /// The load balancer's port, if it is free
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Nodes that know nothing of each other, each with SQLite
    #[arg(long)]
    alone: bool,
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("enfilade-cluster: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("start the runtime")?;
    match cli.command {
        Action::Up(up) if up.detach => detach(&cli.folder, &up),
        Action::Up(up) => runtime.block_on(stay_up(&cli.folder, &up)),
        Action::Down => down(&cli.folder),
        Action::Status => runtime.block_on(status(&cli.folder)),
        Action::Logs => logs(&cli.folder),
    }
}

/// Held by the process that runs the cluster, so that there is one, and everybody can see whether there is.
fn lock(folder: &Path) -> anyhow::Result<Option<File>> {
    let path = folder.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.with_context(|| format!("open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error).context("lock the folder"),
    }
}

async fn stay_up(folder: &Path, up: &Up) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    let folder = folder.canonicalize().context("find the folder")?;
    let Some(_lock) = lock(&folder)? else {
        bail!(
            "a cluster runs there already: `make cluster-down` ends it, `enfilade-cluster status` shows it"
        );
    };
    // Of the one before; its processes' numbers may be others' now.
    State::forget(&folder).context("remove the old state")?;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let told = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let mut told = std::pin::pin!(told);
    let plan = plan(&folder, up)?;
    eprintln!("starting …");
    let mut cluster = tokio::select! {
        cluster = Cluster::start(&plan) => cluster?,
        // What has started ends with the future.
        () = &mut told => return Ok(()),
    };
    let state = describe(&mut cluster, &plan);
    state.save(&folder).context("write the state")?;
    println!("{}", state.table(&[]));
    println!("Ctrl-C, or `make cluster-down` elsewhere, ends it; the data stay.");
    tokio::select! {
        () = keep_up(&mut cluster, &plan, &folder) => {}
        () = &mut told => {}
    }
    eprintln!("ending …");
    tokio::select! {
        () = cluster.stop(GRACE) => {}
        // Whoever is in a hurry says so twice.
        _ = tokio::signal::ctrl_c() => {}
    }
    Ok(())
}

fn plan(folder: &Path, up: &Up) -> anyhow::Result<Plan> {
    let binary = program::built("ENFILADE_BIN", "enfilade").context(
        "there is no node: build it (`cargo build -p enfilade-node`), or name it in $ENFILADE_BIN",
    )?;
    let wished = Ports {
        balancer: up.port,
        statistics: 8404,
        postgres: 5440,
        nats: 4240,
        nodes: (1..=up.nodes).map(|n| (8080 + n, 9090 + n)).collect(),
    };
    Ok(Plan {
        binary,
        folder: folder.to_owned(),
        ports: wished.preferred().context("find ports")?,
        shape: if up.alone { Shape::Alone } else { Shape::Together },
        network: Network::Direct,
        drain_seconds: DRAIN_SECONDS,
        disk_megabytes: None,
        memory_groups: false,
        roles: Vec::new(),
        flags: Vec::new(),
    })
}

fn describe(cluster: &mut Cluster, plan: &Plan) -> State {
    let nodes = cluster.nodes.iter_mut().map(|node| Member {
        name: node.name().to_owned(),
        url: node.url(),
        admin: node.settings.admin,
        pid: node.process().map(|process| process.pid()),
    });
    let nodes = nodes.collect();
    State {
        supervisor: std::process::id(),
        url: format!("http://localhost:{}", plan.ports.balancer),
        statistics: format!("http://localhost:{}", plan.ports.statistics),
        nodes,
        database_url: cluster.postgres.as_ref().map(enfilade_testbed::Postgres::url),
        nats_url: cluster.nats.as_ref().map(enfilade_testbed::nats::NatsServer::url),
        binary: plan.binary.clone(),
        logs: cluster.logs.clone(),
    }
}

/// Starts nodes again that end; never returns.
async fn keep_up(cluster: &mut Cluster, plan: &Plan, folder: &Path) {
    loop {
        tokio::time::sleep(LOOK).await;
        for i in 0..cluster.nodes.len() {
            let node = &mut cluster.nodes[i];
            if node.is_running() {
                continue;
            }
            eprintln!("{} ended; it is started again in {} s", node.name(), RESTART.as_secs());
            tokio::time::sleep(RESTART).await;
            match node.launch() {
                // So that `status` shows the new process.
                Ok(()) => {
                    if let Err(error) = describe(cluster, plan).save(folder) {
                        eprintln!("the state cannot be written: {error}");
                    }
                }
                Err(error) => eprintln!("{error}"),
            }
        }
    }
}

/// The same command in the background.
fn detach(folder: &Path, up: &Up) -> anyhow::Result<()> {
    let logs = folder.join("logs");
    fs::create_dir_all(&logs).with_context(|| format!("make {}", logs.display()))?;
    let path = logs.join("cluster.log");
    let log = File::create(&path).with_context(|| format!("write {}", path.display()))?;
    let program = std::env::current_exe().context("find this program")?;
    let mut command = Command::new(program);
    command.arg("--folder").arg(folder).args(["up", "--nodes", &up.nodes.to_string()]);
    command.args(["--port", &up.port.to_string()]);
    if up.alone {
        command.arg("--alone");
    }
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
    let mut supervisor = command.spawn().context("start in the background")?;
    let deadline = Instant::now() + UP;
    loop {
        if let Some(state) = State::load(folder).ok().filter(|state| state.supervisor == supervisor.id()) {
            println!("{}", state.table(&[]));
            println!("`make cluster-down` ends it; the data stay.");
            return Ok(());
        }
        if let Some(status) = supervisor.try_wait()? {
            bail!("it ended with {status}:\n{}", fs::read_to_string(&path).unwrap_or_default());
        }
        if Instant::now() > deadline {
            signal_family(supervisor.id(), Signal::TERM).ok();
            bail!("it is not up after {} s; see {}", UP.as_secs(), logs.display());
        }
        std::thread::sleep(LOOK);
    }
}

/// The state of the cluster that runs; None if none does.
fn running(folder: &Path) -> anyhow::Result<Option<State>> {
    if !folder.exists() || lock(folder)?.is_some() {
        return Ok(None);
    }
    Ok(Some(State::load(folder).context("it is just starting: try again in a moment")?))
}

fn down(folder: &Path) -> anyhow::Result<()> {
    let Some(state) = running(folder)? else {
        println!("no cluster runs there");
        return Ok(());
    };
    let supervisor = i32::try_from(state.supervisor).ok().and_then(rustix::process::Pid::from_raw);
    let supervisor = supervisor.context("the state names no process")?;
    rustix::process::kill_process(supervisor, Signal::TERM).context("end the cluster")?;
    let deadline = Instant::now() + DOWN;
    while lock(folder)?.is_none() {
        if Instant::now() > deadline {
            bail!("it has not ended after {} s (process {})", DOWN.as_secs(), state.supervisor);
        }
        std::thread::sleep(LOOK);
    }
    println!("ended; the data are in {}", folder.display());
    Ok(())
}

async fn status(folder: &Path) -> anyhow::Result<()> {
    let Some(state) = running(folder)? else {
        println!("no cluster runs there; `make cluster` starts one");
        return Ok(());
    };
    let mut ready = Vec::new();
    for node in &state.nodes {
        ready.push(admin::is_ready(node.admin).await);
    }
    println!("{}", state.table(&ready));
    if let Some(database) = &state.database_url {
        // Its own output says what is wrong.
        let _ = Command::new(&state.binary).args(["cluster", "status"]).env(DATABASE_URL, database).status();
    }
    Ok(())
}

fn logs(folder: &Path) -> anyhow::Result<()> {
    let logs = folder.join("logs");
    let entries = fs::read_dir(&logs).with_context(|| format!("there are no logs in {}", logs.display()))?;
    let files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    Err(Command::new("tail").args(["-n", "20", "-F"]).args(files).exec()).context("tail")
}
