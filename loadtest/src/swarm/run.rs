//! Runs a scenario: rooms, workers, and the phases of its kind; then what came of it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use enfilade_proto::RoomId;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::watch;

use super::clock;
use super::following::{Following, MEASURING};
use super::lead::{Lead, LeadError};
use super::metrics::{Counters, counters, grown};
use super::outcome::{Measured, Outcome};
use super::people::{self, PeopleError};
use super::plan::{Plan, Room};
use super::settling::Settling;
use super::wire::{Command, Job};
use crate::clock::{MILLISECOND, Micros, SECOND, micros};
use crate::display::Moment;
use crate::http::{self, ApiError};
use crate::result::RunResult;
use crate::scenario::{Kind, Scenario};
use crate::target::Target;
use crate::usage;

/// What is measured.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Its nodes; connections are spread over them.
    pub targets: Vec<Target>,
    /// Its processes on this machine, if their use is to be measured.
    pub pids: Vec<u32>,
    /// The operators' port of a node, if what it counts is to be told.
    pub metrics: Option<Target>,
}

/// How this machine runs it.
#[derive(Clone, Debug)]
pub struct Generator {
    /// The program that is started as `program worker`.
    pub program: PathBuf,
    /// Who is told how it goes.
    pub moments: watch::Sender<Moment>,
    /// The cores of the workers, one after the other; the kernel chooses if there are none.
    pub cpus: Vec<usize>,
}

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("{0}: {1}")]
    Address(Target, std::io::Error),
    #[error("rooms cannot be made: {0}")]
    Rooms(#[from] ApiError),
    #[error("a process may have {limit} files open here: too few for {each} connections; take more workers")]
    Files { limit: u64, each: u64 },
    #[error(transparent)]
    People(#[from] PeopleError),
    #[error(transparent)]
    Lead(#[from] LeadError),
}

/// Rooms that are made at the same time.
const ROOMS_AT_ONCE: usize = 8;
/// Between telling the workers and the moment that they were told.
const NOTICE: Micros = 100 * MILLISECOND;
/// Until a server has come to rest.
const SETTLE: Micros = SECOND;
/// Messages a second that are followed to the last who hears them.
const FOLLOWED: f64 = 20.0;
/// Files of a worker beside its sockets.
const OTHER_FILES: u64 = 16;
/// The ports of one address, less some for others.
const PORTS: u64 = 20_000;

/// # Errors
/// When the server cannot be reached, or the connections do not come in.
pub async fn run(
    scenario: &Scenario,
    subject: &Subject,
    generator: &Generator,
) -> Result<RunResult, RunError> {
    let (limit, each) = (usage::file_limit(), scenario.connections().div_ceil(scenario.workers.into()));
    if each + OTHER_FILES > limit {
        return Err(RunError::Files { limit, each });
    }
    let rooms = make_rooms(scenario, &subject.targets).await?;
    let jobs = jobs(scenario, subject, generator, rooms).await?;
    let following =
        Following::new(generator.moments.clone(), &scenario.thresholds, scenario.speech, clock::now());
    let mut lead = Lead::start(&generator.program, &jobs, subject.pids.clone(), following).await?;
    let started = SystemTime::now();
    if scenario.kind == Kind::Idle {
        settle(&mut lead).await?;
    }
    let before = lead.servers();
    let gathering = clock::now();
    lead.enter("joining", gathering, micros(scenario.ramp.0));
    let inside =
        lead.gather(gathering, micros(scenario.ramp.0), scenario.at_once, scenario.patience.0).await?;
    match scenario.kind {
        Kind::Idle => settle(&mut lead).await?,
        _ => lead.listen_until(clock::now() + SETTLE).await?,
    }
    let mut outcome = Outcome::new(scenario, subject, started);
    outcome.gathered(gathering, inside, before, lead.servers());
    match scenario.kind {
        Kind::Fanout | Kind::Rooms | Kind::Audience => speak(scenario, &mut lead, &mut outcome).await?,
        Kind::Churn => churn(scenario, &mut lead, &mut outcome).await?,
        Kind::Slow => slow(scenario, &mut lead, &mut outcome).await?,
        Kind::Idle => rest(scenario, &mut lead, &mut outcome).await?,
        Kind::Storm => storm(scenario, &mut lead, &mut outcome).await?,
    }
    Ok(outcome.result(&lead))
}

/// Waits until the servers have given back what they do not need any more: what starting and greeting took would count as
/// what connections take, or hide it.
async fn settle(lead: &mut Lead) -> Result<(), LeadError> {
    let began = clock::now();
    lead.enter("settling", began, 0);
    let mut settling = Settling::new(lead.servers().memory, began);
    while !settling.is_over(lead.servers().memory, clock::now()) {
        lead.listen_until(clock::now() + SETTLE / 5).await?;
    }
    Ok(())
}

/// Speakers speak, and everybody hears it.
async fn speak(scenario: &Scenario, lead: &mut Lead, outcome: &mut Outcome<'_>) -> Result<(), RunError> {
    let from = clock::now() + NOTICE;
    let measured = from + micros(scenario.warm_up.0);
    let until = measured + micros(scenario.measure.0);
    lead.tell(&Command::Speak { from, measured, until, rate: scenario.rate, arrivals: scenario.arrivals })
        .await?;
    measure(lead, outcome, measured, until).await?;
    finish(scenario, lead, outcome).await
}

/// Nothing happens but pings.
async fn rest(scenario: &Scenario, lead: &mut Lead, outcome: &mut Outcome<'_>) -> Result<(), RunError> {
    let from = clock::now();
    measure(lead, outcome, from, from + micros(scenario.measure.0)).await?;
    outcome.judged(lead.finish(Vec::new(), scenario.drain.0).await?);
    Ok(())
}

/// People come and go; if there is a rate, the others speak.
async fn churn(scenario: &Scenario, lead: &mut Lead, outcome: &mut Outcome<'_>) -> Result<(), RunError> {
    let from = clock::now() + NOTICE + micros(scenario.warm_up.0);
    let until = from + micros(scenario.measure.0);
    lead.tell(&Command::Churn { from, until, rate: scenario.churn }).await?;
    let before = lead.total().0.joined;
    if scenario.rate > 0.0 {
        speak(scenario, lead, outcome).await?;
    } else {
        measure(lead, outcome, from, until).await?;
        outcome.judged(lead.finish(Vec::new(), scenario.drain.0).await?);
    }
    outcome.churned(lead.total().0.joined - before);
    Ok(())
}

/// In the second half of the measured time some do not read.
async fn slow(scenario: &Scenario, lead: &mut Lead, outcome: &mut Outcome<'_>) -> Result<(), RunError> {
    let from = clock::now() + NOTICE;
    let measured = (from + micros(scenario.warm_up.0)).next_multiple_of(SECOND);
    let stops = measured + micros(scenario.measure.0).next_multiple_of(SECOND);
    let until = stops + micros(scenario.measure.0).next_multiple_of(SECOND);
    lead.tell(&Command::Deafen { share: scenario.slow_share, from: stops, until }).await?;
    lead.tell(&Command::Speak { from, measured, until, rate: scenario.rate, arrivals: scenario.arrivals })
        .await?;
    measure(lead, outcome, measured, until).await?;
    finish(scenario, lead, outcome).await?;
    outcome.slowed(lead.seconds(), measured, stops, until);
    Ok(())
}

/// All vanish and come back; if there is a rate, they speak before and after.
async fn storm(scenario: &Scenario, lead: &mut Lead, outcome: &mut Outcome<'_>) -> Result<(), RunError> {
    if scenario.rate > 0.0 {
        // Those who vanish while they speak have ops without an answer.
        let from = clock::now() + NOTICE;
        let until = from + micros(scenario.warm_up.0) + NOTICE;
        let (rate, arrivals) = (scenario.rate, scenario.arrivals);
        lead.tell(&Command::Speak { from, measured: Micros::MAX, until, rate, arrivals }).await?;
        lead.listen_until(until - NOTICE).await?;
    }
    lead.enter("storm", clock::now(), 0);
    let (before, workers) = (lead.servers(), lead.cpu());
    let at = clock::now() + NOTICE;
    lead.tell(&Command::Vanish { at, reset: true }).await?;
    let back = lead.gather(at, 0, scenario.at_once, scenario.patience.0).await?;
    let busiest = workers.iter().zip(lead.cpu()).map(|(before, after)| after - before).max();
    outcome.stormed(at, back, before, lead.servers(), busiest.unwrap_or(0));
    if scenario.rate > 0.0 {
        // How much that was is told again in the end.
        spoken(scenario, lead).await?;
        return speak(scenario, lead, outcome).await;
    }
    rest(scenario, lead, outcome).await
}

async fn measure(
    lead: &mut Lead,
    outcome: &mut Outcome<'_>,
    from: Micros,
    until: Micros,
) -> Result<(), RunError> {
    lead.enter("warming up", clock::now(), from.saturating_sub(clock::now()));
    lead.listen_until(from).await?;
    lead.enter(MEASURING, from, until - from);
    let (before, counted_before) = (lead.servers(), outcome.subject().counters().await);
    let workers = lead.cpu();
    let began = clock::now();
    lead.listen_until(until).await?;
    let (after, counted) = (lead.servers(), outcome.subject().counters().await);
    outcome.measured(Measured {
        from,
        until: until.min(clock::now()),
        seconds: (clock::now() - began) as f64 / SECOND as f64,
        before,
        after,
        counted: grown(&counted_before, &counted),
        workers: workers.iter().zip(lead.cpu()).map(|(before, after)| after - before).collect(),
    });
    if lead.hopeless().is_some() {
        lead.tell(&Command::Hush).await?;
    }
    lead.enter("draining", clock::now(), 0);
    Ok(())
}

async fn finish(scenario: &Scenario, lead: &mut Lead, outcome: &mut Outcome<'_>) -> Result<(), RunError> {
    let sent = spoken(scenario, lead).await?;
    outcome.judged(lead.finish(sent, scenario.drain.0).await?);
    Ok(())
}

impl Subject {
    /// What the node has counted; nothing if it does not say.
    pub(super) async fn counters(&self) -> Counters {
        let Some(target) = &self.metrics else { return Counters::new() };
        http::text(target, "/metrics").await.map(|text| counters(&text)).unwrap_or_default()
    }
}

async fn spoken(scenario: &Scenario, lead: &mut Lead) -> Result<Vec<u32>, LeadError> {
    let speakers = scenario.speakers as usize * scenario.rooms as usize;
    // A generator that is late says the last of it later.
    lead.spoken(speakers, scenario.drain.0 + scenario.measure.0 + Duration::from_secs(10)).await
}

async fn make_rooms(scenario: &Scenario, targets: &[Target]) -> Result<Vec<Room>, ApiError> {
    let make = |number: u32| async move {
        let title = format!("{} {}", scenario.name, number + 1);
        let room = http::patiently(targets, scenario.patience.0, async |target| {
            http::create_board(target, &title).await
        });
        room.await.map(|room| Room { id: room.id, link: room.link })
    };
    stream::iter(0..scenario.rooms).map(make).buffered(ROOMS_AT_ONCE).try_collect().await
}

async fn jobs(
    scenario: &Scenario,
    subject: &Subject,
    generator: &Generator,
    rooms: Vec<Room>,
) -> Result<Vec<Job>, RunError> {
    let mut servers = Vec::new();
    for target in &subject.targets {
        let found = tokio::net::lookup_host(target.address()).await;
        let mut found = found.map_err(|error| RunError::Address(target.clone(), error))?;
        let none = || RunError::Address(target.clone(), std::io::ErrorKind::AddrNotAvailable.into());
        servers.push(found.next().ok_or_else(none)?);
    }
    let first = rooms.first().map_or(0, |room: &Room| salt(room.id));
    let followed = (scenario.rate / FOLLOWED).ceil().max(1.0) as u32;
    let Scenario { members, speakers, .. } = *scenario;
    let plan = Plan { run: first, rooms, members, speakers, followed };
    let target = &subject.targets[0];
    let people = match &scenario.people {
        Some(path) => people::from_file(target, path).await?,
        None => Vec::new(),
    };
    let tokens: Vec<String> = people.into_iter().map(|person| person.access_token).collect();
    let many = scenario.workers > 1 || scenario.connections() > PORTS;
    let local = servers.iter().all(|server: &SocketAddr| server.is_ipv4() && server.ip().is_loopback());
    let job = |worker: u32| Job {
        plan: plan.clone(),
        worker,
        workers: scenario.workers,
        servers: servers.clone(),
        host: target.authority(),
        path: target.path("/ws"),
        source: (many && local).then(|| Ipv4Addr::new(127, 0, 1, 1 + worker as u8)),
        codec: scenario.codec,
        speech: scenario.speech,
        payload: scenario.payload,
        resume: scenario.resume,
        audience: scenario.audience,
        tokens: tokens.clone(),
        seed: scenario.seed,
        cpu: (!generator.cpus.is_empty()).then(|| generator.cpus[worker as usize % generator.cpus.len()]),
    };
    Ok((0..scenario.workers).map(job).collect())
}

/// Rooms are new, and so are the clients in them.
fn salt(room: RoomId) -> u64 {
    let (high, low) = room.0.as_u64_pair();
    high ^ low
}
