//! `enfilade export`: the log as the checker reads it (loadtest/FORMAT.md, "The log"). A database on SQLite can be exported while no
//! node runs on it, one on PostgreSQL at any time.

use std::io::{self, BufWriter, Write};

use clap::Args;
use enfilade_actors::host::Clock as _;
use enfilade_actors::room::read_row;
use enfilade_proto::{RoomId, Seq};
use enfilade_store::{DatabaseUrl, OpenOptions, RoomLog, Store};
use serde_json::{Value, json};

use super::Settings;
use crate::people::SystemClock;

/// How much of a log, and how many rooms, are read at a time.
const READ_BYTES: usize = 4 << 20;
const ROOMS: u32 = 1_000;
const VERSION: u32 = 1;

#[derive(Args)]
#[group(id = "which")]
pub(super) struct Export {
    /// A room, by its id; may be given several times
    #[arg(long, value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    room: Vec<RoomId>,
    /// All rooms
    #[arg(long)]
    all: bool,
}

impl Export {
    /// Writes to standard output.
    pub(super) async fn run(&self, settings: Settings) -> anyhow::Result<()> {
        let url: DatabaseUrl = settings.load()?.0.database_url.parse()?;
        let store = Store::open(&url, &OpenOptions::default()).await?;
        let written = self.write(&store, BufWriter::new(io::stdout().lock())).await;
        store.close().await;
        written
    }

    async fn write(&self, store: &Store, mut out: impl Write) -> anyhow::Result<()> {
        let mut head = json!({ "version": VERSION, "at_ms": SystemClock.now_ms() });
        if !self.all {
            head["rooms"] = json!(self.room);
        }
        line(&mut out, "export", head)?;
        for (shard, owner, epoch) in store.ownership.view().await?.owners {
            line(
                &mut out,
                "takeover",
                json!({ "shard": shard.number(), "epoch": epoch, "incarnation": owner.0 }),
            )?;
        }
        let mut rows = 0;
        if self.all {
            let mut after = None;
            loop {
                let rooms = store.log.rooms(after, ROOMS).await?;
                let Some(last) = rooms.last() else { break };
                after = Some(*last);
                for room in rooms {
                    rows += export_room(&*store.log, room, &mut out).await?;
                }
            }
        } else {
            for room in &self.room {
                rows += export_room(&*store.log, *room, &mut out).await?;
            }
        }
        line(&mut out, "end", json!({ "rows": rows }))?;
        Ok(out.flush()?)
    }
}

/// Writes a room's rows and where its checkpoint stands. Returns how many rows.
async fn export_room(log: &dyn RoomLog, room: RoomId, out: &mut impl Write) -> anyhow::Result<u64> {
    let (mut after, mut count) = (Seq(0), 0);
    loop {
        let rows = log.read(room, after, READ_BYTES).await?;
        let Some(last) = rows.last() else { break };
        after = last.last;
        for row in rows {
            count += 1;
            let ops = read_row(&row.ops)?;
            let fields = json!({
                "room": room, "first": row.first, "last": row.last, "epoch": row.epoch, "at_ms": row.at_ms, "ops": ops
            });
            line(out, "row", fields)?;
        }
    }
    if let Some(checkpoint) = log.checkpoint(room).await? {
        line(out, "checkpoint", json!({ "room": room, "seq": checkpoint.seq, "epoch": checkpoint.epoch }))?;
    }
    Ok(count)
}

fn line(out: &mut impl Write, name: &str, fields: Value) -> io::Result<()> {
    writeln!(out, "{}", json!({ name: fields }))
}
