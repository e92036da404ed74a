//! A replay: gathers the clones, starts the clock, lets them play, waits until all is quiet, and judges.

mod drive;
mod newcomer;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use enfilade_proto::{ClientId, Codec, RoomId, Seq};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use uuid::Uuid;

use self::drive::{Carrier, Stage};
use crate::client::{Client, Manner};
use crate::clock::{Clock, Micros, SECOND, micros};
use crate::clones::{Layout, Part, cast};
use crate::http::{self, ApiError};
use crate::journal::{Entry, Journal, ShownState};
use crate::latency::Latencies;
use crate::oracle::{Seen, Violations};
use crate::report::{NodeResult, Report, RoomResult, Setup, Usage};
use crate::room::{Counts, Room};
use crate::score::Score;
use crate::session::Recorded;
use crate::target::Target;

/// Handshakes under way at once.
const HANDSHAKES: usize = 64;
/// From the last clone's arrival to the recording's time 0.
const LEAD: Micros = SECOND / 5;
/// How long a room may take to clear up after everybody has left.
const AFTERMATH: Duration = Duration::from_millis(300);
const TICK: Duration = Duration::from_millis(50);

#[derive(Clone, Debug)]
pub struct Options {
    /// The nodes, or one load balancer before them. Clones are spread over them in turn.
    pub targets: Vec<Target>,
    pub clones: usize,
    pub rooms: RoomChoice,
    pub speed: f64,
    pub codec: Codec,
    pub seed: u64,
    /// Clones start up to this much late.
    pub jitter: Duration,
    /// How long everybody may take to come in.
    pub gather: Duration,
    /// How long it may take after the last event until everybody has seen everything.
    pub settle: Duration,
    /// How long whoever was thrown out tries to come back, and how long the run waits for answers in the end.
    pub patience: Duration,
    /// A 99th percentile of the generator's own lag above this makes the run invalid.
    pub max_lag: Duration,
    pub journal: Option<PathBuf>,
}

#[derive(Clone, Debug)]
pub enum RoomChoice {
    /// So many new boards.
    Fresh(usize),
    Existing {
        room: RoomId,
        link: Option<String>,
    },
}

