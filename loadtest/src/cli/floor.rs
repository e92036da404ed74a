//! `floor`: the least that a server can do.

use std::net::SocketAddr;
use std::os::fd::AsFd as _;

use anyhow::Context as _;
use clap::Args;
use enfilade_loadtest::floor::Floor;
use enfilade_loadtest::floor::process::Announcement;
use enfilade_loadtest::usage;

use super::Failure;

#[derive(Debug, Args)]
pub(super) struct FloorArgs {
    /// Where it listens; with port 0 on any free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Write what came in one round of epoll in one piece to each member
    #[arg(long)]
    coalesce: bool,
    /// End when standard input does
    #[arg(long)]
    until_stdin_closes: bool,
    /// Run on this core
    #[arg(long, value_name = "CORE")]
    cpu: Option<usize>,
}

pub(super) fn run(args: &FloorArgs) -> Result<u8, Failure> {
    usage::raise_file_limit()?;
    if let Some(cpu) = args.cpu {
        usage::run_on(cpu)?;
    }
    let floor = Floor::bind(args.listen, args.coalesce, None)
        .with_context(|| format!("listen on {}", args.listen))?;
    let announcement = Announcement { address: floor.address()?.to_string(), pid: std::process::id() };
    println!("{}", serde_json::to_string(&announcement)?);
    let stdin = std::io::stdin();
    floor.serve(args.until_stdin_closes.then(|| stdin.as_fd()))?;
    Ok(0)
}
