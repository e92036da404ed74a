//! A replay: gathers the clones, starts the clock, lets them play, waits until all is quiet, and judges.

mod drive;
mod following;
mod newcomer;
mod options;
mod outcome;
mod rooms;
mod seconds;
mod servers;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use enfilade_proto::{ClientId, Seq};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use uuid::Uuid;

use self::drive::{Carrier, Stage};
use self::following::{Following, SoFar};
pub use self::options::{Options, ReplayError, RoomChoice};
pub use self::outcome::{Generator, Outcome, RoomState, Setup};
use self::rooms::{judge, open_rooms};
pub use self::seconds::Seconds;
use crate::client::{Client, Life, Manner};
use crate::clock::{Clock, Micros, SECOND, micros};
use crate::clones::Part;
use crate::crowd::{Arrival, Habits};
use crate::ensemble::{Layout, cast};
use crate::http;
use crate::journal::Journal;
use crate::latency::Latencies;
use crate::mix::Mix;
use crate::oracle::Seen;
use crate::result::{Second, Verdict};
use crate::room::{Counts, Room};
use crate::target::Target;
use crate::usage;

/// Handshakes under way at once while the clones gather.
const HANDSHAKES: usize = 64;
/// From the last clone's arrival to the recording's time 0.
const LEAD: Micros = SECOND / 5;
/// How long a room may take to clear up after everybody has left.
const AFTERMATH: Duration = Duration::from_millis(300);
const TICK: Duration = Duration::from_millis(50);

/// How a run is going.
#[derive(Clone, Debug)]
pub struct Progress {
    pub seconds: f64,
    pub of_seconds: f64,
    pub stage: &'static str,
    pub clones: usize,
    pub inside: u32,
    pub counts: Counts,
    /// The latest second of those that play.
    pub second: Option<Second>,
    pub lag_p99_ms: f64,
    pub violations: u64,
}

type Shared = Arc<Mutex<Room>>;

fn lock(room: &Shared) -> MutexGuard<'_, Room> {
    // What a panicking task left is counts at worst.
    room.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lock_times(times: &Mutex<Latencies>) -> MutexGuard<'_, Latencies> {
    times.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Plays the session and judges the server. `interrupted` cuts it short; the judgement follows all the same.
///
/// # Errors
/// When the options make no sense, or the clones cannot even come in.
pub async fn replay(
    mix: impl Into<Mix>,
    options: &Options,
    interrupted: impl Future<Output = ()>,
    mut progress: impl FnMut(&Progress),
) -> Result<Outcome, ReplayError> {
    options.check()?;
    let clock = Clock::start();
    let journal = options.journal.as_deref().map(|path| Journal::create(path, clock));
    let journal = journal.transpose().map_err(ReplayError::Journal)?;
    let mix = Arc::new(mix.into());
    let mut run = Run::prepare(mix, options, clock, journal.map(Arc::new)).await?;
    let mut interrupted = std::pin::pin!(interrupted);
    run.gather(&mut progress).await?;
    let start = run.start();
    let cut = run.play(start, interrupted.as_mut(), &mut progress).await;
    run.settle(&mut progress).await;
    let seconds = (run.carrier.clock.now() - start) as f64 / SECOND as f64;
    run.welcome_newcomers().await;
    run.end().await;
    run.look_back().await;
    run.report(seconds, cut)
}

struct Run<'a> {
    options: &'a Options,
    mix: Arc<Mix>,
    rooms: Vec<Shared>,
    carrier: Arc<Carrier>,
    stage: watch::Sender<Stage>,
    clones: JoinSet<()>,
    times: Arc<Mutex<Latencies>>,
    journal: Option<Arc<Journal>>,
    /// Where each room had a hole a while ago.
    holes: Vec<Option<Seq>>,
    last_progress: Micros,
    /// Of what is played.
    length: Micros,
    planned_end: Micros,
    cpu_before: Micros,
    following: Following,
    /// By the calendar.
    started: SystemTime,
}

