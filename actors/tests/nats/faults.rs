//! What goes wrong: nodes and servers that vanish or hang, floods, losses, and strangers.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use enfilade_actors::bus::Bus;
use enfilade_proto::RoomId;
use enfilade_store::Incarnation;
use serde_json::json;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use crate::support::*;

#[tokio::test]
async fn a_node_that_is_gone_is_told_to_be_unreachable_at_once_and_not_too_often() {
    let Some(server) = server().await else { return };
    let [mut a, b] = nodes(&server).await;
    let gone = b.me;
    drop(b);
    let began = Instant::now();
    let mut told = 0;
    while told < 3 {
        a.bus.send(gone, number(1));
        while let Ok(Some(heard)) = timeout(Duration::from_millis(1), a.heard.recv()).await {
            told += u32::from(heard == Heard::Unreachable(gone));
        }
        assert!(told > 0 || began.elapsed() < Duration::from_secs(1), "nobody said that it is gone");
    }
    assert!(began.elapsed() > Duration::from_millis(190), "three times in {:?}", began.elapsed());
}

#[tokio::test]
async fn the_bus_comes_back_with_the_server() {
    let Some(mut server) = server().await else { return };
    let mut nodes: [Node; 2] = nodes(&server).await;
    nodes[1].bus.listen(room(1), true);
    server.kill();
    for node in &nodes {
        node.connected(false, SOON).await;
    }
    let lost = 666;
    nodes[0].bus.send(nodes[1].me, number(lost));
    server.restart().await.unwrap();
    for node in &mut nodes {
        node.connected(true, SOON).await;
        node.hear(Heard::Disrupted).await;
    }
    meet(&mut nodes).await;
    let [a, mut b] = nodes;
    a.bus.send(b.me, number(1));
    assert_eq!(b.numbers(1).await, [1]);
    a.bus.multicast(room(1), number(2));
    assert_eq!(b.numbers(1).await, [2]);
}

#[tokio::test]
async fn a_server_that_hangs_is_noticed_and_blocks_nobody() {
    let Some(server) = server().await else { return };
    let mut nodes: [Node; 2] = nodes(&server).await;
    server.pause().unwrap();
    let paused = Instant::now();
    for next in 0..5_000 {
        nodes[0].bus.send(nodes[1].me, number(next));
        nodes[0].bus.broadcast(signals(100));
    }
    nodes[0].bus.send(nodes[1].me, bulky(1, 1 << 20));
    nodes[0].connected(false, Duration::from_secs(5).saturating_sub(paused.elapsed())).await;
    println!("noticed after {:?}", paused.elapsed());
    let began = Instant::now();
    for next in 0..5_000 {
        nodes[0].bus.send(nodes[1].me, number(next));
    }
    assert!(began.elapsed() < Duration::from_secs(5), "sending took {:?}", began.elapsed());
    server.resume().unwrap();
    for node in &mut nodes {
        node.connected(true, SOON).await;
    }
    nodes[0].hear(Heard::Disrupted).await;
    meet(&mut nodes).await;
    let [a, mut b] = nodes;
    a.bus.send(b.me, number(77_777));
    while b.numbers(1).await != [77_777] {}
}

#[tokio::test]
async fn a_flood_is_dropped_and_the_receiver_knows() {
    let Some(server) = server().await else { return };
    let [a, mut b] = nodes(&server).await;
    // 40 MB at once, without a pause in which something could be sent.
    for next in 0..10_000 {
        a.bus.send(b.me, number(next));
        a.bus.send(b.me, signals(4_000));
    }
    let mut last = None;
    let mut disrupted = false;
    let deadline = Instant::now() + SOON;
    while !disrupted {
        assert!(Instant::now() < deadline, "nobody said that something was lost");
        a.bus.send(b.me, number(1_000_000));
        while let Ok(Some(heard)) = timeout(Duration::from_millis(50), b.heard.recv()).await {
            match heard {
                Heard::Message(_, message) => {
                    let number = number_of(&message);
                    assert!(number.is_none() || number >= last, "{number:?} after {last:?}");
                    last = last.max(number);
                }
                Heard::Disrupted => disrupted = true,
                Heard::Unreachable(_) => {}
            }
        }
    }
}

