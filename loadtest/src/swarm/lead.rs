//! Leads the workers of a run: starts them, tells them what to do at the same time, and adds up what they tell.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command as Process};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::clock;
use super::following::Following;
use super::spread::AllSpreads;
use super::tally::Tally;
use super::times::Times;
use super::wire::{Command, Counts, Event, Job, Progress};
use crate::clock::{MILLISECOND, Micros, SECOND};
use crate::usage::{self, Usage};

#[derive(Debug, thiserror::Error)]
pub enum LeadError {
    #[error("a worker cannot be started: {0}")]
    Start(std::io::Error),
    #[error("a worker ended: {0}")]
    Ended(String),
    #[error("a worker is not understood: {0}")]
    Event(String),
    #[error("only {inside} of {of} came in within {seconds:.0} s ({why})")]
    NotGathered { inside: u64, of: usize, seconds: f64, why: String },
    #[error("the workers do not answer")]
    Silent,
}

/// What was told in one stretch of time.
#[derive(Debug, Default)]
pub struct Told {
    pub counts: Counts,
    pub times: Times,
    /// Connections in their rooms at the end of it.
    pub inside: u64,
    /// Of all workers, within it.
    pub cpu: Micros,
    /// Of all servers.
    pub server_cpu: Micros,
    pub server_memory: u64,
}

/// What was wrong with what was heard.
#[derive(Debug, Default)]
pub struct Judgement {
    pub tally: Tally,
    /// Of those who stopped reading for a while.
    pub deaf: Tally,
    /// Everybody heard everything and was answered.
    pub complete: bool,
}

/// The workers of a run, and what they told.
#[derive(Debug)]
pub struct Lead {
    workers: Vec<Worker>,
    events: mpsc::Receiver<(usize, Result<Event, String>)>,
    /// Came before anybody waited for it.
    early: Vec<Event>,
    connections: usize,
    /// By the second in which it was told.
    seconds: BTreeMap<u64, Told>,
    spreads: AllSpreads,
    pids: Vec<u32>,
    looked: Micros,
    following: Following,
}

#[derive(Debug)]
struct Worker {
    /// Killed when dropped.
    _child: Child,
    stdin: ChildStdin,
    inside: u64,
    cpu: Micros,
    memory: u64,
}

/// Events that may wait to be looked at.
const EVENTS: usize = 1024;
/// How often the servers are looked at.
const LOOK: Micros = 200 * MILLISECOND;
/// How long a worker may take to understand its job.
const START: Duration = Duration::from_secs(20);

