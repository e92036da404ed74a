//! The bus over a real NATS server. `$NATS_SERVER` names the program; without one, these tests are skipped with a notice.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod connecting;
mod faults;
mod permissions;
mod support;

use std::sync::Arc;
use std::time::Duration;

use enfilade_actors::bus::{
    Bus, ClusterEvent, Message, Notice, Refused, RoomEvent, Standing, Ticket, Watching, Writer,
};
use enfilade_actors::trace::{Side, SpanRecord};
use enfilade_actors::{Fingerprint, Refusal};
use enfilade_proto::{
    Epoch, ErrorCode, LoggedOp, LoginId, Member, OpId, Position, Seq, TraceId, TraceParent,
};
use enfilade_store::Shard;
use futures_util::StreamExt as _;
use serde_json::json;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_arrive_in_the_order_in_which_they_were_sent() {
    const MESSAGES: u64 = 100_000;
    let Some(server) = server().await else { return };
    let [a, mut b] = nodes(&server).await;
    let began = Instant::now();
    let to = b.me;
    let (progress, mut arrived) = tokio::sync::watch::channel(0);
    let sending = tokio::spawn(async move {
        for next in 0..MESSAGES {
            // More than fits into the queue would be lost, as it should.
            arrived.wait_for(|arrived| next < arrived + 30_000).await.unwrap();
            a.bus.send(to, number(next));
        }
        a
    });
    for expected in 0..MESSAGES {
        assert_eq!(b.numbers(1).await, [expected]);
        progress.send_replace(expected);
    }
    println!("{:.0} messages a second", MESSAGES as f64 / began.elapsed().as_secs_f64());
    sending.await.unwrap();
}

