//! The reader: the one small task of a connection. It waits for bytes, hands them to the hub, and holds nothing while it waits.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::vec;

use enfilade_proto::{CloseCode, Error};
use tokio::runtime::Handle;

use super::arrival::Arrival;
use super::entering;
use super::greeting;
use super::hub::{ConnectionId, Desk, Later, Line, Taken};
use super::inbox::Inbound;
use crate::people::Refusal;

thread_local! {
    /// Bytes are read into this and leave nothing behind: an idle connection has no buffer.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; 64 * 1024]);
}

/// A connection's task, from its socket's arrival to its end. There are as many of them as connections, so it is no more than what a
/// waiting one needs: with what the runtime adds, 128 bytes. Whatever else there is to be done is boxed while it is done.
pub(crate) enum Reading {
    /// For bytes.
    Waiting(Reader),
    Busy(Work),
}

/// Something that takes time about a connection. It ends with its reader, unless the connection is over.
type Work = Pin<Box<dyn Future<Output = Option<Reader>>>>;

#[derive(Clone, Debug)]
pub(crate) struct Reader {
    pub(crate) desk: Rc<Desk>,
    pub(crate) line: Rc<Line>,
    pub(crate) connection: ConnectionId,
}

/// Looks after a socket that has arrived.
pub(crate) fn welcome(desk: Rc<Desk>, arrival: Arrival) -> Reading {
    Reading::Busy(Box::pin(async {
        let (reader, came) = greeting::greet(desk, arrival).await?;
        match reader.take_all(came) {
            None => Some(reader),
            Some(work) => work.await,
        }
    }))
}

impl Future for Reading {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let next = match &mut *self {
                Self::Waiting(reader) => {
                    let work = match ready!(reader.line.socket.poll_read_ready(context)) {
                        Ok(()) => reader.step(),
                        Err(_) => Some(reader.finish(End::Gone)),
                    };
                    let Some(work) = work else { continue };
                    Self::Busy(work)
                }
                Self::Busy(work) => match ready!(work.as_mut().poll(context)) {
                    Some(reader) => Self::Waiting(reader),
                    None => return Poll::Ready(()),
                },
            };
            *self = next;
        }
    }
}

/// Why a connection is not read any more.
enum End {
    /// It is gone, or said goodbye.
    Gone,
    /// The hub has given it up.
    GivenUp,
    Close(CloseCode),
}

impl Reader {
    /// Reads what there is. Returns what of it takes time.
    fn step(&self) -> Option<Work> {
        match read(&self.line, |bytes| self.desk.with(|hub| hub.hear(self.connection, bytes))) {
            Ok(None) => None,
            Ok(Some(Some(came))) => self.take_all(came),
            Ok(Some(None)) => Some(self.finish(End::GivenUp)),
            Err(_) => Some(self.finish(End::Gone)),
        }
    }

    fn take_all(&self, came: Vec<Inbound>) -> Option<Work> {
        let mut came = came.into_iter();
        match self.take_some(&mut came) {
            Taken::Done => None,
            Taken::End(code) => Some(self.finish(code.map_or(End::Gone, End::Close))),
            Taken::Later(later) => Some(Box::pin(self.clone().take_slowly(later, came))),
        }
    }

    async fn take_slowly(self, mut later: Box<Later>, mut came: vec::IntoIter<Inbound>) -> Option<Self> {
        let code = loop {
            if let Taken::End(code) = self.wait_for(*later).await {
                break code;
            }
            match self.take_some(&mut came) {
                Taken::Done => return Some(self),
                Taken::End(code) => break code,
                Taken::Later(next) => later = next,
            }
        };
        self.finish(code.map_or(End::Gone, End::Close)).await
    }

    fn finish(&self, end: End) -> Work {
        match end {
            End::Gone => self.desk.with(|hub| hub.remove(self.connection)),
            End::GivenUp => {}
            End::Close(code) => self.desk.with(|hub| hub.close(self.connection, code)),
        }
        let (line, gone) = (self.line.clone(), matches!(end, End::Gone));
        Box::pin(async move {
            // What still comes is thrown away: closing on unread bytes would tear our last words away.
            while !gone && wait(&line).await.is_ok() && read(&line, |_| ()).is_ok() {}
            None
        })
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
                let marked =
                    marked.await.unwrap_or_else(|broken| Err(Error::from(&Refusal::internal(broken))));
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

    #[test]
    fn a_connection_that_waits_is_a_small_task() {
        assert!(size_of::<Reading>() <= 24, "{}", size_of::<Reading>());
    }
}
