//! `enfilade backup`, `restore` and `after-restore`: from the database into a file, back, and what is to be done once it is back.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _};
use std::os::unix::fs::OpenOptionsExt as _;
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
    /// The backup; - for standard input
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
        if self.from.as_os_str() != "-" {
            return self.restore(settings, &self.from).await;
        }
        let database = sqlite(settings.clone())?;
        super::make_folder_of(&database)?;
        let received = database.with_added_extension("receiving");
        let took = receive(&received);
        let restored = match took {
            Ok(()) => self.restore(settings, &received).await,
            Err(error) => Err(error),
        };
        let _ = std::fs::remove_file(&received);
        restored
    }

    async fn restore(&self, settings: Settings, backup: &Path) -> anyhow::Result<()> {
        let from = || backup.display().to_string();
        if self.dry_run {
            let manifest = backup::check(backup).await.with_context(from)?;
            println!("{} is whole: {manifest}", backup.display());
            return Ok(());
        }
        let database = sqlite(settings)?;
        super::make_folder_of(&database)?;
        let restored = backup::restore(backup, &database, self.force).await.with_context(from)?;
        println!("{} is restored: {}", database.display(), restored.manifest);
        if let Some(aside) = restored.aside {
            println!("what was there before is {}", aside.display());
        }
        println!("{}", told(restored.epoch));
        Ok(())
    }
}

/// Takes a backup in from standard input.
fn receive(file: &Path) -> anyhow::Result<()> {
    if io::stdin().is_terminal() {
        bail!("a backup is no text: send it in from a file, as in `enfilade restore --from - < FILE`");
    }
    let mut options = OpenOptions::new();
    // Whoever has a backup can sign tokens: nobody else reads it.
    let mut kept = options.write(true).create(true).truncate(true).mode(0o600).open(file)?;
    io::copy(&mut io::stdin().lock(), &mut kept).context("read from standard input")?;
    Ok(kept.sync_all()?)
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
