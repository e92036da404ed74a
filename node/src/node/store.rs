//! The store of a node: opened, and kept from growing for ever.

use std::sync::Arc;
use std::time::Duration;

use enfilade_actors::host::Clock;
use enfilade_store::{DatabaseUrl, OpenOptions, RoomLog, Store};

use super::StartError;
use crate::config::{Config, Retention};

/// How often old history is looked for, and how much of it is deleted at a time.
const PRUNE: Duration = Duration::from_secs(600);
const PRUNE_ROWS: u32 = 5_000;

pub(super) async fn open(config: &Config) -> Result<Store, StartError> {
    let url: DatabaseUrl = config.database_url.parse()?;
    if let DatabaseUrl::Sqlite(path) = &url
        && let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty())
    {
        std::fs::create_dir_all(folder).map_err(|e| StartError::DataDir(folder.display().to_string(), e))?;
    }
    Ok(Store::open(&url, &OpenOptions { migrate: config.migrate_on_start, ..OpenOptions::default() }).await?)
}

/// Deletes history that lies behind checkpoints and is older than it has to be kept.
pub(super) async fn prune(log: Arc<dyn RoomLog>, clock: Arc<dyn Clock>, retention: Retention) {
    let Retention::Days(days) = retention else { return };
    loop {
        let before_ms = clock.now_ms().saturating_sub(u64::from(days) * 86_400_000);
        match log.prune(before_ms, PRUNE_ROWS).await {
            Ok(rows) if rows == u64::from(PRUNE_ROWS) => continue,
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "old history was deleted"),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "old history cannot be deleted");
            }
        }
        tokio::time::sleep(PRUNE).await;
    }
}
