//! A worker: thousands of connections on one thread, woken by the kernel when there is something to read.
//!
//! It does what the leader of the run tells it over stdin, and tells over stdout what happened.

mod lines;
mod sockets;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::os::fd::OwnedFd;

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use self::lines::{Lines, tell};
use super::clock;
use super::connection::{Connection, Phase};
use super::ears::Ears;
use super::schedule::Schedule;
use super::wire::{Arrivals, Command, Event, Job, Progress};
use crate::clock::{MILLISECOND, Micros};
use crate::usage;

#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    #[error("no job came")]
    NoJob,
    #[error("not understood: {0}")]
    Command(#[from] serde_json::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// How often progress is told.
const PROGRESS: Micros = 250 * MILLISECOND;
/// How often it is looked whether everybody has heard everything.
const LOOK: Micros = 5 * MILLISECOND;
const EVENTS: usize = 256;
const STDIN: u64 = u64::MAX;

/// Works until the result is told or nobody listens any more.
///
/// # Errors
/// When what comes is no job, or the machine does not let it work.
pub fn work() -> Result<(), WorkerError> {
    let mut lines = Lines::default();
    let job: Job = loop {
        if let Some(line) = lines.next() {
            break serde_json::from_slice(&line)?;
        }
        if !lines.read()? {
            return Err(WorkerError::NoJob);
        }
    };
    usage::raise_file_limit()?;
    if let Some(cpu) = job.cpu {
        usage::run_on(cpu)?;
    }
    Worker::new(job)?.run(lines)
}

struct Worker {
    job: Job,
    epoll: OwnedFd,
    ears: Ears,
    connections: Vec<Connection>,
    /// Those of them who speak.
    speakers: Vec<usize>,
    inside: usize,
    under_way: usize,
    /// Those who are to come in.
    waiting: Due,
    /// Connections that may be on their way in at once.
    at_once: usize,
    /// It is waited for that all are inside.
    gathering: bool,
    /// When all vanish, and whether without a goodbye.
    vanish: Option<(Micros, bool)>,
    schedule: Option<Schedule>,
    churn: Option<Schedule>,
    /// When those who were chosen stop reading, and when they read again.
    deaf: Vec<(Micros, bool)>,
    /// Speakers whose ops wait to be sent again.
    again: Due,
    finish: Option<Finish>,
    told: Micros,
    rng: StdRng,
    done: bool,
}

/// Connections for which something is to be done, and when.
#[derive(Default)]
struct Due(BinaryHeap<Reverse<(Micros, usize)>>);

struct Finish {
    sent: Vec<u32>,
    until: Micros,
    looked: Micros,
}

impl Worker {
    fn new(job: Job) -> Result<Self, WorkerError> {
        let plan = &job.plan;
        let mut members = vec![0; plan.rooms.len()];
        let mut connections = Vec::new();
        for place in plan.share(job.worker, job.workers) {
            members[place.room as usize] += 1;
            connections.push(Connection::new(place, plan.speaker(place).is_some()));
        }
        let speaks = |index: &usize| connections[*index].speaker.is_some();
        let speakers = (0..connections.len()).filter(speaks).collect();
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC).map_err(io::Error::from)?,
            ears: Ears::new(plan.clone(), job.codec(), members),
            connections,
            speakers,
            inside: 0,
            under_way: 0,
            waiting: Due::default(),
            at_once: usize::MAX,
            gathering: false,
            vanish: None,
            schedule: None,
            churn: None,
            deaf: Vec::new(),
            again: Due::default(),
            finish: None,
            told: clock::now(),
            rng: StdRng::seed_from_u64(job.seed.wrapping_add(job.worker.into())),
            done: false,
            job,
        })
    }

    fn run(mut self, mut lines: Lines) -> Result<(), WorkerError> {
        epoll::add(&self.epoll, rustix::stdio::stdin(), EventData::new_u64(STDIN), EventFlags::IN)
            .map_err(io::Error::from)?;
        tell(&Event::Ready { connections: self.connections.len() })?;
        let mut ready = Vec::with_capacity(EVENTS);
        let mut scratch = Vec::new();
        while !self.done {
            while let Some(line) = lines.next() {
                self.command(serde_json::from_slice(&line)?);
            }
            let now = clock::now();
            self.due(now)?;
            let wait = clock::wait(self.next_due().saturating_sub(now));
            ready.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut ready), Some(&wait)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(io::Error::from(error).into()),
            }
            for event in &ready {
                let (flags, data) = (event.flags, event.data.u64());
                if data == STDIN {
                    if !lines.read()? {
                        return Ok(());
                    }
                    continue;
                }
                self.ready(data as usize, flags, &mut scratch);
                self.speak();
            }
        }
        Ok(())
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Gather { from, over, at_once } => {
                // Whoever is about to vanish comes in again, too.
                let all_vanish = self.vanish.is_some();
                let out: Vec<usize> = (0..self.connections.len())
                    .filter(|index| all_vanish || self.connections[*index].phase == Phase::Out)
                    .collect();
                let many = out.len().max(1) as u64;
                out.into_iter()
                    .zip(0..)
                    .for_each(|(index, n)| self.waiting.add(from + over * n / many, index));
                (self.gathering, self.at_once) = (true, at_once);
            }
            Command::Speak { from, measured, until, rate, arrivals } => {
                let part = self.speakers.len() as f64 / self.job.plan.all_speakers().max(1) as f64;
                let (many, seed) = (self.speakers.len(), self.rng.random());
                self.schedule = Some(Schedule::new(from, until, rate * part, many, arrivals, seed));
                self.ears.begun = true;
                self.ears.book.measured = measured;
            }
            Command::Hush => self.schedule.iter_mut().for_each(Schedule::end),
            Command::Deafen { share, from, until } => {
                let mut silent = self.silent();
                silent.shuffle(&mut self.rng);
                let many = (self.connections.len() as f64 * share).round() as usize;
                let chosen = &silent[..many.min(silent.len())];
                chosen.iter().for_each(|index| self.connections[*index].deaf = true);
                self.ears.book.counts.deaf += chosen.len() as u64;
                self.ears.leave_out(chosen.iter().map(|index| self.connections[*index].place.room));
                self.deaf = vec![(until, false), (from, true)];
            }
            Command::Churn { from, until, rate } => {
                let silent = self.silent().len();
                let part = self.connections.len() as f64 / self.job.plan.connections() as f64;
                let seed = self.rng.random();
                self.churn = Some(Schedule::new(from, until, rate * part, silent, Arrivals::Poisson, seed));
            }
            Command::Vanish { at, reset } => self.vanish = Some((at, reset)),
            Command::Finish { sent, until } => self.finish = Some(Finish { sent, until, looked: 0 }),
        }
    }

    /// Those who do not speak.
    fn silent(&self) -> Vec<usize> {
        (0..self.connections.len()).filter(|index| self.connections[*index].speaker.is_none()).collect()
    }

    /// Does what it is time for.
    fn due(&mut self, now: Micros) -> Result<(), WorkerError> {
        self.speak();
        if let Some((_, reset)) = self.vanish.take_if(|(at, _)| *at <= now) {
            self.vanish(reset);
        }
        if let Some((_, deafened)) = self.deaf.pop_if(|(at, _)| *at <= now) {
            self.deafen(deafened);
        }
        while let Some((_, number)) = self.churn.as_mut().and_then(|churn| churn.take_due(now)) {
            if let Some(index) = self.silent().get(number) {
                self.churn(*index, now);
            }
        }
        self.gather(now)?;
        while let Some((_, index)) = self.again.take(now) {
            let result = self.connections[index].submit_again(&self.job, &mut self.ears);
            self.after(index, result);
        }
        if self.schedule.as_ref().is_some_and(|schedule| schedule.due().is_none()) {
            self.schedule = None;
            tell(&Event::Spoken { sent: self.sent() })?;
        }
        if now >= self.told + PROGRESS {
            self.progress(now)?;
        }
        self.look(now)
    }

    fn next_due(&self) -> Micros {
        let all = [
            Some(self.told + PROGRESS),
            self.schedule.as_ref().and_then(Schedule::due),
            self.churn.as_ref().and_then(Schedule::due),
            self.waiting.next().filter(|_| self.under_way < self.at_once),
            self.vanish.map(|(at, _)| at),
            self.deaf.last().map(|(at, _)| *at),
            self.finish.as_ref().map(|finish| finish.looked + LOOK),
            self.again.next(),
        ];
        all.into_iter().flatten().min().unwrap_or(0)
    }

    /// Sends what is due.
    fn speak(&mut self) {
        while let Some((planned, speaker)) =
            self.schedule.as_mut().and_then(|schedule| schedule.take_due(clock::now()))
        {
            let index = self.speakers[speaker];
            let result = self.connections[index].speak(&self.job, &mut self.ears, planned);
            self.after(index, result);
        }
    }

    /// How much each speaker has sent.
    fn sent(&self) -> Vec<(u32, u32)> {
        let sent = |index: &usize| {
            let connection = &self.connections[*index];
            let number = self.job.plan.speaker(connection.place)? as u32;
            Some((number, connection.speaker.as_ref()?.sent))
        };
        self.speakers.iter().filter_map(sent).collect()
    }

    fn progress(&mut self, now: Micros) -> io::Result<()> {
        self.told = now;
        let book = &mut self.ears.book;
        let progress = Progress {
            at: now,
            inside: self.inside as u64,
            cpu: usage::own_cpu(),
            memory: usage::own_memory(),
            counts: std::mem::take(&mut book.counts),
            times: book.times.encode(),
            spreads: book.spreads.take(now),
        };
        book.times.clear();
        tell(&Event::Progress(progress))
    }

    /// Looks whether everybody has heard everything.
    fn look(&mut self, now: Micros) -> Result<(), WorkerError> {
        let Some(finish) = self.finish.as_mut().filter(|finish| now >= finish.looked + LOOK) else {
            return Ok(());
        };
        finish.looked = now;
        let speakers = self.job.plan.speakers as usize;
        let listening = || self.connections.iter().filter(|one| one.phase == Phase::Inside && !one.deaf);
        let sent = |connection: &Connection| {
            let first = connection.place.room as usize * speakers;
            finish.sent.get(first..first + speakers).unwrap_or(&[])
        };
        let complete = listening().all(|connection| connection.is_complete(sent(connection)));
        if !complete && now < finish.until {
            return Ok(());
        }
        for connection in listening() {
            connection.listener.finish(sent(connection), &mut self.ears.book.tally);
        }
        self.progress(now)?;
        let book = &mut self.ears.book;
        let (tally, deaf) = (std::mem::take(&mut book.tally), std::mem::take(&mut book.deaf));
        tell(&Event::Result { tally, deaf, complete_at: complete.then_some(now) })?;
        self.done = true;
        Ok(())
    }
}