impl<'a> Run<'a> {
    async fn prepare(
        mix: Arc<Mix>,
        options: &'a Options,
        clock: Clock,
        journal: Option<Arc<Journal>>,
    ) -> Result<Self, ReplayError> {
        let times = Arc::new(Mutex::new(Latencies::default()));
        let rooms = open_rooms(&mix, options, &times, journal.as_ref()).await?;
        let carrier = Carrier {
            targets: options.targets.clone(),
            codec: options.codec,
            clock,
            handshakes: Semaphore::new(match options.crowd.arrival {
                Arrival::Gathered => HANDSHAKES,
                // They come when they come.
                Arrival::Within(_) => options.clones,
            }),
        };
        let layout = Layout {
            clones: options.clones,
            rooms: rooms.len(),
            speed: options.speed,
            jitter: micros(options.jitter),
            seed: options.seed,
            nonce: Uuid::new_v4().simple().to_string()[..8].to_owned(),
            crowd: options.crowd.clone(),
        };
        let (stage, _) = watch::channel(Stage::Gathering);
        let mut run = Self {
            options,
            carrier: Arc::new(carrier),
            stage,
            clones: JoinSet::new(),
            times,
            journal,
            holes: vec![None; rooms.len()],
            rooms,
            last_progress: 0,
            planned_end: 0,
            cpu_before: usage::own_cpu(),
            length: 0,
            following: Following::new(&options.pids, &options.thresholds),
            started: SystemTime::now(),
            mix,
        };
        let parts = cast(&run.mix, &layout);
        run.length = parts.iter().map(Part::ends).max().unwrap_or(0);
        let habits = options.crowd.habits(options.clones, run.length, options.seed);
        for (i, (part, habits)) in parts.into_iter().zip(habits).enumerate() {
            run.spawn(i, part, habits);
        }
        Ok(run)
    }

    fn spawn(&mut self, clone: usize, part: Part, habits: Habits) {
        let room = self.rooms[part.room].clone();
        // Client ids are for ever: no seed, or a second run would be mistaken for the first.
        let id = || ClientId(Uuid::new_v4());
        let successors = habits.absences.iter().filter(|absence| absence.for_good).map(|_| id()).collect();
        let life = Life { habits, successors };
        let seed = self.options.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(clone as u64);
        let Options { codec, patience, .. } = *self.options;
        let manner = Manner { codec, seed, patience: micros(patience) };
        let client = Client::new(id(), part, life, manner, &mut lock(&room));
        self.clones.spawn(drive::drive(clone, client, room, self.carrier.clone(), self.stage.subscribe()));
    }

    /// Waits until whoever is there at the beginning has come in and the scene is set.
    async fn gather(&mut self, progress: &mut impl FnMut(&Progress)) -> Result<(), ReplayError> {
        let limit = self.options.gather;
        let deadline = self.carrier.clock.now() + micros(limit);
        while !self.all(|status| status.ready) && self.carrier.clock.now() < deadline {
            tokio::time::sleep(TICK).await;
            self.tell("gathering", progress);
        }
        let nobody_came = self.all(|status| status.over);
        if nobody_came || !self.all(|status| status.ready) { Err(self.not_gathered(limit)) } else { Ok(()) }
    }

    fn not_gathered(&self, limit: Duration) -> ReplayError {
        let inside = self.sum(|room| u64::from(room.inside)) as usize;
        let first = self.rooms.iter().find_map(|room| {
            lock(room).oracle.violations.first.first().map(|violation| violation.detail.clone())
        });
        let why = first.unwrap_or_else(|| {
            let failed = self.sum(|room| room.counts.connections_failed);
            if failed > 0 {
                format!("{failed} attempts to connect failed")
            } else {
                "answers are missing".into()
            }
        });
        let clones = self.options.clones;
        ReplayError::NotGathered { clones, missing: clones - inside, seconds: limit.as_secs(), why }
    }

    fn start(&mut self) -> Micros {
        let start = self.carrier.clock.now() + LEAD;
        self.planned_end = start + self.length;
        self.stage.send_replace(Stage::Playing(start));
        let counts = self.counts();
        self.following.begin(start, &counts, &lock_times(&self.times));
        self.started = SystemTime::now() + Duration::from_micros(LEAD);
        start
    }