impl RoomChoice {
    fn count(&self) -> usize {
        match self {
            Self::Fresh(count) => *count,
            Self::Existing { .. } => 1,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("{0}")]
    Usage(&'static str),
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("of {clones} clones {missing} did not get in within {seconds} s; {why}")]
    NotGathered { clones: usize, missing: usize, seconds: u64, why: String },
    #[error("the journal cannot be written: {0}")]
    Journal(#[source] io::Error),
}

/// How a run is going.
#[derive(Clone, Debug)]
pub struct Progress {
    pub seconds: f64,
    pub of_seconds: f64,
    pub stage: &'static str,
    pub clones: usize,
    pub inside: u32,
    pub counts: Counts,
    pub accepted_p99_ms: f64,
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
    session: Recorded,
    options: &Options,
    interrupted: impl Future<Output = ()>,
    mut progress: impl FnMut(&Progress),
) -> Result<Report, ReplayError> {
    check(options)?;
    let clock = Clock::start();
    let journal = options.journal.as_deref().map(|path| Journal::create(path, clock));
    let journal = journal.transpose().map_err(ReplayError::Journal)?;
    let mut run = Run::prepare(session, options, clock, journal.map(Arc::new)).await?;
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

fn check(options: &Options) -> Result<(), ReplayError> {
    let rooms = options.rooms.count();
    if options.targets.is_empty() {
        return Err(ReplayError::Usage("there has to be a server"));
    }
    if !(1..=19_000).contains(&options.clones) {
        return Err(ReplayError::Usage("a process plays 1 to 19000 clones"));
    }
    if !(1..=options.clones).contains(&rooms) {
        return Err(ReplayError::Usage("there are at least one room and at most as many as clones"));
    }
    if !(0.01..=1000.0).contains(&options.speed) {
        return Err(ReplayError::Usage("the speed is 0.01 to 1000"));
    }
    Ok(())
}

struct Run<'a> {
    options: &'a Options,
    score: Arc<Score>,
    rooms: Vec<Shared>,
    carrier: Arc<Carrier>,
    stage: watch::Sender<Stage>,
    clones: JoinSet<()>,
    times: Arc<Mutex<Latencies>>,
    journal: Option<Arc<Journal>>,
    /// Where each room had a hole a while ago.
    holes: Vec<Option<Seq>>,
    last_progress: Micros,
    planned_end: Micros,
    cpu_before: f64,
}

impl<'a> Run<'a> {
    async fn prepare(
        session: Recorded,
        options: &'a Options,
        clock: Clock,
        journal: Option<Arc<Journal>>,
    ) -> Result<Self, ReplayError> {
        let score = Arc::new(Score::new(session));
        let times = Arc::new(Mutex::new(Latencies::default()));
        let rooms = open_rooms(&score, options, &times, journal.as_ref()).await?;
        let carrier = Carrier {
            targets: options.targets.clone(),
            codec: options.codec,
            clock,
            handshakes: Semaphore::new(HANDSHAKES),
        };
        let layout = Layout {
            clones: options.clones,
            rooms: rooms.len(),
            speed: options.speed,
            jitter: micros(options.jitter),
            seed: options.seed,
            nonce: Uuid::new_v4().simple().to_string()[..8].to_owned(),
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
            cpu_before: cpu_seconds(),
            score,
        };
        for (i, part) in cast(&run.score, &layout).into_iter().enumerate() {
            run.spawn(i, part);
        }
        Ok(run)
    }

    fn spawn(&mut self, clone: usize, part: Part) {
        let room = self.rooms[part.room].clone();
        // Client ids are for ever: no seed, or a second run would be mistaken for the first.
        let id = ClientId(Uuid::new_v4());
        let seed = self.options.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(clone as u64);
        let Options { codec, patience, .. } = *self.options;
        let manner = Manner { codec, seed, patience: micros(patience) };
        let client = Client::new(id, part, self.score.clone(), manner, &mut lock(&room));
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
        let length =
            micros(self.options.jitter) + (self.score.duration as f64 / self.options.speed) as Micros;
        self.planned_end = start + length;
        self.stage.send_replace(Stage::Playing(start));
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

    fn report(&self, seconds: f64, interrupted: bool) -> Result<Report, ReplayError> {
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
            title: self.score.header.title.clone(),
            people: self.score.people(),
            clones: options.clones,
            rooms: options.rooms.count(),
            speed: options.speed,
            codec: options.codec.subprotocol(),
            seed: options.seed,
            max_lag_ms,
        };
        let (hits, misses) = (self.sum(|room| room.frames.hits), self.sum(|room| room.frames.misses));
        let generator = Usage {
            cpu_seconds: cpu_seconds() - self.cpu_before,
            memory_bytes: memory_bytes(),
            frames_shared: hits as f64 / (hits + misses).max(1) as f64,
        };
        let verdict = Report::verdict(&violations, &counts, &times, max_lag_ms);
        Ok(Report {
            verdict,
            setup,
            seconds,
            counts,
            nodes: NodeResult::all(&times),
            latency_ms: times,
            violations,
            rooms,
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
        let mut counts = Counts::default();
        self.rooms.iter().for_each(|room| counts.merge(&lock(room).counts));
        let (accepted_p99_ms, lag_p99_ms) = {
            let times = lock_times(&self.times);
            (times.accepted.percentile(99.0), times.lag.percentile(99.0))
        };
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
            accepted_p99_ms,
            lag_p99_ms,
            violations: self.sum(|room| room.oracle.violations.total()),
        });
    }

    fn all(&self, test: impl Fn(&crate::room::Status) -> bool + Copy) -> bool {
        self.rooms.iter().all(|room| lock(room).all(test))
    }

    fn sum(&self, of: impl Fn(&Room) -> u64) -> u64 {
        self.rooms.iter().map(|room| of(&lock(room))).sum()
    }
}

async fn open_rooms(
    score: &Score,
    options: &Options,
    times: &Arc<Mutex<Latencies>>,
    journal: Option<&Arc<Journal>>,
) -> Result<Vec<Shared>, ReplayError> {
    let mut rooms = Vec::new();
    for i in 0..options.rooms.count() {
        let (id, link) = match &options.rooms {
            RoomChoice::Existing { room, link } => (*room, link.clone()),
            RoomChoice::Fresh(_) => {
                let title: String =
                    score.header.title.as_deref().unwrap_or("Replay").chars().take(50).collect();
                let title = format!("{title} {}", i + 1);
                let create = async |target: &Target| http::create_board(target, &title).await;
                let created = http::any(&options.targets, create).await?;
                (created.id, created.link)
            }
        };
        if let Some(journal) = journal {
            let alone = matches!(options.rooms, RoomChoice::Fresh(_));
            journal.note(0, Entry::Room { room: id, link: link.clone(), alone });
        }
        rooms.push(Arc::new(Mutex::new(Room::new(id, link, times.clone(), journal.cloned()))));
    }
    Ok(rooms)
}

fn judge(now: Micros, room: &mut Room, counts: &mut Counts, violations: &mut Violations) -> RoomResult {
    room.finish_times();
    let result = room.oracle.finish();
    let (id, state) = (room.id, ShownState { seq: result.seq, hash: result.hash });
    room.note(now, || Entry::State { room: id, state });
    counts.merge(&room.counts);
    violations.merge(std::mem::take(&mut room.oracle.violations));
    RoomResult { room: room.id.to_string(), seq: result.seq.0, state_hash: result.hash }
}

/// User and system time of this process; 0 where the kernel does not say.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // After the name, which may hold anything: the 12th and 13th field, in hundredths on every Linux there is.
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let ticks: u64 =
        after.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks as f64 / 100.0
}

fn memory_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}
