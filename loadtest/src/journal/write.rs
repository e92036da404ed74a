//! Writes a journal from a thread of its own: whoever has something to note hands it over and goes on.
//!
//! Bound: [`WAITING`] lines. Nothing is left out beyond it; the replay waits for the disk then, and its own lag, which
//! is measured, tells.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use enfilade_proto::ClientId;

use super::{Begin, Entry, Line, VERSION};
use crate::clock::{Clock, Micros, SECOND, micros};

const WAITING: usize = 65_536;
/// Ops that follow each other share a line up to this many, and for this long.
const RANGE_OPS: u64 = 256;
const RANGE_TIME: Micros = SECOND;

#[derive(Debug)]
pub struct Journal {
    lines: Mutex<Option<SyncSender<Line>>>,
    writer: Mutex<Option<JoinHandle<io::Result<()>>>>,
}

impl Journal {
    /// Times of the lines will be those of `clock`.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub fn create(path: &Path, clock: Clock) -> io::Result<Self> {
        let mut file = BufWriter::with_capacity(1 << 16, File::create(path)?);
        let begin = Begin { enfilade_journal: VERSION, wall_us: wall_at_zero(clock) };
        write_line(&mut file, &begin)?;
        let (lines, waiting) = sync_channel(WAITING);
        let writer = std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || Writing { file, open: HashMap::new() }.run(&waiting))?;
        Ok(Self { lines: Mutex::new(Some(lines)), writer: Mutex::new(Some(writer)) })
    }

    pub fn note(&self, t: Micros, entry: Entry) {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lines) = &*lines {
            // A writer that is gone has failed; `finish` says how.
            let _ = lines.send(Line { t, entry });
        }
    }

    /// Waits until everything is written.
    ///
    /// # Errors
    /// When something could not be written at any time: the run must not look checked when it is not.
    pub fn finish(&self) -> io::Result<()> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).take();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let ended = writer.map(JoinHandle::join).unwrap_or(Ok(Ok(())));
        ended.unwrap_or_else(|_| Err(io::Error::other("the journal's writer panicked")))
    }
}

fn wall_at_zero(clock: Clock) -> Micros {
    let now = micros(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
    now.saturating_sub(clock.now())
}

fn write_line(file: &mut impl Write, line: &impl serde::Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *file, line)?;
    file.write_all(b"\n")
}

struct Writing<W> {
    file: W,
    /// Per client, ops that may be continued, and since when.
    open: HashMap<ClientId, (Micros, Line)>,
}

impl<W: Write> Writing<W> {
    /// Flushes whenever there is nothing to do, so that a reader sees what happened.
    fn run(mut self, lines: &Receiver<Line>) -> io::Result<()> {
        loop {
            match lines.try_recv() {
                Ok(line) => self.take(line)?,
                Err(TryRecvError::Empty) => {
                    self.file.flush()?;
                    let Ok(line) = lines.recv() else { break };
                    self.take(line)?;
                }
                Err(TryRecvError::Disconnected) => break,
            }
        }
        let mut rest: Vec<Line> = self.open.drain().map(|(_, (_, line))| line).collect();
        rest.sort_by_key(|line| line.t);
        rest.iter().try_for_each(|line| write_line(&mut self.file, line))?;
        self.file.flush()
    }

    fn take(&mut self, line: Line) -> io::Result<()> {
        let Some(client) = client(&line.entry) else { return write_line(&mut self.file, &line) };
        if let Some((since, open)) = self.open.get_mut(&client)
            && line.t < *since + RANGE_TIME
            && continues(open, &line)
        {
            return Ok(());
        }
        // What a client was answered does not end what it was shown.
        if matches!(line.entry, Entry::Submit { .. } | Entry::Accepted { .. }) {
            return write_line(&mut self.file, &line);
        }
        if let Some((_, before)) = self.open.remove(&client) {
            write_line(&mut self.file, &before)?;
        }
        if matches!(line.entry, Entry::Ops { .. }) {
            self.open.insert(client, (line.t, line));
            return Ok(());
        }
        write_line(&mut self.file, &line)
    }
}

/// Adds the ops of `line` to those of `open`, if they go on there.
fn continues(open: &mut Line, line: &Line) -> bool {
    let Entry::Ops { connection, room, epoch, first, last, digest, .. } = &mut open.entry else {
        return false;
    };
    let Entry::Ops { connection: c, room: r, epoch: e, first: from, last: to, digest: d, .. } = line.entry
    else {
        return false;
    };
    let fits = (*connection, *room, *epoch, last.next()) == (c, r, e, from) && to.0 - first.0 < RANGE_OPS;
    if fits {
        *last = to;
        *digest = digest.zip(d).map(|(a, b)| a.plus(b));
        open.t = line.t;
    }
    fits
}

fn client(entry: &Entry) -> Option<ClientId> {
    match entry {
        Entry::Opened { client, .. }
        | Entry::Welcome { client, .. }
        | Entry::Join { client, .. }
        | Entry::Joined { client, .. }
        | Entry::Reset { client, .. }
        | Entry::Ops { client, .. }
        | Entry::Submit { client, .. }
        | Entry::Accepted { client, .. }
        | Entry::Error { client, .. }
        | Entry::Told { client, .. }
        | Entry::Closed { client, .. } => Some(*client),
        Entry::Room { .. } | Entry::State { .. } | Entry::Presence { .. } => None,
    }
}
