//! `enfilade backup`, `restore` and `after-restore`: from the database into a file, back, and what is to be done once it is back.

use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use enfilade_store::{DatabaseUrl, after_restore, backup};

use super::Settings;

const ON_POSTGRES: &str = "the database is PostgreSQL, which has tools of its own for that: pg_basebackup, pgBackRest, CloudNativePG's backups, \
     or pg_dump. After any restore to an earlier time run `enfilade after-restore` (docs/backup.md)";

#[derive(Args)]
#[group(id = "copy")]
pub(super) struct Backup {
    /// The file to make; - writes to standard output
    #[arg(long)]
    to: PathBuf,
}

impl Backup {
    pub(super) async fn run(&self, settings: Settings) -> anyhow::Result<()> {
        let database = sqlite(settings)?;
        if self.to != Path::new("-") {
            let manifest = backup::make(&database, &self.to, env!("CARGO_PKG_VERSION")).await?;
            println!("{}: {manifest}", self.to.display());
            return Ok(());
        }
        if io::stdout().is_terminal() {
            bail!("a backup is no text: send it into a file, as in `enfilade backup --to - > FILE`");
        }
        // Nothing is sent before it was checked.
        let file = database.with_added_extension("sending");
        let manifest = backup::make(&database, &file, env!("CARGO_PKG_VERSION")).await?;
        let mut made = File::open(&file).with_context(|| format!("open {}", file.display()))?;
        // It needs no name any more, and is gone when this process is.
        std::fs::remove_file(&file).with_context(|| format!("remove {}", file.display()))?;
        io::copy(&mut made, &mut io::stdout().lock()).context("write to standard output")?;
        eprintln!("{manifest}");
        Ok(())
    }
}

#[derive(Args)]
#[group(id = "from_copy")]
pub(super) struct Restore {
    /// The backup
    #[arg(long)]
    from: PathBuf,
    /// Replace the database that is there. It is set aside, not deleted
    #[arg(long, conflicts_with = "dry_run")]
    force: bool,
    /// Only say whether the backup is whole, and what is in it
    #[arg(long)]
    dry_run: bool,
}

impl Restore {
    pub(super) async fn run(&self, settings: Settings) -> anyhow::Result<()> {
        let from = || self.from.display().to_string();
        if self.dry_run {
            let manifest = backup::check(&self.from).await.with_context(from)?;
            println!("{} is whole: {manifest}", self.from.display());
            return Ok(());
        }
        let database = sqlite(settings)?;
        super::make_folder_of(&database)?;
        let restored = backup::restore(&self.from, &database, self.force).await.with_context(from)?;
        println!("{} is restored: {}", database.display(), restored.manifest);
        if let Some(aside) = restored.aside {
            println!("what was there before is {}", aside.display());
        }
        println!("{}", told(restored.epoch));
        Ok(())
    }
}

pub(super) async fn after(settings: Settings) -> anyhow::Result<()> {
    let database: DatabaseUrl = settings.load()?.0.database_url.parse()?;
    let epoch = after_restore(&database).await.context("no node may run while this is done")?;
    println!("{}", told(epoch));
    Ok(())
}

fn told(epoch: enfilade_proto::Epoch) -> String {
    format!("shards go on from epoch {epoch}: whoever comes back is given every room as it is now")
}

fn sqlite(settings: Settings) -> anyhow::Result<PathBuf> {
    match settings.load()?.0.database_url.parse()? {
        DatabaseUrl::Sqlite(path) => Ok(path),
        DatabaseUrl::Postgres(_) => bail!(ON_POSTGRES),
    }
}
