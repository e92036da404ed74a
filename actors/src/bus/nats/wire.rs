//! What the tasks of one bus share, and the way out: queues, and the task that publishes what waits in them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_nats::{Client, HeaderMap};
use enfilade_proto::RoomId;
use enfilade_store::Incarnation;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};

use super::bulk::Bulk;
use super::connection::{Change, is_connected};
use super::outgoing::{Coded, Destination, Outbound, Outgoing};
use super::subjects::Subjects;
use crate::bus::Endpoint;
use crate::trace::{Span, Tracer};

/// The header by which a trace travels.
pub(super) const TRACEPARENT: &str = "traceparent";

/// The most that one NATS message carries. Servers take 1 MiB by default, and hold up everything else meanwhile.
const MAX_FRAME: usize = 256 << 10;
/// How often a node is said to be unreachable, and disruption is told.
const PAUSE: Duration = Duration::from_millis(100);
/// Nodes of which is remembered when that was.
const SUSPECTS: usize = 1024;

#[derive(Debug)]
pub(super) struct Wire {
    pub(super) me: Incarnation,
    pub(super) subjects: Subjects,
    pub(super) client: Client,
    pub(super) bulk_client: Client,
    pub(super) outbox: Arc<Outbox>,
    pub(super) bulk: Bulk,
    pub(super) ear: Arc<Ear>,
    pub(super) tracer: Tracer,
    /// The rooms to which this node listens.
    pub(super) rooms: Mutex<BTreeSet<RoomId>>,
    pub(super) rooms_changed: Notify,
    bulk_ids: AtomicU64,
    suspects: Mutex<BTreeMap<Incarnation, Instant>>,
}

/// What waits to be published.
#[derive(Debug)]
pub(super) struct Outbox {
    outgoing: Mutex<Outgoing>,
    filled: Notify,
    /// Whether everything that was taken out is published. What was added since then counts only for [`Outgoing`].
    idle: watch::Sender<bool>,
}

/// The node that listens, if it is there yet, and what it has to be told.
#[derive(Debug, Default)]
pub(super) struct Ear {
    endpoint: Mutex<Option<Weak<dyn Endpoint>>>,
    disrupted: Notify,
}

impl Wire {
    pub(super) fn new(
        subjects: Subjects,
        me: Incarnation,
        [client, bulk_client]: [Client; 2],
        outbox: Arc<Outbox>,
        ear: Arc<Ear>,
        tracer: Tracer,
    ) -> Self {
        Self {
            me,
            subjects,
            client,
            bulk_client,
            outbox,
            bulk: Bulk::default(),
            ear,
            tracer,
            rooms: Mutex::default(),
            rooms_changed: Notify::new(),
            bulk_ids: AtomicU64::new(0),
            suspects: Mutex::default(),
        }
    }

    pub(super) fn next_bulk_id(&self) -> u64 {
        self.bulk_ids.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn max_frame(&self) -> usize {
        MAX_FRAME.min(self.client.max_payload()).max(1024)
    }

    /// Queues a message, or loses it.
    pub(super) fn enqueue(&self, to: Destination, message: Coded) {
        if !is_connected(&self.client) {
            self.outbox.lose(to);
            count_dropped("disconnected", 1);
            message.lost("disconnected");
        } else if !self.outbox.push(to, message) {
            count_dropped("full", 1);
        }
    }

    /// Publishes what waits, for ever. After each round it waits until that is written: what comes meanwhile travels together.
    pub(super) async fn publish(self: Arc<Self>) {
        loop {
            self.outbox.filled().await;
            for outbound in self.outbox.round(self.max_frame()) {
                self.publish_one(outbound).await;
            }
            // It fails when the client has ended, which it does not while this task holds it.
            let _ = self.client.flush().await;
        }
    }

    async fn publish_one(&self, Outbound { to, frame, mut spans, messages }: Outbound) {
        let subject = self.subjects.of(to);
        let payload = frame.encode();
        count("out", 1, messages, payload.len());
        let headers = (!spans.is_empty()).then(|| headers(&spans));
        let client = &self.client;
        let result = match (to, headers) {
            // The reply subject makes the server say at once if nobody is there. It comes to life for nothing else.
            (Destination::Node(node), None) => {
                client.publish_with_reply(subject, self.subjects.nobody(node), payload).await
            }
            (Destination::Node(node), Some(headers)) => {
                let reply = self.subjects.nobody(node);
                client.publish_with_reply_and_headers(subject, reply, headers, payload).await
            }
            (_, None) => client.publish(subject, payload).await,
            (_, Some(headers)) => client.publish_with_headers(subject, headers, payload).await,
        };
        if let Err(error) = result {
            tracing::error!(%error, "NATS does not take a frame");
            count_dropped("refused", messages);
            spans.iter_mut().for_each(|span| span.fail("refused"));
        }
    }

    /// Nobody took what was sent to a node.
    pub(super) fn unreachable(&self, node: Incarnation) {
        if node != self.me && self.may_suspect(node, Instant::now()) {
            self.ear.tell(|endpoint| endpoint.unreachable(node));
        }
    }

    fn may_suspect(&self, node: Incarnation, now: Instant) -> bool {
        let mut suspects = lock(&self.suspects);
        if suspects.len() >= SUSPECTS {
            suspects.retain(|_, told| now - *told < PAUSE);
        }
        let recently = suspects.get(&node).is_some_and(|told| now - *told < PAUSE);
        if !recently && suspects.len() < SUSPECTS {
            suspects.insert(node, now);
        }
        !recently
    }
}

impl Outbox {
    pub(super) fn new(me: Incarnation) -> Self {
        Self {
            outgoing: Mutex::new(Outgoing::new(me)),
            filled: Notify::new(),
            idle: watch::Sender::new(true),
        }
    }

