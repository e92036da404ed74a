//! The runs. Quick ones here; thousands with `make simulate`.

use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::settings::{Fence, Mutation, Settings};
use super::simulation::{Finding, Simulation};
use super::torment::Kind;

fn run(seed: u64, settings: &Settings, verbose: bool) -> Finding {
    Simulation::new(seed, settings.clone(), verbose).run()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs seeds, on all cores, and tells how to look at those that fail.
fn require(from: u64, count: u64, settings: &Settings) {
    let next = AtomicU64::new(from);
    let failed = Mutex::new(Vec::new());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from + count {
                return;
            }
            let finding = run(seed, settings, false);
            if !finding.violations.is_empty() {
                println!("seed {seed}: {:#?}", finding.violations);
                println!("look at it with: make simulate SEED={seed}");
                failed.lock().unwrap().push(seed);
            }
            assert!(finding.acknowledged > 0, "seed {seed}: nothing was acknowledged");
        }
    };
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| (0..workers).for_each(|_| _ = scope.spawn(work)));
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "seeds that failed: {failed:?}");
}

/// The first seed with which a mutation is found out, and by what.
fn found_out(settings: &Settings, invariant: &str) -> Option<(u64, String)> {
    (0..60).find_map(|seed| {
        let mut violations = run(seed, settings, false).violations.into_iter();
        Some((seed, violations.find(|violation| violation.starts_with(invariant))?))
    })
}

#[test]
fn nothing_is_lost_and_everything_recovers() {
    require(0, 200, &Settings::default());
}

/// More edges than a room tells one by one: what concerns all is multicast.
#[test]
fn large_clusters_keep_what_they_promise() {
    require(0, 4, &Settings { nodes: 11, rooms: 1, clients: 22, torment_ms: 12_000, ..Settings::default() });
}

#[test]
fn a_clock_that_is_set_is_nobodys_death() {
    let settings = Settings { kinds: &[Kind::ClockSet], ..Settings::default() };
    for seed in 0..10 {
        let finding = run(seed, &settings, true);
        assert_eq!(finding.violations, Vec::<String>::new(), "seed {seed}");
        let buried: Vec<_> = finding.lines.iter().filter(|line| line.contains(" buried ")).collect();
        assert!(buried.is_empty(), "seed {seed}: {buried:?}");
    }
}

#[test]
fn a_seed_runs_twice_the_same_way() {
    for seed in 1_000..1_004 {
        let [one, other] = [(); 2].map(|()| run(seed, &Settings::default(), false));
        assert_eq!(one.hash, other.hash, "seed {seed}");
        assert_eq!(one.violations, other.violations, "seed {seed}");
    }
}

// ---- the checks can fail ---------------------------------------------------------------------------------------------

/// Faults that make two owners write at the same time.
fn fights() -> Settings {
    Settings { kinds: &[Kind::FarAway], ..Settings::default() }
}

#[test]
fn a_fence_that_compares_without_locking_lets_an_old_owner_write() {
    // Quiet rooms, or else the new owner soon writes where the old one wants to.
    let settings = Settings { fence: Fence::Naive, writes: 3, moves: 6, clients: 8, ..fights() };
    println!(
        "{:?}",
        found_out(&settings, "I5").expect("an op of an old owner that the new one does not know")
    );
}

#[test]
fn a_fence_that_compares_without_locking_or_key_loses_ops() {
    let settings = Settings { fence: Fence::NaiveWithoutKey, rooms: 8, clients: 16, ..fights() };
    println!("{:?}", found_out(&settings, "I2").expect("an acknowledged op that is lost"));
}

#[test]
fn a_log_that_answers_before_it_writes_is_found_out() {
    let settings = Settings { mutation: Mutation::AnsweredEarly, ..Settings::default() };
    println!("{:?}", found_out(&settings, "I2").expect("an acknowledged op that is lost"));
}

#[test]
fn ops_that_are_not_sent_again_are_missed() {
    let settings = Settings { mutation: Mutation::LostResends, ..Settings::default() };
    println!("{:?}", found_out(&settings, "liveness").expect("an op without an answer"));
}

// ---- by hand -----------------------------------------------------------------------------------------------------------

/// `make simulate SEEDS=… [FROM=…]`
#[test]
fn many() {
    if let Some(count) = number("ENFILADE_SEEDS") {
        require(number("ENFILADE_FROM").unwrap_or(0), count, &Settings::default());
    }
}

/// `make simulate SEED=…`: one run in all its details.
#[test]
fn replay() {
    let Some(seed) = number("ENFILADE_SEED") else { return };
    let logs = std::env::var("RUST_LOG").ok().map(|filter| {
        let logs = tracing_subscriber::fmt().with_env_filter(filter).without_time();
        tracing::subscriber::set_default(logs.with_writer(std::io::stderr).finish())
    });
    let Finding { violations, hash, acknowledged, lines } = run(seed, &Settings::default(), true);
    lines.iter().for_each(|line| println!("{line}"));
    println!("seed {seed}: {acknowledged} ops acknowledged, hash {hash:x}, {violations:#?}");
    assert!(violations.is_empty());
    drop(logs);
}