    /// True if it was cut short.
    async fn play(
        &mut self,
        start: Micros,
        mut interrupted: std::pin::Pin<&mut impl Future<Output = ()>>,
        progress: &mut impl FnMut(&Progress),
    ) -> bool {
        sleep_until(Instant::from_std(self.carrier.clock.instant(start))).await;
        while self.carrier.clock.now() < self.planned_end && !self.all(|status| status.done) {
            let cut = tokio::select! {
                () = &mut interrupted => true,
                () = tokio::time::sleep(TICK) => false,
            };
            if cut {
                self.stage.send_replace(Stage::Cut);
                return true;
            }
            self.fill_holes().await;
            self.tell("playing", progress);
            if self.following.hopeless.is_some() {
                self.stage.send_replace(Stage::Cut);
                return false;
            }
        }
        false
    }

    /// Waits until everything is answered and everybody has seen it.
    async fn settle(&mut self, progress: &mut impl FnMut(&Progress)) {
        let deadline = self.carrier.clock.now() + micros(self.options.settle);
        while !(self.all(|status| status.done) && self.rooms.iter().all(|room| lock(room).oracle.is_quiet()))
        {
            if self.carrier.clock.now() >= deadline {
                return;
            }
            tokio::time::sleep(TICK).await;
            self.fill_holes().await;
            self.tell("settling", progress);
        }
    }

    /// Somebody who was never there joins every room and must find what all the others have.
    async fn welcome_newcomers(&mut self) {
        for room in &self.rooms {
            newcomer::visit(room, &self.carrier, self.options.patience).await;
        }
        // What the newcomers' snapshots told of, the others get in a moment.
        let deadline = self.carrier.clock.now() + 2 * SECOND;
        while !self.rooms.iter().all(|room| lock(room).oracle.is_quiet())
            && self.carrier.clock.now() < deadline
        {
            tokio::time::sleep(TICK).await;
        }
    }

    async fn end(&mut self) {
        self.stage.send_replace(Stage::Over);
        let all_gone = async { while self.clones.join_next().await.is_some() {} };
        if timeout(Duration::from_secs(5), all_gone).await.is_err() {
            self.clones.abort_all();
        }
    }

    /// What the rooms did when everybody had left is judged too.
    async fn look_back(&mut self) {
        tokio::time::sleep(AFTERMATH).await;
        for room in &self.rooms {
            let (head, id, link) = {
                let room = lock(room);
                (room.oracle.head_seq(), room.id, room.link.clone())
            };
            let Options { targets, patience, .. } = self.options;
            let history = async |target: &Target| http::history(target, id, link.as_deref(), head).await;
            match http::patiently(targets, *patience, history).await {
                Ok(page) => {
                    let ops: Vec<Seen> = page.ops.into_iter().map(Seen::new).collect();
                    lock(room).oracle.fill(page.first_seq, &ops);
                }
                Err(error) => tracing::warn!(room = %id, %error, "what happened after the end is not known"),
            }
        }
    }

