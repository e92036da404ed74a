//! An edge: frames of clients taken apart, news delivered by a hub to a thousand sockets, beside a bare loop that writes the same, and
//! people who join.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

mod crowd;
#[path = "../../proto/benches/processor/mod.rs"]
mod processor;
#[path = "../../proto/benches/sample/mod.rs"]
mod sample;

use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use enfilade_node::bench;
use enfilade_proto::Codec;
use rustix::net::{SendFlags, send};

use self::crowd::Crowd;

/// As in the server itself.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const MEMBERS: usize = 1_000;
/// Frames that come within a tick of a busy room.
const TICK: u64 = 16;

fn read(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read");
    for (what, request) in [("signal", sample::signal_request()), ("submit", sample::submit_request())] {
        let codec = Codec::MessagePack;
        let frame = sample::client_frame(codec, &codec.encode_request(Some(1), &request));
        assert_eq!(bench::read(codec, &mut frame.clone()), 1);
        group.throughput(Throughput::Bytes(frame.len() as u64));
        group.bench_function(what, |bencher| {
            let read = |frame: &mut Vec<u8>| bench::read(codec, frame);
            bencher.iter_batched_ref(|| frame.clone(), read, BatchSize::SmallInput);
        });
    }
}

fn deliver(criterion: &mut Criterion) {
    let crowd = Crowd::of(MEMBERS);
    let mut group = criterion.benchmark_group("deliver");
    for frames in [1, TICK] {
        group.throughput(Throughput::Elements(frames * MEMBERS as u64));
        group.bench_function(BenchmarkId::new("hub", frames), |bencher| {
            bencher.iter_custom(|times| (0..times).map(|_| deliver_once(&crowd, frames)).sum());
        });
    }
    signal(&crowd, 1);
    crowd.stage.deliver();
    let frame = crowd.hear();
    group.throughput(Throughput::Elements(MEMBERS as u64));
    group.bench_function("bare_loop", |bencher| {
        bencher.iter_custom(|times| (0..times).map(|_| write_once(&crowd, &frame)).sum());
    });
}

/// So many frames of one signal each come within a tick.
fn signal(crowd: &Crowd, frames: u64) {
    (0..frames).for_each(|n| crowd.stage.signals(vec![sample::cursor(n)]));
}

fn deliver_once(crowd: &Crowd, frames: u64) -> Duration {
    signal(crowd, frames);
    let took = processor::time(|| crowd.stage.deliver());
    crowd.hear();
    took
}

fn write_once(crowd: &Crowd, frame: &[u8]) -> Duration {
    let took = processor::time(|| {
        for socket in &crowd.sockets {
            assert_eq!(send(socket, frame, SendFlags::NOSIGNAL | SendFlags::DONTWAIT), Ok(frame.len()));
        }
    });
    crowd.hear();
    took
}

/// People who come at once share the questions to the room's owner and to the database.
fn join(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stage = runtime.block_on(bench::Stage::set(folder.path())).unwrap();
    let mut group = criterion.benchmark_group("join");
    for people in [1, 100] {
        group.throughput(Throughput::Elements(people));
        group.bench_function(BenchmarkId::from_parameter(people), |bencher| {
            bencher.iter(|| runtime.block_on(stage.crowd(people as usize, Codec::MessagePack)).unwrap());
        });
    }
}

criterion_group!(benches, read, deliver, join);
criterion_main!(benches);
