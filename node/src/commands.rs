//! The commands of the `enfilade` binary.

mod backup;
mod cluster;
mod deletion_cost;
mod export;
mod operate;
mod probe;
mod seed;
mod top;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use enfilade_store::DatabaseUrl;
use enfilade_store::migrate::{self, State, Step};
use tokio::signal::unix::{SignalKind, signal};
use uuid::Uuid;

use crate::config::{Config, LogFormat, Partial};
use crate::files;
use crate::node::Node;
use crate::secret;
use crate::telemetry::{self, Telemetry};

/// Realtime rooms for people who draw, write and talk together.
#[derive(Parser)]
#[command(name = "enfilade", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a node until it is told to stop (SIGTERM or Ctrl-C)
    Serve(Settings),
    /// Print every setting as TOML, with where it comes from
    Config(Settings),
    /// Bring the database's schema up or down
    Migrate {
        #[command(subcommand)]
        direction: Direction,
    },
    /// Copy the database of a single node into a file, while the node runs or not
    Backup {
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        what: backup::Backup,
    },
    /// Make a backup the database again, while no node runs
    Restore {
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        what: backup::Restore,
    },
    /// Run this once after a database was restored by other means (PostgreSQL to a point in time, a snapshot of a volume), before nodes
    /// start: it lets clients notice
    AfterRestore(Settings),
    /// Look at the cluster
    Cluster {
        #[command(subcommand)]
        what: cluster::Cluster,
    },
    /// Watch the cluster: its nodes, and the rooms in which most is going on
    Top(top::Top),
    /// Look inside a room, as its owner has it
    Room {
        id: Uuid,
        #[command(flatten)]
        operators: operate::Operators,
    },
    /// Say who owns a shard, and which of its rooms are awake
    Shard {
        number: u16,
        #[command(flatten)]
        operators: operate::Operators,
    },
    /// Tell Kubernetes how many people each pod serves, so that it removes the emptiest first
    DeletionCost(deletion_cost::DeletionCost),
    /// Ask a node whether it is well, as the health check of a container does: fails unless it is
    Probe(probe::Probe),
    /// Write the log of rooms to standard output, for enfilade-check
    Export {
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        which: export::Export,
    },
    /// Fill the database with people and boards to try things with (safe to repeat)
    Seed {
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        what: seed::Seed,
    },
}

#[derive(Subcommand)]
enum Direction {
    /// Apply what is pending
    Up {
        /// Through this version only
        #[arg(long)]
        to: Option<i64>,
        #[command(flatten)]
        settings: Settings,
    },
    /// Undo the last migration, or those after a version, with the data in them
    Down {
        /// The version that stays; 0 leaves nothing
        #[arg(long)]
        to: Option<i64>,
        #[command(flatten)]
        settings: Settings,
    },
    /// List the migrations, applied or not
    Status {
        #[command(flatten)]
        settings: Settings,
    },
}

#[derive(Args, Clone)]
struct Settings {
    /// A TOML file with settings
    #[arg(long, env = "ENFILADE_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    given: Partial,
}

impl Settings {
    fn load(self) -> anyhow::Result<(Config, Partial)> {
        Config::load(self.given, self.config.as_deref())
    }
}

