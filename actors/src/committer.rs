//! The committers: they write what all rooms of a node have pending, each in one commit after the other. A shard's rooms are always
//! one committer's, so what a room hands over is written in that order.
//!
//! A committer has no timer: a batch is whatever arrived while the last commit ran. So a quiet room waits for one commit, and a busy
//! node pays for one commit per hundreds of ops.

mod progress;

use std::sync::Arc;
use std::time::Duration;

use enfilade_proto::TraceParent;
use enfilade_store::{Batch, Incarnation, Outcome, RoomLog, Shard, StoreError};
use tokio::sync::mpsc;

pub use self::progress::Trouble;
use self::progress::{End, Progress};
use crate::stopwatch::Stopwatch;
use crate::trace::{Span, Tracer};

/// Rooms whose batches may wait. A room has one at a time, so this bounds the rooms that commit at once; others wait to be
/// let in.
const QUEUE: usize = 4_096;

/// A commit takes at most this many batches and bytes: about 10 ms of a slow disk.
const BATCHES: usize = 1_024;
const BYTES: usize = 4 << 20;

/// What became of a room's batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    Done,
    /// Another owner has the room.
    Fenced,
    /// Nothing was written. Try again later.
    Failed,
    /// Nobody knows. Read the log before anything else.
    Unknown,
}

/// What a room asks for, with the way back to it.
pub struct CommitRequest {
    pub batch: Batch,
    pub done: Box<dyn FnOnce(Commit) + Send>,
    /// Steps of ops in the batch that are traced. They end when it is written.
    pub spans: Vec<Span>,
}

impl std::fmt::Debug for CommitRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CommitRequest").field("batch", &self.batch).finish_non_exhaustive()
    }
}

/// The way to the committers. They work until the last of these is dropped.
#[derive(Clone, Debug)]
pub struct Committers {
    queues: Arc<[mpsc::Sender<CommitRequest>]>,
    progress: Arc<Progress>,
}

impl Committers {
    /// Starts `count` committers (at least one).
    #[must_use]
    pub fn start(log: &Arc<dyn RoomLog>, writer: Incarnation, count: usize, tracer: &Tracer) -> Self {
        let progress = Arc::new(Progress::of(count.max(1)));
        let start = |index: usize| {
            let (queue, requests) = mpsc::channel(QUEUE);
            tokio::spawn(run(log.clone(), writer, index, progress.clone(), requests, tracer.clone()));
            queue
        };
        Self { queues: (0..count.max(1)).map(start).collect(), progress }
    }

    /// Why ops cannot be written at present, if that is so.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        self.progress.trouble()
    }

    /// For how long the commit that began first has been under way.
    #[must_use]
    pub fn under_way(&self) -> Duration {
        self.progress.under_way()
    }

    /// Hands over a batch. Waits only while thousands of other rooms are waiting too.
    pub async fn commit(&self, request: CommitRequest) {
        let shard = Shard::of(request.batch.room);
        let queue = &self.queues[usize::from(shard.number()) % self.queues.len()];
        if let Err(mpsc::error::SendError(request)) = queue.send(request).await {
            request.spans.into_iter().for_each(|span| drop(span.failed("gone")));
            (request.done)(Commit::Failed);
        }
    }
}

async fn run(
    log: Arc<dyn RoomLog>,
    writer: Incarnation,
    index: usize,
    progress: Arc<Progress>,
    mut requests: mpsc::Receiver<CommitRequest>,
    tracer: Tracer,
) {
    let waiting = metrics::gauge!("enfilade_commits_waiting", "committer" => index.to_string());
    while let Some(first) = requests.recv().await {
        let mut bytes = first.batch.ops.len();
        let mut taken = vec![first];
        while taken.len() < BATCHES && bytes < BYTES {
            let Ok(next) = requests.try_recv() else { break };
            bytes += next.batch.ops.len();
            taken.push(next);
        }
        waiting.set(requests.len() as f64);
        progress.begins(index);
        let end = commit(&*log, writer, taken, &tracer).await;
        progress.ends(index, end);
    }
}