#[tokio::test]
async fn what_waits_together_travels_together() {
    let Some(server) = server().await else { return };
    let [a, mut b] = nodes(&server).await;
    let mut frames = sniff(&server, inbox(&b)).await;
    assert!(a.bus.round_trip().await.is_some());
    for next in 0..20_000 {
        a.bus.send(b.me, number(next));
    }
    let (messages, bytes) = a.bus.waiting();
    assert!(messages > 0 && bytes > messages, "{messages} messages with {bytes} bytes");
    b.numbers(20_000).await;
    assert_eq!(a.bus.waiting(), (0, 0));
    let mut count = 0;
    while let Ok(Some(_)) = timeout(Duration::from_millis(200), frames.next()).await {
        count += 1;
    }
    assert!((1..200).contains(&count), "{count} frames");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bulky_messages_arrive_whole_and_urgent_ones_overtake_them() {
    let Some(server) = server().await else { return };
    let [a, mut b] = nodes(&server).await;
    let bulks = [bulky(1, 13 << 20), bulky(2, 13 << 20)];
    for bulk in &bulks {
        a.bus.send(b.me, bulk.clone());
    }
    for next in 0..100 {
        a.bus.send(b.me, number(next));
    }
    let mut urgent = Vec::new();
    while urgent.len() < 100 {
        let (_, message) = b.message().await;
        urgent.push(number_of(&message).expect("a bulky message came before an urgent one"));
    }
    assert!(urgent.iter().copied().eq(0..100));
    let mut arrived = [b.message().await.1, b.message().await.1];
    arrived.sort_by_key(|message| matches!(message, Message::Attached { ticket: Ticket(2), .. }));
    assert!(arrived == bulks, "a bulky message is not what it was");
}

#[tokio::test]
async fn a_message_larger_than_a_frame_keeps_its_place_among_the_others() {
    let Some(server) = server().await else { return };
    let [a, mut b] = nodes(&server).await;
    let large = signals(3 << 20);
    a.bus.send(b.me, number(1));
    a.bus.send(b.me, large.clone());
    a.bus.send(b.me, number(2));
    assert_eq!(b.message().await, (a.me, number(1)));
    assert!(b.message().await.1 == large);
    assert_eq!(b.message().await, (a.me, number(2)));
}

#[tokio::test]
async fn every_kind_of_message_arrives_as_it_was_sent() {
    let Some(server) = server().await else { return };
    let [a, mut b] = nodes(&server).await;
    let Writer { author, client } = writer();
    let (ticket, room) = (Ticket(8), room(1));
    let logged = LoggedOp { author, client, op_id: OpId(5), at: 17, op: op() };
    let member: Member =
        serde_json::from_value(json!({ "id": author, "name": "Ada", "role": "editor" })).unwrap();
    let presence = attached().presence;
    let refusal = Refusal::new(ErrorCode::Forbidden, "no");
    let notices = [
        Notice::Arrived(vec![member.clone()]),
        Notice::Departed(vec![author]),
        Notice::Present(vec![member]),
        Notice::Audience(12),
        Notice::WriterBack(writer()),
        Notice::WriterGone { writer: writer(), left: true },
        Notice::Standing(Standing {
            position: Position { epoch: Epoch(2), seq: Seq(3) },
            here: Fingerprint::default(),
            people: Fingerprint::default(),
            edges: Fingerprint::default(),
            audience: Some(Watching { here: 1, everywhere: 2 }),
        }),
        Notice::Detached,
    ];
    let events = [
        RoomEvent::Ops { first: Seq(6), ops: vec![Arc::new(logged)].into(), traces: Vec::new() },
        RoomEvent::Presence(presence),
        RoomEvent::Edges { edges: vec![a.me], multicast: true },
        RoomEvent::Head(Seq(9)),
        RoomEvent::OwnerLost,
    ];
    let cluster_events = [
        ClusterEvent::LoginEnded(LoginId(Uuid::from_u128(6))),
        ClusterEvent::AccessChanged(room),
        ClusterEvent::RoomDeleted(room),
    ];
    let mut messages = vec![
        submission(None),
        signals(10),
        Message::Attach { room, ticket, stay: true, contents: false },
        Message::Answer { room, ticket, result: Err(Refused::NotOwner) },
        Message::Answer { room, ticket, result: Err(Refused::No(refusal)) },
        Message::Attached { ticket, result: Ok(attached()) },
        Message::Attached { ticket, result: Err(Refused::Gone) },
        Message::Moved { shards: vec![(Shard::of(room), Epoch(4))], to: a.me },
    ];
    messages.extend(notices.map(|notice| Message::Notice { room, notice }));
    messages.extend(events.map(|event| Message::Event { room, epoch: Epoch(2), event }));
    messages.extend(cluster_events.map(Message::Announced));
    for message in &messages {
        a.bus.send(b.me, message.clone());
    }
    for message in messages {
        assert_eq!(b.message().await, (a.me, message));
    }
}

#[tokio::test]
async fn a_multicast_reaches_those_that_listen_once() {
    let Some(server) = server().await else { return };
    let [mut a, mut b, mut c] = nodes(&server).await;
    for node in [&a, &b, &c] {
        node.bus.listen(room(1), true);
        node.bus.listen(room(1), true);
    }
    // Until both are heard to listen.
    multicast_until_heard(&a, 1, &mut b).await;
    multicast_until_heard(&a, 1, &mut c).await;
    for next in 1..=10 {
        a.bus.multicast(room(1), number(next));
        a.bus.multicast(room(2), number(99));
    }
    for node in [&mut b, &mut c] {
        let mut numbers = node.numbers(10).await;
        while numbers.last() != Some(&10) {
            numbers.extend(node.numbers(1).await);
        }
        numbers.retain(|number| *number != 0);
        assert!(numbers.iter().copied().eq(1..=10), "{numbers:?}");
    }
    // Who sends hears nothing of it, though it listens, too.
    b.bus.send(a.me, number(11));
    assert_eq!(a.numbers(1).await, [11]);
}

#[tokio::test]
async fn who_does_not_listen_any_more_hears_nothing() {
    let Some(server) = server().await else { return };
    let [a, mut b] = nodes(&server).await;
    b.bus.listen(room(1), true);
    b.bus.listen(room(1), false);
    b.bus.listen(room(1), true);
    multicast_until_heard(&a, 1, &mut b).await;
    b.bus.listen(room(1), false);
    let deadline = Instant::now() + SOON;
    loop {
        assert!(Instant::now() < deadline, "it still listens");
        while b.heard.try_recv().is_ok() {}
        a.bus.multicast(room(1), number(1));
        if timeout(Duration::from_millis(200), b.message()).await.is_err() {
            break;
        }
    }
}

#[tokio::test]
async fn a_broadcast_reaches_all_others_in_order() {
    let Some(server) = server().await else { return };
    let [mut a, mut b, mut c] = nodes(&server).await;
    for next in 0..1000 {
        a.bus.broadcast(number(next));
    }
    for node in [&mut b, &mut c] {
        assert!(node.numbers(1000).await.into_iter().eq(0..1000));
    }
    b.bus.send(a.me, number(7));
    assert_eq!(a.numbers(1).await, [7]);
}

#[tokio::test]
async fn a_trace_travels_beside_its_message() {
    let Some(server) = server().await else { return };
    let [a, mut b] = nodes(&server).await;
    let traced: TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap();
    let unsampled = TraceParent { sampled: false, ..traced };
    let other = TraceParent { trace: TraceId::new(7), ..traced };
    let mut frames = sniff(&server, inbox(&b)).await;
    let sent =
        [number(1), submission(Some(traced)), number(2), submission(Some(unsampled)), submission(None)];
    for message in &sent {
        a.bus.send(b.me, message.clone());
    }
    a.bus.send(b.me, event(vec![traced, other]));
    assert_eq!(b.message().await, (a.me, number(1)));
    let (_, submitted) = b.message().await;
    for message in [number(2), submission(None), submission(None)] {
        assert_eq!(b.message().await, (a.me, message), "nothing is told of what is not recorded");
    }
    let (_, told) = b.message().await;
    let ids = |message: &Message| message.traces().iter().map(|it| it.trace).collect::<Vec<_>>();
    assert_eq!((ids(&submitted), ids(&told)), (vec![traced.trace], vec![traced.trace, other.trace]));

    // The steps of both sides, each the child of the one before.
    let (published, received) = (a.kept.spans(), b.kept.spans());
    let step = |span: &SpanRecord| (span.name, span.side, span.context.trace);
    let wanted = [traced.trace, traced.trace, other.trace];
    assert_eq!(
        published.iter().map(step).collect::<Vec<_>>(),
        wanted.map(|it| ("bus publish", Side::Producer, it))
    );
    assert_eq!(
        received.iter().map(step).collect::<Vec<_>>(),
        wanted.map(|it| ("bus receive", Side::Consumer, it))
    );
    for (published, received) in published.iter().zip(&received) {
        assert_eq!((published.parent, received.parent), (Some(traced.span), Some(published.context.span)));
    }
    assert_eq!(submitted.traces(), [received[0].context]);

    // As a node of the version before reads it: the first header, which it knows, beside bytes in which nothing is new.
    let header = async {
        loop {
            let headers = frames.next().await.unwrap().headers;
            if let Some(header) = headers.as_ref().and_then(|headers| headers.get("traceparent")) {
                return header.as_str().to_owned();
            }
        }
    };
    assert_eq!(timeout(SOON, header).await.unwrap(), published[0].context.to_string());
    let bytes = |traces| rmp_serde::to_vec_named(&event(traces)).unwrap();
    assert_eq!(bytes(vec![traced]), bytes(Vec::new()));
}

fn event(traces: Vec<TraceParent>) -> Message {
    let event = RoomEvent::Ops { first: Seq(1), ops: Vec::new().into(), traces };
    Message::Event { room: room(1), epoch: Epoch(1), event }
}

#[tokio::test]
async fn a_bus_that_is_closed_has_sent_what_was_queued() {
    let Some(server) = server().await else { return };
    let [a, mut b] = nodes(&server).await;
    for next in 0..20_000 {
        a.bus.send(b.me, number(next));
    }
    a.bus.close().await;
    assert!(!a.bus.is_connected());
    a.bus.send(b.me, number(666));
    drop(a);
    assert!(b.numbers(20_000).await.into_iter().eq(0..20_000));
}
