//! `people`: signs up people whom `run` brings.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use enfilade_loadtest::swarm::people;
use enfilade_loadtest::target::Target;

use super::Failure;

#[derive(Debug, Args)]
pub(super) struct PeopleArgs {
    /// Where the server is; it takes many sign-ups only with `--trusted-proxies 127.0.0.1`
    #[arg(long, default_value = "http://127.0.0.1:8080", env = "ENFILADE_URL")]
    url: Target,
    /// How many
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    count: u32,
    /// The file for `run --people` (their tokens are in it)
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,
}

pub(super) async fn run(args: PeopleArgs) -> Result<u8, Failure> {
    let people =
        people::sign_up(&args.url, args.count, rand::random()).await.map_err(Failure::unreachable)?;
    people::write(&args.out, &people).with_context(|| format!("cannot write {}", args.out.display()))?;
    println!("{}: {} people", args.out.display(), people.len());
    Ok(0)
}
