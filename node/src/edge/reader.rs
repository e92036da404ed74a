//! The reader: the one small task of a connection. It waits for bytes, hands them to the hub, and holds nothing while it waits.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::vec;

use enfilade_proto::{CloseCode, Error, ErrorCode};
use tokio::runtime::Handle;

use super::arrival::Arrival;
use super::entering;
use super::greeting;
use super::hub::{self, ConnectionId, Desk, Later, Line, Taken};
use super::inbox::Inbound;
use crate::people::Refusal;

thread_local! {
    /// Bytes are read into this and leave nothing behind: an idle connection has no buffer.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; 64 * 1024]);
}

/// Looks after a socket from its arrival to its end.
pub(crate) async fn welcome(desk: Rc<Desk>, arrival: Arrival) {
    // Boxed, so that a connection that waits is not as large as one that is being greeted.
    if let Some(reader) = Box::pin(begin(desk, arrival)).await {
        reader.run().await;
    }
}

async fn begin(desk: Rc<Desk>, arrival: Arrival) -> Option<Reader> {
    let (reader, came) = greeting::greet(desk, arrival).await?;
    let ended = match reader.take_all(came) {
        Step::GoOn => None,
        Step::Wait(work) => work.await,
        Step::End(end) => Some(end),
    };
    match ended {
        None => Some(reader),
        Some(end) => {
            reader.finish(end).await;
            None
        }
    }
}

#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) desk: Rc<Desk>,
    pub(crate) line: Rc<Line>,
    pub(crate) connection: ConnectionId,
}

/// Why a connection is not read any more.
enum End {
    /// It is gone, or said goodbye.
    Gone,
    /// The hub has given it up.
    GivenUp,
    Close(CloseCode),
}

/// What to do next with a connection.
enum Step<'a> {
    GoOn,
    /// Something that it asked for takes time.
    Wait(Pin<Box<dyn Future<Output = Option<End>> + 'a>>),
    End(End),
}

impl Reader {
    /// Reads until the connection ends. What is idle keeps nothing but this in memory.
    async fn run(self) {
        let end = loop {
            if wait(&self.line).await.is_err() {
                break End::Gone;
            }
            match self.step() {
                Step::GoOn => {}
                Step::Wait(work) => {
                    if let Some(end) = work.await {
                        break end;
                    }
                }
                Step::End(end) => break end,
            }
        };
        Box::pin(self.finish(end)).await;
    }

    async fn finish(&self, end: End) {
        match end {
            End::Gone => return self.desk.with(|hub| hub.remove(self.connection)),
            End::GivenUp => {}
            End::Close(code) => self.desk.with(|hub| hub.close(self.connection, code)),
        }
        // What still comes is thrown away: closing on unread bytes would tear our last words away.
        while wait(&self.line).await.is_ok() && read(&self.line, |_| ()).is_ok() {}
    }

    fn step(&self) -> Step<'_> {
        match read(&self.line, |bytes| self.desk.with(|hub| hub.hear(self.connection, bytes))) {
            Ok(None) => Step::GoOn,
            Ok(Some(Some(came))) => self.take_all(came),
            Ok(Some(None)) => Step::End(End::GivenUp),
            Err(_) => Step::End(End::Gone),
        }
    }

    fn take_all(&self, came: Vec<Inbound>) -> Step<'_> {
        let mut came = came.into_iter();
        match self.take_some(&mut came) {
            Taken::Done => Step::GoOn,
            Taken::End(code) => Step::End(code.map_or(End::Gone, End::Close)),
            Taken::Later(later) => Step::Wait(Box::pin(self.take_slowly(later, came))),
        }
    }

    async fn take_slowly(&self, mut later: Box<Later>, mut came: vec::IntoIter<Inbound>) -> Option<End> {
        loop {
            if let Taken::End(code) = self.wait_for(*later).await {
                return Some(code.map_or(End::Gone, End::Close));
            }
            match self.take_some(&mut came) {
                Taken::Done => return None,
                Taken::End(code) => return Some(code.map_or(End::Gone, End::Close)),
                Taken::Later(next) => later = next,
            }
        }
    }

    /// Takes in what came, up to the first thing that has to be waited for.
    fn take_some(&self, came: &mut vec::IntoIter<Inbound>) -> Taken {
        self.desk.with(|hub| {
            for inbound in came {
                match hub.take(self.connection, inbound) {
                    Taken::Done => {}
                    other => return other,
                }
            }
            Taken::Done
        })
    }

    /// Has something done where the rooms are, and tells the client.
    async fn wait_for(&self, later: Later) -> Taken {
        let ends = self.desk.ends.clone();
        match later {
            Later::Join { id, join, entrant } => {
                match beside(&ends.runtime, entering::enter(ends.clone(), entrant, id, join)).await {
                    Ok(entered) => self.desk.with(|hub| {
                        hub.join(self.connection, entered);
                        hub.taken(self.connection, id, Ok(None))
                    }),
                    Err(error) => self.desk.with(|hub| hub.taken(self.connection, id, Err(error))),
                }
            }
            Later::Read { id, read, reader } => {
                let people = ends.people.clone();
                let marked = ends.runtime.spawn(async move {
                    let Some(reader) = reader else { return Ok(()) };
                    let marked = people.directory().mark_read(read.room, reader, read.seq).await;
                    marked.map_err(|failure| Error::from(&Refusal::from(failure)))
                });
                let marked = marked.await.unwrap_or_else(|failed| Err(broken(&failed)));
                self.desk.with(|hub| {
                    if marked.is_ok() {
                        hub.done(self.connection, id);
                    }
                    hub.taken(self.connection, id, marked.map(|()| None))
                })
            }
        }
    }
}

/// Does work on the hub's thread that may begin other work: that runs elsewhere.
async fn beside<F: Future>(runtime: &Handle, work: F) -> F::Output {
    let mut work = std::pin::pin!(work);
    poll_fn(|context| {
        let _elsewhere = runtime.enter();
        work.as_mut().poll(context)
    })
    .await
}

fn broken(failed: &tokio::task::JoinError) -> Error {
    tracing::error!(%failed, "a request broke off");
    hub::error(ErrorCode::Internal, "something went wrong")
}

/// Waits until there may be something to read. Not `readable()`, which holds on to more memory while it waits.
pub(crate) async fn wait(line: &Line) -> io::Result<()> {
    poll_fn(|context| line.socket.poll_read_ready(context)).await
}

/// Reads what there is. `Ok(None)`: nothing.
///
/// # Errors
/// At the end of the stream too: nothing comes after it.
pub(crate) fn read<R>(line: &Line, take: impl FnOnce(&mut [u8]) -> R) -> io::Result<Option<R>> {
    SCRATCH.with_borrow_mut(|scratch| match line.socket.try_read(scratch) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(read) => Ok(Some(take(&mut scratch[..read]))),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<F>(_: fn(Rc<Desk>, Arrival) -> F) -> usize {
        size_of::<F>()
    }

    /// With what the runtime adds, the task fits into 256 bytes, as it would not with one of the requests in its hands.
    #[test]
    fn a_connection_that_waits_is_a_small_task() {
        assert!(bytes(welcome) <= 152, "{}", bytes(welcome));
    }
}
