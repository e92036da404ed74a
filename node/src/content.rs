//! What is in rooms, for the HTTP API: the same owners and the same log as for sockets.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use enfilade_actors::Refusal as RoomRefusal;
use enfilade_actors::bus::{Attached, Submission as ToRoom, Writer};
use enfilade_actors::cluster::Cluster;
use enfilade_actors::host::Offload;
use enfilade_actors::room::read_row;
use enfilade_actors::trace::Span;
use enfilade_proto::{Codec, Member, Position, RoomId, Seq, UserId};
use enfilade_store::RoomLog;

use crate::api::{History, Rooms, Submission, WrittenSnapshot, trace};
use crate::edge::EdgeNode;
use crate::people::Refusal;

/// How much of a log is read for one page of history.
const READ_BYTES: usize = 4 << 20;
/// What an op over HTTP counts towards the bounds of mailboxes; its size was bounded by that of the body.
const WEIGHT: u32 = 64 * 1024;

#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) cluster: Cluster,
    pub(crate) log: Arc<dyn RoomLog>,
    pub(crate) edge: Arc<EdgeNode>,
    pub(crate) offload: Offload,
}

#[async_trait]
impl Rooms for Content {
    async fn snapshot(&self, room: RoomId, codec: Codec) -> Result<(Position, Bytes), Refusal> {
        let Attached { position, contents, .. } = self.cluster.read(room).await?;
        let contents = contents.ok_or_else(|| Refusal::internal("an owner did not show its room"))?;
        let write = move || contents.encode(codec, position.seq);
        let snapshot = tokio::task::spawn_blocking(write).await.map_err(Refusal::internal)?;
        Ok((position, snapshot))
    }

    async fn latest_snapshot(&self, room: RoomId) -> Result<Position, Refusal> {
        Ok(self.edge.latest_snapshot(room).await?.position)
    }

    async fn named_snapshot(
        &self,
        room: RoomId,
        position: Position,
        codec: Codec,
        gzip: bool,
    ) -> Result<Option<WrittenSnapshot>, Refusal> {
        let Some(snapshot) = self.edge.snapshot_at(room, position) else { return Ok(None) };
        let gzipped = if gzip { snapshot.gzipped(codec, self.offload).await } else { None };
        Ok(Some(match gzipped {
            Some(bytes) => WrittenSnapshot { bytes, gzipped: true },
            None => WrittenSnapshot { bytes: snapshot.written(codec, self.offload).await, gzipped: false },
        }))
    }

    async fn history(&self, room: RoomId, after: Seq, limit: usize) -> Result<History, Refusal> {
        let rows = self.log.read(room, after, READ_BYTES).await?;
        let first_seq = rows.first().map_or(after.next(), |row| row.first.max(after.next()));
        // The log stops where a page of it would be too large.
        let more_rows = match rows.last() {
            Some(row) => !self.log.read(room, row.last, 1).await?.is_empty(),
            None => false,
        };
        let mut ops = Vec::new();
        for row in rows {
            let known = (first_seq.0 + ops.len() as u64).saturating_sub(row.first.0);
            ops.extend(read_row(&row.ops)?.into_iter().skip(usize::try_from(known).unwrap_or(usize::MAX)));
            if ops.len() > limit {
                break;
            }
        }
        let more = more_rows || ops.len() > limit;
        ops.truncate(limit);
        Ok(History { first_seq, ops, more })
    }

    async fn people(&self, room: RoomId, after: Option<UserId>, limit: u32) -> Result<Vec<Member>, Refusal> {
        Ok(self.cluster.people(room, after, limit).await?)
    }

    async fn submit(&self, submission: Submission) -> Result<Seq, Refusal> {
        let Submission { room, author, role, client, op_id, op } = submission;
        let writer = Writer { author: author.id, client };
        let recorded = trace::current().filter(|step| step.sampled);
        let mut span = if recorded.is_none() { self.edge.sampling().op(None) } else { None };
        let trace = recorded.or_else(|| span.as_ref().map(Span::context));
        trace.into_iter().for_each(trace::go_on);
        let to_room = ToRoom { writer, role, op_id, op, weight: WEIGHT, trace };
        let result = match self.cluster.submit(room, to_room) {
            Ok(answer) => answer.wait().await,
            Err(refusal) => Err(refusal),
        };
        if let (Some(span), Err(refusal)) = (&mut span, &result) {
            span.fail(refusal.code.as_str());
        }
        Ok(result?)
    }
}

impl From<RoomRefusal> for Refusal {
    fn from(refusal: RoomRefusal) -> Self {
        let mut ours = Self::new(refusal.code, refusal.message);
        ours.retry_after_ms = refusal.retry_after_ms;
        ours
    }
}