/// Runs what the command line says.
#[must_use]
pub fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    let result = refuse_secrets_in_flags(&matches)
        .and_then(|()| Ok(Cli::from_arg_matches(&matches)?))
        .and_then(|cli| run(cli, &matches));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("enfilade: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Arguments that are secrets, with the variables for them.
const SECRETS: [(&str, &str); 3] = [
    ("admin_token", "ENFILADE_ADMIN_TOKEN"),
    ("otlp_headers", "ENFILADE_OTLP_HEADERS"),
    ("password", "ENFILADE_SEED_PASSWORD"),
];
/// The same of arguments that are addresses, in which there may be a password.
const ADDRESSES: [(&str, &str); 2] =
    [("database_url", "ENFILADE_DATABASE_URL"), ("nats_url", "ENFILADE_NATS_URL")];

/// Everybody on a machine sees the flags of its processes.
fn refuse_secrets_in_flags(matches: &ArgMatches) -> anyhow::Result<()> {
    let flag = |name: &str| -> Option<String> {
        let given = matches.try_contains_id(name).is_ok()
            && matches.value_source(name) == Some(ValueSource::CommandLine);
        let value = given.then(|| matches.get_raw(name)).flatten()?.next()?;
        Some(value.to_string_lossy().into_owned())
    };
    let is_secret = |name: &str| flag(name).is_some_and(|said| secret::is_said(&said));
    let has_password = |name: &str| flag(name).is_some_and(|url| secret::without_passwords(&url) != url);
    let mut secrets = SECRETS.into_iter().filter(|(name, _)| is_secret(name));
    let mut addresses = ADDRESSES.into_iter().filter(|(name, _)| has_password(name));
    if let Some((name, variable)) = secrets.next().or_else(|| addresses.next()) {
        anyhow::bail!(
            "{name}: a secret in a flag is seen by everybody on this machine; put it into {variable}, or into a file and say @FILE"
        );
    }
    matches.subcommand().map_or(Ok(()), |(_, matches)| refuse_secrets_in_flags(matches))
}

fn run(cli: Cli, matches: &ArgMatches) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("start the runtime")?;
    match cli.command {
        Command::Serve(settings) => runtime.block_on(serve(settings.load()?.0)),
        Command::Config(settings) => {
            let (config, file) = settings.load()?;
            let given = matches.subcommand_matches("config").unwrap_or(matches);
            print!("{}", config.describe(given, &file));
            Ok(())
        }
        Command::Migrate { direction } => runtime.block_on(migrate(direction)),
        Command::Backup { settings, what } => runtime.block_on(what.run(settings)),
        Command::Restore { settings, what } => runtime.block_on(what.run(settings)),
        Command::AfterRestore(settings) => runtime.block_on(backup::after(settings)),
        Command::Export { settings, which } => runtime.block_on(which.run(settings)),
        Command::Top(top) => runtime.block_on(top.run()),
        Command::DeletionCost(command) => {
            telemetry::log("info", LogFormat::Auto)?;
            runtime.block_on(command.run())
        }
        Command::Room { id, operators } => runtime.block_on(operate::room(&operators, id)),
        Command::Shard { number, operators } => runtime.block_on(operate::shard(&operators, number)),
        Command::Probe(probe) => runtime.block_on(probe.run()),
        Command::Cluster { what } => runtime.block_on(what.run()),
        Command::Seed { settings, what } => {
            let config = settings.load()?.0;
            telemetry::log(&config.log, config.log_format)?;
            runtime.block_on(what.run(&config))
        }
    }
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let telemetry = Telemetry::start(&config)?;
    let config = files::make_room(config);
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    loop {
        let node = Node::start(&config, Some(telemetry.clone())).await?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            // The others believe that this process died. It comes back as another node.
            () = node.buried() => {
                node.stop().await;
                continue;
            }
        }
        tokio::select! {
            () = node.drain() => {}
            // Whoever asks twice is in a hurry.
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        node.stop().await;
        return Ok(());
    }
}

async fn migrate(direction: Direction) -> anyhow::Result<()> {
    let database = |settings: Settings| -> anyhow::Result<DatabaseUrl> {
        let url: DatabaseUrl = settings.load()?.0.database_url.parse()?;
        if let DatabaseUrl::Sqlite(path) = &url {
            make_folder_of(path)?;
        }
        Ok(url)
    };
    match direction {
        Direction::Up { to, settings } => {
            print(&migrate::up(&database(settings)?, to).await?, "is up to date");
        }
        Direction::Down { to, settings } => {
            print(&migrate::down(&database(settings)?, to).await?, "has nothing to undo");
        }
        Direction::Status { settings } => {
            print(&migrate::status(&database(settings)?).await?, "has no migrations");
        }
    }
    Ok(())
}

fn make_folder_of(file: &Path) -> anyhow::Result<()> {
    let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    std::fs::create_dir_all(folder).with_context(|| format!("make the folder {}", folder.display()))
}

fn print(steps: &[Step], nothing: &str) {
    for step in steps {
        let state = match step.state {
            State::Applied => "applied",
            State::Pending => "pending",
            State::Dirty => "dirty: it began and did not end",
            State::Changed => "changed: not the one that was applied",
            State::Newer => "applied by a newer version, this one can go on",
            State::Unknown => "unknown: applied by a newer version",
        };
        println!("{:04}  {:<16}  {state}", step.version, step.name);
    }
    if steps.is_empty() {
        println!("the database {nothing}");
    }
}
