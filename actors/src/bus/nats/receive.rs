//! The way in: a task for each subject to which the node listens.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, Message as NatsMessage, RequestErrorKind, StatusCode, SubscribeError, Subscriber};
use bytes::Bytes;
use enfilade_proto::{RoomId, TraceParent};
use enfilade_store::Incarnation;
use futures_util::StreamExt;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::frame::Frame;
use super::incoming::{Heard, Incoming};
use super::outgoing::Destination;
use super::subjects::Subjects;
use super::wire::{TRACEPARENT, Wire, count, count_dropped, lock};
use crate::bus::Message;
use crate::trace::{Side, Span, TRACES};

/// What messages that come in pieces may hold until they are whole: urgent ones on one subject, and bulky ones.
const PARTIAL_BYTES: usize = 32 << 20;
const BULK_PARTIAL_BYTES: usize = 256 << 20;
/// Bulky messages that are decoded at a time.
const DECODING: usize = 4;
/// How long a server may take to know our subscriptions.
const SETTLE: Duration = Duration::from_secs(1);

/// The subscriptions that a node always has.
pub(super) struct Subscriptions {
    inbox: Subscriber,
    everybody: Subscriber,
    nobodies: Subscriber,
    bulk: Subscriber,
}

impl Subscriptions {
    /// Subscribes, and waits until the servers know of it, if they are there: answers may come as soon as something was asked.
    pub(super) async fn make(wire: &Wire) -> Result<Self, SubscribeError> {
        let subjects = &wire.subjects;
        let this = Self {
            inbox: wire.client.subscribe(subjects.of(Destination::Node(wire.me))).await?,
            everybody: wire.client.subscribe(subjects.of(Destination::Everybody)).await?,
            nobodies: wire.client.subscribe(subjects.nobodies()).await?,
            bulk: wire.bulk_client.subscribe(subjects.bulk(wire.me)).await?,
        };
        tokio::join!(round_trip(wire, &wire.client), round_trip(wire, &wire.bulk_client));
        Ok(this)
    }

    /// Hears, for ever.
    pub(super) async fn hear(self, wire: Arc<Wire>) {
        let mut tasks = JoinSet::new();
        tasks.spawn(hear(wire.clone(), self.inbox));
        tasks.spawn(hear(wire.clone(), self.everybody));
        tasks.spawn(hear_of_nobodies(wire.clone(), self.nobodies));
        tasks.spawn(hear_bulk(wire.clone(), self.bulk));
        tasks.spawn(hear_rooms(wire.clone()));
        tasks.spawn(wire.ear.clone().tell_disruptions());
        while tasks.join_next().await.is_some() {}
    }
}

/// Goes to the server and back: what was sent to it before has arrived. That nobody answers is the server's own answer. Returns whether
/// it came.
pub(super) async fn round_trip(wire: &Wire, client: &Client) -> bool {
    let answered = timeout(SETTLE, client.request(wire.subjects.void(), Bytes::new())).await;
    let nobody = |error: async_nats::RequestError| error.kind() == RequestErrorKind::NoResponders;
    answered.is_ok_and(|answer| answer.map_or_else(nobody, |_| true))
}

/// Hears the rooms that are wanted, as they change.
async fn hear_rooms(wire: Arc<Wire>) {
    let mut heard: BTreeMap<RoomId, AbortOnDropHandle<()>> = BTreeMap::new();
    loop {
        let wanted = lock(&wire.rooms).clone();
        heard.retain(|room, _| wanted.contains(room));
        for room in wanted {
            if let Entry::Vacant(entry) = heard.entry(room) {
                match wire.client.subscribe(wire.subjects.of(Destination::Listeners(room))).await {
                    Ok(subscriber) => {
                        entry.insert(AbortOnDropHandle::new(tokio::spawn(hear(wire.clone(), subscriber))));
                    }
                    Err(error) => tracing::error!(%room, %error, "cannot listen to a room"),
                }
            }
        }
        wire.rooms_changed.notified().await;
    }
}

async fn hear(wire: Arc<Wire>, mut subscriber: Subscriber) {
    let mut incoming = Incoming::new(PARTIAL_BYTES);
    while let Some(message) = subscriber.next().await {
        let traces = traces_of(&message);
        let Some((from, messages)) = take(&wire, &mut incoming, message.payload) else { continue };
        for bytes in messages {
            deliver(&wire, from, &bytes, &traces);
        }
    }
}

async fn hear_bulk(wire: Arc<Wire>, mut subscriber: Subscriber) {
    let mut incoming = Incoming::new(BULK_PARTIAL_BYTES);
    let decoding = Arc::new(Semaphore::new(DECODING));
    while let Some(NatsMessage { payload, reply, .. }) = subscriber.next().await {
        let Some((from, messages)) = take(&wire, &mut incoming, payload) else { continue };
        for bytes in messages {
            let Ok(permit) = decoding.clone().acquire_owned().await else { return };
            let wire = wire.clone();
            tokio::task::spawn_blocking(move || {
                deliver(&wire, from, &bytes, &[]);
                drop(permit);
            });
        }
        // Whoever sent it goes on with the next piece.
        if let Some(reply) = reply {
            let _ = wire.bulk_client.publish(reply, Bytes::new()).await;
        }
    }
}

async fn hear_of_nobodies(wire: Arc<Wire>, mut subscriber: Subscriber) {
    while let Some(message) = subscriber.next().await {
        if message.status != Some(StatusCode::NO_RESPONDERS) {
            continue;
        }
        if let Some(node) = Subjects::node(&message.subject) {
            wire.unreachable(node);
        }
    }
}

/// The coded messages that are whole with this frame, and whose they are; `None` if it is not for us, or no use.
fn take(wire: &Wire, incoming: &mut Incoming, payload: Bytes) -> Option<(Incarnation, Vec<Bytes>)> {
    let size = payload.len();
    let frame = match Frame::decode(payload) {
        Ok(frame) => frame,
        Err(error) => {
            tracing::debug!(%error, "a malformed frame on the bus");
            count_dropped("malformed", 1);
            return None;
        }
    };
    let from = frame.from;
    if from == wire.me {
        return None;
    }
    let Heard { messages, gap, discarded } = incoming.take(frame, Instant::now());
    count("in", 1, messages.len() as u64, size);
    if gap {
        metrics::counter!("enfilade_bus_gaps_total").increment(1);
        wire.ear.disrupt();
    }
    if discarded {
        count_dropped("incomplete", 1);
        return None;
    }
    Some((from, messages))
}

/// Decodes a message and lets the node hear it. One that cannot be decoded is of a later version, and skipped.
fn deliver(wire: &Wire, from: Incarnation, bytes: &[u8], traces: &[TraceParent]) {
    match rmp_serde::from_slice::<Message>(bytes) {
        Ok(mut message) => {
            let step = |parent: &TraceParent| wire.tracer.child(*parent, "bus receive", Side::Consumer);
            let spans: Vec<Span> = traces.iter().filter_map(step).collect();
            if !spans.is_empty() {
                message.set_traces(spans.iter().map(Span::context).collect());
            }
            wire.ear.tell(|endpoint| endpoint.hear(from, message));
        }
        Err(error) => {
            tracing::debug!(%from, %error, "a message that this version does not know");
            count_dropped("unknown", 1);
        }
    }
}

/// What makes no sense is ignored.
fn traces_of(message: &NatsMessage) -> Vec<TraceParent> {
    let Some(headers) = &message.headers else { return Vec::new() };
    let values = headers.get_all(TRACEPARENT);
    values.filter_map(|value| value.as_str().parse().ok()).take(TRACES).collect()
}
