//! The three hottest ways, counted in instructions, which a busy machine does not change: a client's signal taken apart, a batch of
//! signals written, and a hub's step over a thousand seats (what the kernel does about a write is not counted).
//!
//! `make bench-instructions` compares the counts with `instructions.json` beside this file.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

mod crowd;
#[path = "../../proto/benches/sample/mod.rs"]
mod sample;

use std::hint::black_box;

use enfilade_node::bench;
use enfilade_proto::{Codec, Signals};
use gungraun::prelude::*;

use self::crowd::Crowd;

const MEMBERS: usize = 1_000;
const BATCH: u64 = 16;

fn signal_frame(codec: Codec) -> (Codec, Vec<u8>) {
    (codec, sample::client_frame(codec, &codec.encode_request(None, &sample::signal_request())))
}

fn batch(codec: Codec) -> (Codec, Signals) {
    (codec, Signals { room: sample::ROOM, signals: sample::cursors(BATCH) })
}

/// Everything but the delivery itself.
fn crowd_with_news() -> Crowd {
    let crowd = Crowd::of(MEMBERS);
    crowd.stage.signals(sample::cursors(BATCH));
    crowd
}

#[library_benchmark]
#[bench::json(signal_frame(Codec::Json))]
#[bench::msgpack(signal_frame(Codec::MessagePack))]
fn decode_signal((codec, mut frame): (Codec, Vec<u8>)) -> usize {
    bench::read(codec, black_box(&mut frame))
}

#[library_benchmark]
#[bench::json(batch(Codec::Json))]
#[bench::msgpack(batch(Codec::MessagePack))]
fn encode_signals((codec, signals): (Codec, Signals)) -> (Signals, Vec<u8>) {
    let written = codec.encode(None, "signals", black_box(&signals));
    (signals, written)
}

#[library_benchmark]
#[bench::members(args = (), setup = crowd_with_news, teardown = told)]
fn hub_step(crowd: Crowd) -> Crowd {
    crowd.stage.deliver();
    crowd
}

/// That everybody was told, so that what was counted is the work.
fn told(crowd: Crowd) {
    crowd.hear();
}

library_benchmark_group!(name = hottest, benchmarks = [decode_signal, encode_signals, hub_step]);
main!(library_benchmark_groups = hottest);