async fn commit(
    log: &dyn RoomLog,
    writer: Incarnation,
    mut taken: Vec<CommitRequest>,
    tracer: &Tracer,
) -> End {
    let mut spans = TracedBatches::of(&mut taken);
    let (batches, waiting): (Vec<_>, Vec<_>) =
        taken.into_iter().map(|request| (request.batch, request.done)).unzip();
    let ops = count(&batches);
    let watch = Stopwatch::start();
    let result = log.append(writer, &batches).await;
    let written = written(&batches, &result);
    record(watch, batches.len(), written, &result);
    spans.tell(batches.len(), ops, &result);
    if let Some(first) = spans.first() {
        tracer.example("enfilade_commit_seconds", watch.seconds(), first.trace);
    }
    drop(spans);
    let end = match &result {
        Ok(_) if written > 0 => End::Wrote,
        Ok(_) => End::Answered,
        Err(_) => End::Failed { asked: ops == 0 },
    };
    match result {
        Ok(outcomes) => {
            for (done, outcome) in waiting.into_iter().zip(outcomes) {
                done(match outcome {
                    Outcome::Committed => Commit::Done,
                    Outcome::Fenced => Commit::Fenced,
                });
            }
        }
        Err(error) => {
            let unknown = matches!(error, StoreError::UnknownOutcome(_));
            tracing::error!(
                error = &error as &dyn std::error::Error,
                batches = batches.len(),
                ops,
                "commit failed"
            );
            waiting.into_iter().for_each(|done| done(if unknown { Commit::Unknown } else { Commit::Failed }));
        }
    }
    end
}

fn count<'a>(batches: impl IntoIterator<Item = &'a Batch>) -> u64 {
    batches.into_iter().map(|batch| (batch.last.0 + 1).saturating_sub(batch.first.0)).sum()
}

/// How many ops are on disk now: a batch that was fenced is not.
fn written(batches: &[Batch], result: &Result<Vec<Outcome>, StoreError>) -> u64 {
    let outcomes = batches.iter().zip(result.iter().flatten());
    count(outcomes.filter(|(_, outcome)| **outcome == Outcome::Committed).map(|(batch, _)| batch))
}

fn record(watch: Stopwatch, batches: usize, written: u64, result: &Result<Vec<Outcome>, StoreError>) {
    let outcome = if result.is_ok() { "ok" } else { "error" };
    let fenced = result.iter().flatten().filter(|outcome| **outcome == Outcome::Fenced).count();
    metrics::counter!("enfilade_fences_total").increment(fenced as u64);
    metrics::counter!("enfilade_commits_total", "outcome" => outcome).increment(1);
    metrics::histogram!("enfilade_commit_seconds").record(watch.seconds());
    metrics::histogram!("enfilade_commit_batches").record(batches as f64);
    metrics::counter!("enfilade_ops_committed_total").increment(written);
}

/// Steps of ops that are committed, each with the place of its batch.
struct TracedBatches(Vec<(usize, Span)>);

impl TracedBatches {
    fn of(taken: &mut [CommitRequest]) -> Self {
        let spans = taken.iter_mut().map(|request| std::mem::take(&mut request.spans));
        let spans =
            spans.enumerate().flat_map(|(place, spans)| spans.into_iter().map(move |span| (place, span)));
        Self(spans.collect())
    }

    fn first(&self) -> Option<TraceParent> {
        self.0.first().map(|(_, span)| span.context())
    }

