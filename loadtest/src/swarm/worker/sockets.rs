//! Sockets of a worker: who comes in, what the kernel says of them, and who is lost.

use std::cmp::Reverse;
use std::io;
use std::net::{SocketAddr, TcpStream};

use rustix::event::epoll::{self, EventData, EventFlags};
use socket2::{Domain, Socket, Type};

use super::{Due, Worker, lines::tell};
use crate::clock::{MILLISECOND, Micros};
use crate::swarm::clock;
use crate::swarm::connection::{Lost, Phase};
use crate::swarm::wire::{Event, Job};

/// Connections that are begun before the others are looked after.
const KNOCKS: usize = 64;
/// Between two attempts to connect.
const AGAIN: Micros = 100 * MILLISECOND;

impl Worker {
    /// Brings in those for whom it is time, and says so when everybody is inside.
    pub(super) fn gather(&mut self, now: Micros) -> io::Result<()> {
        // A few at a time: the server answers the first while the others knock.
        for _ in 0..KNOCKS {
            if self.under_way >= self.at_once {
                break;
            }
            let Some((planned, index)) = self.waiting.take(now) else { break };
            // Somebody may wait twice: for coming in, and for coming in again.
            if self.connections[index].phase == Phase::Out {
                self.connect(index, planned)?;
            }
        }
        if self.gathering && self.vanish.is_none() && self.inside == self.connections.len() {
            self.gathering = false;
            self.progress(now)?;
            tell(&Event::Gathered { at: clock::now() })?;
        }
        Ok(())
    }

    fn connect(&mut self, index: usize, planned: Micros) -> io::Result<()> {
        let server = self.job.servers[index % self.job.servers.len()];
        let socket = match open(server, &self.job) {
            Ok(socket) => socket,
            Err(error) => {
                self.lost(index, &error.into());
                return Ok(());
            }
        };
        epoll::add(&self.epoll, &socket, EventData::new_u64(index as u64), EventFlags::OUT)?;
        self.under_way += 1;
        self.connections[index].connect(socket, planned);
        Ok(())
    }

    pub(super) fn ready(&mut self, index: usize, flags: EventFlags, scratch: &mut Vec<u8>) {
        let connection = &mut self.connections[index];
        let was_blocked = connection.is_blocked();
        let mut result = Ok(());
        if flags.intersects(EventFlags::OUT | EventFlags::HUP | EventFlags::ERR) && was_blocked {
            result = connection.writable(&self.job);
        }
        if result.is_ok() && flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            result = connection.readable(&self.job, &mut self.ears, scratch).map(|step| {
                if step.entered {
                    self.inside += 1;
                    self.under_way -= 1;
                }
                if let Some(at) = step.again {
                    self.again.add(at, index);
                }
            });
        }
        if was_blocked && result.is_ok() && !self.connections[index].is_blocked() {
            self.watch(index);
        }
        self.after(index, result);
    }

    /// What a connection's I/O came to.
    pub(super) fn after(&mut self, index: usize, result: Result<(), Lost>) {
        match result {
            Ok(()) if self.connections[index].is_blocked() => self.watch(index),
            Ok(()) => {}
            Err(lost) => {
                self.out(index);
                self.lost(index, &lost);
            }
        }
    }

    /// Has the kernel say what the connection waits for.
    pub(super) fn watch(&self, index: usize) {
        let connection = &self.connections[index];
        let reading = if connection.deafened { EventFlags::empty() } else { EventFlags::IN };
        let flags = match connection.is_blocked() {
            true if connection.phase == Phase::Connecting => EventFlags::OUT,
            true => reading | EventFlags::OUT,
            false => reading,
        };
        if let Some(socket) = connection.socket() {
            // It fails only for a socket that is gone, and that is noticed by its next event.
            let _ = epoll::modify(&self.epoll, socket, EventData::new_u64(index as u64), flags);
        }
    }

    /// Counts a connection out of where it was.
    fn out(&mut self, index: usize) {
        match self.connections[index].phase {
            Phase::Out => {}
            Phase::Inside => self.inside -= 1,
            _ => self.under_way -= 1,
        }
    }

    /// Whoever was on the way in tries again; whoever was inside was thrown out, and stays out unless all are called.
    fn lost(&mut self, index: usize, lost: &Lost) {
        let connection = &mut self.connections[index];
        let was_inside = connection.phase == Phase::Inside;
        let counts = &mut self.ears.book.counts;
        if connection.deaf {
            counts.deaf_closed += 1;
        } else {
            *counts.closed.entry(lost.to_string()).or_default() += 1;
        }
        connection.end(false);
        if self.gathering || !was_inside {
            self.waiting.add(clock::now() + AGAIN, index);
        }
    }

    pub(super) fn vanish(&mut self, reset: bool) {
        for connection in &mut self.connections {
            connection.end(reset);
        }
        (self.inside, self.under_way) = (0, 0);
    }

    /// Somebody leaves and comes back.
    pub(super) fn churn(&mut self, index: usize, now: Micros) {
        self.out(index);
        self.connections[index].end(false);
        self.waiting.add(now, index);
    }

    /// Those who were chosen stop reading, or read again.
    pub(super) fn deafen(&mut self, deafened: bool) {
        for index in 0..self.connections.len() {
            if self.connections[index].deaf {
                self.connections[index].deafened = deafened;
                self.watch(index);
            }
        }
    }
}

/// Things that wait for their time, by connection.
impl Due {
    pub(super) fn add(&mut self, at: Micros, index: usize) {
        self.0.push(Reverse((at, index)));
    }

    pub(super) fn next(&self) -> Option<Micros> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }

    pub(super) fn take(&mut self, now: Micros) -> Option<(Micros, usize)> {
        self.next().filter(|at| *at <= now)?;
        self.0.pop().map(|Reverse(due)| due)
    }
}

fn open(server: SocketAddr, job: &Job) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM.nonblocking(), None)?;
    socket.set_tcp_nodelay(true)?;
    if let Some(source) = job.source {
        socket.bind(&SocketAddr::from((source, 0)).into())?;
    }
    match socket.connect(&server.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
        Err(error) => return Err(error),
    }
    Ok(socket.into())
}
