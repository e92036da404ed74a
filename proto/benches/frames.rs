//! Frames in both codecs: what clients send taken apart, what goes out to everybody written.

mod sample;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use enfilade_proto::{Codec, Epoch, Ops, Seq, Signals};

fn name(codec: Codec) -> &'static str {
    match codec {
        Codec::Json => "json",
        Codec::MessagePack => "msgpack",
    }
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    let requests =
        [("signal", None, sample::signal_request()), ("submit", Some(1), sample::submit_request())];
    for codec in Codec::ALL {
        for (what, id, request) in &requests {
            let frame = codec.encode_request(*id, request);
            assert!(matches!(codec.decode_requests(&frame).as_deref(), Ok([Ok(_)])), "{what} is well-formed");
            group.throughput(Throughput::Bytes(frame.len() as u64));
            group.bench_function(BenchmarkId::new(*what, name(codec)), |bencher| {
                bencher.iter(|| codec.decode_requests(black_box(&frame)));
            });
        }
    }
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    for codec in Codec::ALL {
        for count in [1, 16, 200] {
            let signals = Signals { room: sample::ROOM, signals: sample::cursors(count) };
            group.throughput(Throughput::Elements(count));
            group.bench_function(BenchmarkId::new(format!("signals/{count}"), name(codec)), |bencher| {
                bencher.iter(|| codec.encode(None, "signals", black_box(&signals)));
            });
        }
        for count in [1, 16] {
            let ops = (0..count).map(sample::logged).collect();
            let ops = Ops { room: sample::ROOM, epoch: Epoch(1), first_seq: Seq(1), ops };
            group.throughput(Throughput::Elements(count));
            group.bench_function(BenchmarkId::new(format!("ops/{count}"), name(codec)), |bencher| {
                bencher.iter(|| codec.encode(None, "ops", black_box(&ops)));
            });
        }
    }
}

criterion_group!(benches, decode, encode);
criterion_main!(benches);