#[tokio::test]
async fn a_message_of_an_unknown_kind_is_skipped_and_the_others_are_heard() {
    let Some(server) = server().await else { return };
    let [mut b] = nodes(&server).await;
    let stranger = async_nats::connect(server.url()).await.unwrap();
    let unknown = rmp_serde::to_vec_named(&json!({ "Dance": { "room": 1 } })).unwrap();
    // A newer node says more in an answer.
    #[derive(serde::Serialize)]
    struct NewerAnswer {
        room: RoomId,
        ticket: u64,
        result: Result<u64, ()>,
        shoes: &'static str,
    }
    let newer = NewerAnswer { room: room(1), ticket: 3, result: Ok(3), shoes: "red" };
    let newer = rmp_serde::to_vec_named(&BTreeMap::from([("Answer", newer)])).unwrap();
    let [first, last] = [1, 2].map(|next| coded(&number(next)));
    let messages = [&first, &unknown[..], b"\xc1 not MessagePack", &newer, &last];
    stranger.publish(inbox(&b), frame(42, 1, 0, &messages)).await.unwrap();
    let from = Incarnation(Uuid::from_u128(42));
    for expected in [number(1), number(3), number(2)] {
        assert_eq!(b.message().await, (from, expected));
    }
}

#[tokio::test]
async fn a_frame_that_is_missing_is_noticed() {
    let Some(server) = server().await else { return };
    let [mut b] = nodes(&server).await;
    let peer = async_nats::connect(server.url()).await.unwrap();
    for (seq, previous) in [(1, 0), (2, 1), (7, 2)] {
        peer.publish(inbox(&b), frame(42, seq, previous, &[&coded(&number(seq))])).await.unwrap();
    }
    assert_eq!(b.numbers(3).await, [1, 2, 7]);
    peer.publish(inbox(&b), frame(42, 9, 8, &[&coded(&number(9))])).await.unwrap();
    b.hear(Heard::Disrupted).await;
}

#[tokio::test]
async fn what_strangers_say_does_no_harm() {
    let Some(server) = server().await else { return };
    let [a, mut b] = nodes(&server).await;
    b.bus.listen(room(1), true);
    let stranger = async_nats::connect(server.url()).await.unwrap();
    let me = b.me;
    let subjects = [
        inbox(&b),
        format!("enfilade.{CLUSTER}.all"),
        format!("enfilade.{CLUSTER}.b.{me}"),
        format!("enfilade.{CLUSTER}.x.{me}.nobody"),
        format!("enfilade.{CLUSTER}.x.{me}.{}", a.me),
        format!("enfilade.{CLUSTER}.m.{}", room(1).0.simple()),
    ];
    let mut own_voice = BytesMut::from(&frame(0, 1, 0, &[&coded(&number(666))])[..]);
    own_voice[2..18].copy_from_slice(me.0.as_bytes());
    let piece = |total: u32, offset: u32| {
        let mut piece = BytesMut::from(&frame(42, 1, 0, &[])[..]);
        piece[1] = 1;
        piece.put_u64(9);
        piece.put_u32(total);
        piece.put_u32(offset);
        piece.put_slice(b"bytes");
        piece.freeze()
    };
    let frames = [
        Bytes::new(),
        Bytes::from_static(b"hello"),
        Bytes::from(vec![1; 100]),
        Bytes::from(vec![0xff; 300_000]),
        own_voice.freeze(),
        frame(42, 1, 0, &[&[0x91; 100_000], &[0xdd, 0xff, 0xff, 0xff, 0xff]]),
        frame(42, u64::MAX, u64::MAX, &[]),
        piece(u32::MAX, 0),
        piece(10, u32::MAX),
        piece(5, 0),
    ];
    for subject in &subjects {
        for frame in &frames {
            stranger.publish_with_reply(subject.clone(), "some.where", frame.clone()).await.unwrap();
        }
    }
    stranger.flush().await.unwrap();
    a.bus.send(b.me, number(1));
    assert_eq!(b.message().await, (a.me, number(1)));
    a.bus.send(b.me, bulky(1, 1 << 20));
    assert_eq!(b.message().await, (a.me, bulky(1, 1 << 20)));
    assert!(b.bus.is_connected());
}