    fn report(&self, seconds: f64, interrupted: bool) -> Result<Outcome, ReplayError> {
        let (mut counts, mut violations) = Default::default();
        let now = self.carrier.clock.now();
        let rooms = self.rooms.iter().map(|room| judge(now, &mut lock(room), &mut counts, &mut violations));
        let rooms = rooms.collect();
        if let Some(journal) = &self.journal {
            journal.finish().map_err(ReplayError::Journal)?;
        }
        let times = lock_times(&self.times).clone();
        let options = self.options;
        let max_lag_ms = options.max_lag.as_secs_f64() * 1e3;
        let setup = Setup {
            servers: options.targets.iter().map(ToString::to_string).collect(),
            title: self.mix.title(),
            people: self.mix.people(),
            clones: options.clones,
            rooms: options.rooms.count(),
            speed: options.speed,
            codec: options.codec.subprotocol(),
            seed: options.seed,
            crowd: options.crowd.clone(),
            max_lag_ms,
        };
        let (hits, misses) = (self.sum(|room| room.frames.hits), self.sum(|room| room.frames.misses));
        let generator = Generator {
            cpu_seconds: (usage::own_cpu() - self.cpu_before) as f64 / SECOND as f64,
            memory_bytes: usage::own_memory_peak(),
            frames_shared: hits as f64 / (hits + misses).max(1) as f64,
        };
        let verdict = Outcome::verdict(&violations, &counts, &times, max_lag_ms);
        let verdict =
            if self.following.hopeless.is_some() { verdict.max(Verdict::Threshold) } else { verdict };
        Ok(Outcome {
            verdict,
            setup,
            seconds,
            counts,
            started: humantime::format_rfc3339_millis(self.started).to_string(),
            times,
            violations,
            rooms,
            series: self.following.series.clone(),
            hopeless: self.following.hopeless.clone(),
            servers: self.following.servers.usage(),
            servers_stayed: self.following.servers.all_run(),
            generator,
            interrupted,
        })
    }

    /// Looks up what nobody was shown because all got a snapshot instead. A hole counts when it is a second old: an
    /// answer may come a little before the op itself.
    async fn fill_holes(&mut self) {
        if self.carrier.clock.now() < self.last_progress + SECOND {
            return;
        }
        for (i, room) in self.rooms.iter().enumerate() {
            let (hole, id, link) = {
                let room = lock(room);
                (room.oracle.hole(), room.id, room.link.clone())
            };
            let old = std::mem::replace(&mut self.holes[i], hole);
            let Some(from) = hole.filter(|_| hole == old) else { continue };
            // The server may be down just now. There will be another second.
            let before = Seq(from.0 - 1);
            let history = async |target: &Target| http::history(target, id, link.as_deref(), before).await;
            if let Ok(page) = http::any(&self.options.targets, history).await {
                let ops: Vec<Seen> = page.ops.into_iter().map(Seen::new).collect();
                lock(room).oracle.fill(page.first_seq, &ops);
            }
        }
    }

    fn tell(&mut self, stage: &'static str, progress: &mut impl FnMut(&Progress)) {
        let now = self.carrier.clock.now();
        if now < self.last_progress + SECOND {
            return;
        }
        self.last_progress = now;
        let counts = self.counts();
        self.end_second(now, &counts);
        let lag_p99_ms = lock_times(&self.times).lag.percentile(99.0);
        let started = match *self.stage.borrow() {
            Stage::Playing(start) => start,
            _ => now,
        };
        progress(&Progress {
            seconds: now.saturating_sub(started) as f64 / SECOND as f64,
            of_seconds: self.planned_end.saturating_sub(started) as f64 / SECOND as f64,
            stage,
            clones: self.options.clones,
            inside: self.sum(|room| u64::from(room.inside)) as u32,
            counts,
            second: self.following.series.seconds().last().cloned(),
            lag_p99_ms,
            violations: self.sum(|room| room.oracle.violations.total()),
        });
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        self.rooms.iter().for_each(|room| counts.merge(&lock(room).counts));
        counts
    }

    fn end_second(&mut self, now: Micros, counts: &Counts) {
        let stage = *self.stage.borrow();
        if let Stage::Playing(start) = stage
            && start < now
        {
            let [inside, violations] =
                [self.sum(|room| u64::from(room.inside)), self.sum(|room| room.oracle.violations.total())];
            let times = lock_times(&self.times);
            let so_far =
                SoFar { seconds: (now - start) as f64 / SECOND as f64, counts, times: &times, violations };
            self.following.end_second(start, now, inside, so_far);
        }
    }

    fn all(&self, test: impl Fn(&crate::room::Status) -> bool + Copy) -> bool {
        self.rooms.iter().all(|room| lock(room).all(test))
    }

    fn sum(&self, of: impl Fn(&Room) -> u64) -> u64 {
        self.rooms.iter().map(|room| of(&lock(room))).sum()
    }
}