    /// Traces that meet in a commit are linked to one of them.
    fn tell(&mut self, batches: usize, ops: u64, result: &Result<Vec<Outcome>, StoreError>) {
        let first = self.first();
        for (place, span) in &mut self.0 {
            if let Some(first) = first.filter(|first| *first != span.context()) {
                span.link(first);
            }
            span.note("batch.rooms", batches as u64);
            span.note("batch.ops", ops);
            match result.as_ref().map(|outcomes| outcomes.get(*place)) {
                Ok(Some(Outcome::Fenced)) => span.fail("fenced"),
                Ok(_) => {}
                Err(error) => span.fail(error.to_string()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use bytes::Bytes;
    use enfilade_proto::{Epoch, RoomId, Seq};
    use enfilade_store::{Checkpoint, LogRow};
    use uuid::Uuid;

    use super::*;
    use crate::trace::{Kept, Side};

    /// A database that has an answer ready.
    #[derive(Debug)]
    struct Answers(fn() -> Result<Vec<Outcome>, StoreError>);

    #[async_trait]
    impl RoomLog for Answers {
        async fn append(&self, _: Incarnation, _: &[Batch]) -> Result<Vec<Outcome>, StoreError> {
            (self.0)()
        }

        async fn read(&self, _: RoomId, _: Seq, _: usize) -> Result<Vec<LogRow>, StoreError> {
            Ok(Vec::new())
        }

        async fn rooms(&self, _: Option<RoomId>, _: u32) -> Result<Vec<RoomId>, StoreError> {
            Ok(Vec::new())
        }

        async fn checkpoint(&self, _: RoomId) -> Result<Option<Checkpoint>, StoreError> {
            Ok(None)
        }

        async fn put_checkpoint(&self, _: &Checkpoint) -> Result<(), StoreError> {
            Ok(())
        }

        async fn prune(&self, _: u64, _: u32) -> Result<u64, StoreError> {
            Ok(0)
        }
    }

    /// A batch of so many ops.
    fn batch(ops: u64) -> Batch {
        let (room, first) = (RoomId(Uuid::from_u128(ops.into())), Seq(5));
        Batch { room, epoch: Epoch(1), first, last: Seq(4 + ops), at_ms: 0, ops: Bytes::new() }
    }

    fn request(ops: u64) -> CommitRequest {
        CommitRequest { batch: batch(ops), done: Box::new(drop), spans: Vec::new() }
    }

    /// What a commit of two batches comes to, with so many ops each.
    async fn end(ops: [u64; 2], answer: fn() -> Result<Vec<Outcome>, StoreError>) -> End {
        let taken = ops.map(request).into_iter().collect();
        commit(&Answers(answer), Incarnation(Uuid::nil()), taken, &Tracer::default()).await
    }

    #[tokio::test]
    async fn only_what_was_written_shows_that_writing_works() {
        use Outcome::{Committed, Fenced};
        assert_eq!(end([3, 1], || Ok(vec![Committed, Committed])).await, End::Wrote);
        assert_eq!(end([3, 1], || Ok(vec![Fenced, Committed])).await, End::Wrote);
        assert_eq!(end([3, 1], || Ok(vec![Fenced, Fenced])).await, End::Answered);
        assert_eq!(end([3, 0], || Ok(vec![Fenced, Committed])).await, End::Answered);
        assert_eq!(end([0, 0], || Ok(vec![Committed, Committed])).await, End::Answered);
        let away = || Err(StoreError::Unavailable("away".into()));
        assert_eq!(end([3, 0], away).await, End::Failed { asked: false });
        assert_eq!(end([0, 0], away).await, End::Failed { asked: true });
    }

    #[test]
    fn ops_that_were_fenced_do_not_count_as_written() {
        let batches = [batch(3), batch(0), batch(40)];
        let answer = |outcomes: [Outcome; 3]| written(&batches, &Ok(outcomes.to_vec()));
        assert_eq!(answer([Outcome::Committed; 3]), 43);
        assert_eq!(answer([Outcome::Committed, Outcome::Committed, Outcome::Fenced]), 3);
        assert_eq!(answer([Outcome::Fenced; 3]), 0);
        assert_eq!(written(&batches, &Err(StoreError::Unavailable("away".into()))), 0);
    }

    #[test]
    fn traces_that_meet_in_a_commit_are_linked_to_one_of_them_and_fail_with_their_batch() {
        let kept = Kept::default();
        let request = |spans: usize| CommitRequest {
            spans: (0..spans).filter_map(|_| kept.tracer().root("commit", Side::Internal)).collect(),
            ..request(1)
        };
        let mut taken = [request(0), request(1), request(2)];
        let mut spans = TracedBatches::of(&mut taken);
        let first = spans.first().unwrap();
        spans.tell(3, 7, &Ok(vec![Outcome::Committed, Outcome::Committed, Outcome::Fenced]));
        drop(spans);
        let told = kept.spans();
        let links: Vec<_> = told.iter().map(|span| span.links.clone()).collect();
        assert_eq!(links, [vec![], vec![first], vec![first]]);
        let facts = vec![("batch.rooms", 3_u64.into()), ("batch.ops", 7_u64.into())];
        assert!(told.iter().all(|span| span.facts == facts));
        let failures: Vec<_> = told.iter().map(|span| span.failure.as_deref()).collect();
        assert_eq!(failures, [None, Some("fenced"), Some("fenced")]);
    }
}