    /// Whether there was room.
    fn push(&self, to: Destination, message: Coded) -> bool {
        let taken = lock(&self.outgoing).push(to, message).is_ok();
        self.filled.notify_one();
        taken
    }

    fn lose(&self, to: Destination) {
        lock(&self.outgoing).lose(to);
    }

    /// What waits for a connection would come too late when it is there again.
    pub(super) fn clear(&self) {
        count_dropped("disconnected", lock(&self.outgoing).clear());
    }

    fn round(&self, max: usize) -> Vec<Outbound> {
        lock(&self.outgoing).round(max)
    }

    fn is_empty(&self) -> bool {
        lock(&self.outgoing).is_empty()
    }

    pub(super) fn waiting(&self) -> (usize, usize) {
        lock(&self.outgoing).waiting()
    }

    async fn filled(&self) {
        while self.is_empty() {
            self.idle.send_replace(true);
            self.filled.notified().await;
        }
        self.idle.send_replace(false);
    }

    /// Waits until everything was published.
    pub(super) async fn emptied(&self) {
        // The sender is not dropped meanwhile, so this fails for nobody.
        let _ = self.idle.subscribe().wait_for(|idle| *idle && self.is_empty()).await;
    }
}

impl Ear {
    pub(super) fn open(&self, endpoint: Weak<dyn Endpoint>) {
        *lock(&self.endpoint) = Some(endpoint);
    }

    /// Tells the node something, if it is (still) there.
    pub(super) fn tell(&self, what: impl FnOnce(&dyn Endpoint)) {
        let endpoint = lock(&self.endpoint).as_ref().and_then(Weak::upgrade);
        if let Some(endpoint) = endpoint {
            what(&*endpoint);
        }
    }

    /// Something may be lost.
    pub(super) fn disrupt(&self) {
        self.disrupted.notify_one();
    }

    pub(super) fn heed(&self, change: Change) {
        match change {
            Change::Lost => {}
            Change::Restored | Change::Overrun => self.disrupt(),
        }
    }

    /// Tells the node of disruptions, for ever. Those that come close together are one.
    pub(super) async fn tell_disruptions(self: Arc<Self>) {
        loop {
            self.disrupted.notified().await;
            self.tell(Endpoint::disrupted);
            sleep(PAUSE).await;
        }
    }
}

/// A header for every trace. The version before reads the first.
fn headers(spans: &[Span]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    spans.iter().for_each(|span| headers.append(TRACEPARENT, span.context().to_string()));
    headers
}

pub(super) fn count(direction: &'static str, frames: u64, messages: u64, bytes: usize) {
    metrics::counter!("enfilade_bus_frames_total", "direction" => direction).increment(frames);
    metrics::counter!("enfilade_bus_messages_total", "direction" => direction).increment(messages);
    metrics::counter!("enfilade_bus_bytes_total", "direction" => direction).increment(bytes as u64);
}

pub(super) fn count_dropped(reason: &'static str, messages: u64) {
    metrics::counter!("enfilade_bus_dropped_total", "reason" => reason).increment(messages);
}

/// Nothing under these locks can fail half-way.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