impl Lead {
    /// Starts a worker for each job: `program worker`. `pids` are the servers' processes.
    ///
    /// # Errors
    /// When one cannot be started.
    pub async fn start(
        program: &Path,
        jobs: &[Job],
        pids: Vec<u32>,
        following: Following,
    ) -> Result<Self, LeadError> {
        let (tell, events) = mpsc::channel(EVENTS);
        let connections = jobs.first().map_or(0, |job| job.plan.connections());
        let mut lead = Self {
            workers: Vec::new(),
            events,
            early: Vec::new(),
            connections,
            seconds: BTreeMap::new(),
            spreads: AllSpreads::default(),
            pids,
            looked: 0,
            following,
        };
        for (index, job) in jobs.iter().enumerate() {
            let mut child = Process::new(program)
                .arg("worker")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .kill_on_drop(true)
                .spawn()
                .map_err(LeadError::Start)?;
            let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
                return Err(LeadError::Silent);
            };
            tokio::spawn(listen(index, stdout, tell.clone()));
            let mut worker = Worker { _child: child, stdin, inside: 0, cpu: 0, memory: 0 };
            worker.tell(job).await?;
            lead.workers.push(worker);
        }
        lead.hear_from_all(START, |event| matches!(event, Event::Ready { .. })).await?;
        Ok(lead)
    }

    /// What the run is at now: a stage that began at a moment and takes so long (0 if nobody knows).
    pub fn enter(&mut self, stage: &'static str, began: Micros, length: Micros) {
        self.following.enter(stage, began, length);
    }

    /// Why the run need not go on, if it need not.
    #[must_use]
    pub fn hopeless(&self) -> Option<&str> {
        self.following.hopeless.as_deref()
    }

    /// # Errors
    /// When a worker has ended.
    pub async fn tell(&mut self, command: &Command) -> Result<(), LeadError> {
        for worker in &mut self.workers {
            worker.tell(command).await?;
        }
        Ok(())
    }

    /// Brings everybody in; when the last one was inside.
    ///
    /// # Errors
    /// When they are not all inside after `patience`.
    pub async fn gather(
        &mut self,
        from: Micros,
        over: Micros,
        at_once: usize,
        patience: Duration,
    ) -> Result<Micros, LeadError> {
        let began = clock::now();
        self.tell(&Command::Gather { from, over, at_once: at_once.div_ceil(self.workers.len()) }).await?;
        let mut last = 0;
        let wait = Duration::from_micros(from.saturating_sub(began) + over) + patience;
        let all = self.hear_from_all(wait, |event| match event {
            Event::Gathered { at } => {
                last = last.max(*at);
                true
            }
            _ => false,
        });
        match all.await {
            Ok(()) => Ok(last),
            Err(LeadError::Silent) => Err(self.not_gathered(clock::now() - began)),
            Err(error) => Err(error),
        }
    }

    fn not_gathered(&self, took: Micros) -> LeadError {
        let mut closed = BTreeMap::<String, u64>::new();
        for told in self.seconds.values() {
            for (why, count) in &told.counts.closed {
                *closed.entry(why.clone()).or_default() += count;
            }
        }
        let why: Vec<String> = closed.iter().map(|(why, count)| format!("{count} × {why}")).collect();
        let why = if why.is_empty() { "no answer".to_owned() } else { why.join(", ") };
        let inside = self.workers.iter().map(|worker| worker.inside).sum();
        LeadError::NotGathered { inside, of: self.connections, seconds: took as f64 / SECOND as f64, why }
    }

    /// Listens until a moment, or until the run is hopeless.
    ///
    /// # Errors
    /// When a worker fails.
    pub async fn listen_until(&mut self, until: Micros) -> Result<(), LeadError> {
        while clock::now() < until && self.hopeless().is_none() {
            let wait = Duration::from_micros(until.saturating_sub(clock::now()).min(LOOK));
            match self.hear_from_all(wait, |_| false).await {
                Ok(()) | Err(LeadError::Silent) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits until all has been said; how much each speaker said.
    ///
    /// # Errors
    /// When a worker fails, or has not said it in time.
    pub async fn spoken(&mut self, speakers: usize, patience: Duration) -> Result<Vec<u32>, LeadError> {
        let mut said = vec![0; speakers];
        self.hear_from_all(patience, |event| match event {
            Event::Spoken { sent } => {
                for (speaker, sent) in sent {
                    if let Some(said) = said.get_mut(*speaker as usize) {
                        *said = *sent;
                    }
                }
                true
            }
            _ => false,
        })
        .await?;
        Ok(said)
    }

    /// Gives everybody time to hear what was sent, and judges what they heard.
    ///
    /// # Errors
    /// When a worker fails.
    pub async fn finish(&mut self, sent: Vec<u32>, drain: Duration) -> Result<Judgement, LeadError> {
        let until = clock::now() + crate::clock::micros(drain);
        self.tell(&Command::Finish { sent, until }).await?;
        let mut judgement = Judgement { complete: true, ..Judgement::default() };
        self.hear_from_all(drain + START, |event| match event {
            Event::Result { tally, deaf, complete_at } => {
                judgement.tally.add(tally);
                judgement.deaf.add(deaf);
                judgement.complete &= complete_at.is_some();
                true
            }
            _ => false,
        })
        .await?;
        Ok(judgement)
    }

    /// Listens until every worker has told what is waited for.
    async fn hear_from_all(
        &mut self,
        patience: Duration,
        mut is_it: impl FnMut(&Event) -> bool,
    ) -> Result<(), LeadError> {
        let deadline = clock::now() + crate::clock::micros(patience);
        let mut open = self.workers.len();
        self.early.retain(|event| {
            let wanted = is_it(event);
            open -= usize::from(wanted);
            !wanted
        });
        while open > 0 {
            self.look_at_servers();
            let now = clock::now();
            if now >= deadline {
                return Err(LeadError::Silent);
            }
            let wait = Duration::from_micros((deadline - now).min(LOOK));
            let Ok(event) = timeout(wait, self.events.recv()).await else { continue };
            let Some((worker, event)) = event else { return Err(LeadError::Silent) };
            match event.map_err(LeadError::Event)? {
                Event::Progress(progress) => self.absorb(worker, &progress)?,
                Event::Failed { reason } => return Err(LeadError::Ended(reason)),
                event if is_it(&event) => open -= 1,
                event => self.early.push(event),
            }
        }
        Ok(())
    }

    fn absorb(&mut self, worker: usize, progress: &Progress) -> Result<(), LeadError> {
        let worker = &mut self.workers[worker];
        let cpu = progress.cpu - worker.cpu;
        (worker.inside, worker.cpu, worker.memory) = (progress.inside, progress.cpu, progress.memory);
        let inside = self.workers.iter().map(|worker| worker.inside).sum();
        for spread in &progress.spreads {
            self.spreads.add(spread).map_err(|error| LeadError::Event(error.to_string()))?;
        }
        let told = self.seconds.entry(progress.at / SECOND).or_default();
        told.counts.add(&progress.counts);
        let times = Times::decode(&progress.times).map_err(LeadError::Event)?;
        told.times.add(&times);
        self.following.add(&progress.counts, &times);
        told.inside = inside;
        told.cpu += cpu;
        Ok(())
    }

    fn look_at_servers(&mut self) {
        let now = clock::now();
        if now < self.looked + LOOK {
            return;
        }
        self.looked = now;
        let used = self.used(usage::glance);
        let told = self.seconds.entry(now / SECOND).or_default();
        told.server_cpu = told.server_cpu.max(used.cpu);
        told.server_memory = told.server_memory.max(used.memory);
        let inside = self.workers.iter().map(|worker| worker.inside).sum();
        let cpu = self.cpu().iter().sum();
        self.following.tell(now, inside, self.connections as u64, cpu, used);
    }

    /// What all servers have used so far.
    #[must_use]
    pub fn servers(&self) -> Usage {
        self.used(usage::of)
    }

    fn used(&self, look: fn(u32) -> Option<Usage>) -> Usage {
        let all = self.pids.iter().filter_map(|pid| look(*pid));
        all.fold(Usage::default(), |sum, one| Usage {
            cpu: sum.cpu + one.cpu,
            memory: sum.memory + one.memory,
        })
    }

    /// What was told in each second of the clock.
    #[must_use]
    pub fn seconds(&self) -> &BTreeMap<u64, Told> {
        &self.seconds
    }

    /// CPU that the workers used so far, one by one.
    #[must_use]
    pub fn cpu(&self) -> Vec<Micros> {
        self.workers.iter().map(|worker| worker.cpu).collect()
    }

    #[must_use]
    pub fn memory(&self) -> u64 {
        self.workers.iter().map(|worker| worker.memory).sum()
    }

    /// Everything that was told so far.
    #[must_use]
    pub fn total(&self) -> (Counts, Times) {
        let (mut counts, mut times) = (Counts::default(), Times::default());
        for told in self.seconds.values() {
            counts.add(&told.counts);
            times.add(&told.times);
        }
        self.spreads.record(&mut times);
        (counts, times)
    }
}

impl Worker {
    async fn tell<T: serde::Serialize>(&mut self, what: &T) -> Result<(), LeadError> {
        let mut line = serde_json::to_vec(what).map_err(|error| LeadError::Event(error.to_string()))?;
        line.push(b'\n');
        let written = self.stdin.write_all(&line).await;
        written.map_err(|error| LeadError::Ended(error.to_string()))
    }
}

/// Passes on what a worker says, until it says nothing more.
async fn listen(index: usize, stdout: ChildStdout, tell: mpsc::Sender<(usize, Result<Event, String>)>) {
    let mut lines = BufReader::new(stdout).lines();
    let mut done = false;
    while let Ok(Some(line)) = lines.next_line().await {
        let event = serde_json::from_str(&line).map_err(|error| format!("{error}: {line}"));
        done |= matches!(event, Ok(Event::Result { .. }));
        if tell.send((index, event)).await.is_err() {
            return;
        }
    }
    if !done {
        let _ = tell.send((index, Ok(Event::Failed { reason: "it said nothing more".into() }))).await;
    }
}
