//! The greeting: from a raw socket to a connection whose person is known.
//!
//! A handshake comes first, unless the HTTP server has seen to it. The first message must then be a `hello`, soon, and good; one
//! try. Whatever else comes ends the connection with a code.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use axum::http::HeaderMap;
use enfilade_proto::limits::{HELLO_MS, PING_MS};
use enfilade_proto::{
    CloseCode, Codec, DisplayName, Error, ErrorCode, Hello, Incoming, Rejected, Request, TraceParent, Welcome,
};
use tokio::net::TcpStream;

use super::arrival::{self, Arrival, Head, Switched};
use super::farewell::closing;
use super::hub::{Desk, Line, Opening};
use super::inbox::{Inbound, Inbox};
use super::reader::{self, Reader};
use super::snapshot::Reads;
use super::{Ends, Slot, frame, handshake};
use crate::named;
use crate::people::{Principal, Refusal};
use crate::server::{Accepted, HEAD};

/// Takes a socket up to the point where its reader takes over.
pub(crate) async fn greet(desk: Rc<Desk>, arrival: Arrival) -> Option<(Reader, Vec<Inbound>)> {
    let (line, early, codec, slot) = match arrival {
        Arrival::Fresh(accepted) => shake_hands(&desk, *accepted).await?,
        Arrival::Switched(switched) => {
            let Switched { socket, early, codec, slot } = *switched;
            (Line::new(TcpStream::from_std(socket).ok()?), early, codec, slot)
        }
    };
    let mut inbox = Inbox::new(codec);
    let said = hello(&desk.ends, &line, early, &mut inbox);
    let failure = match tokio::time::timeout(Duration::from_millis(HELLO_MS), said).await {
        Ok(Ok(greeted)) if desk.ends.is_draining() => {
            drop(greeted);
            // The load balancer has not noticed yet. The next attempt goes elsewhere.
            Farewell { code: CloseCode::Drained, error: None }
        }
        Ok(Ok(greeted)) => return Some(open(desk, line, inbox, greeted, slot)),
        Ok(Err(Failure::Lost)) => return None,
        Ok(Err(Failure::Refused(reply))) => *reply,
        Err(_) => Farewell { code: CloseCode::HelloTimeout, error: None },
    };
    metrics::counter!("enfilade_greetings_refused_total", "reason" => failure.code.reason()).increment(1);
    say_goodbye(&line, inbox.codec(), failure).await;
    None
}

/// Reads the first request, and answers it if it is a handshake. Others are the HTTP server's.
async fn shake_hands(
    desk: &Desk,
    mut accepted: Accepted,
) -> Option<(Rc<Line>, Vec<u8>, Option<Codec>, Slot)> {
    let socket = TcpStream::from_std(accepted.socket).ok()?;
    let line = Line::new(socket);
    let mut bytes = Vec::new();
    let head = tokio::time::timeout(HEAD, read_head(&line, &mut bytes)).await.ok()?.ok()?;
    let Some((headers, len)) = head else {
        accepted.socket = Rc::into_inner(line)?.socket.into_std().ok()?;
        accepted.serve(bytes);
        return None;
    };
    let agreed = handshake::agree(&headers, &desk.ends.allowed_origins);
    match agreed.and_then(|agreed| Ok((agreed, desk.ends.slot().ok_or(handshake::FULL)?))) {
        Ok((agreed, slot)) => {
            write_all(&line, &arrival::switching(&agreed)).await.ok()?;
            bytes.drain(..len);
            Some((line, bytes, agreed.codec, slot))
        }
        Err(refused) => {
            hang_up_after(&line, &arrival::refusal(refused, &headers)).await;
            None
        }
    }
}

/// The headers of a handshake and how long it is; nothing if this is for the HTTP server.
async fn read_head(line: &Line, bytes: &mut Vec<u8>) -> io::Result<Option<(HeaderMap, usize)>> {
    loop {
        read_some(line, bytes).await?;
        match Head::of(bytes) {
            Head::Partial => {}
            Head::WebSocket(headers, len) => return Ok(Some((headers, len))),
            Head::Other => return Ok(None),
        }
    }
}

/// Somebody who said hello.
struct Greeted {
    id: Option<u32>,
    hello: Hello,
    /// Nobody: an audience without a name.
    person: Option<Principal>,
    /// What came after the hello.
    rest: Vec<Inbound>,
}

enum Failure {
    Refused(Box<Farewell>),
    /// The socket is gone.
    Lost,
}

struct Farewell {
    code: CloseCode,
    error: Option<(Option<u32>, Error)>,
}

impl Failure {
    fn close(code: CloseCode) -> Self {
        Self::Refused(Box::new(Farewell { code, error: None }))
    }

    fn error(code: CloseCode, id: Option<u32>, error: Error) -> Self {
        Self::Refused(Box::new(Farewell { code, error: Some((id, error)) }))
    }
}

async fn hello(ends: &Ends, line: &Line, mut bytes: Vec<u8>, inbox: &mut Inbox) -> Result<Greeted, Failure> {
    loop {
        let mut came = inbox.feed(&mut bytes).into_iter();
        for inbound in came.by_ref() {
            match inbound {
                Inbound::Request {
                    incoming: Ok(Incoming { id, request: Request::Hello(hello) }), ..
                } => {
                    ends.pass().map_err(|wait_ms| {
                        let error = Error {
                            retry_after_ms: Some(wait_ms),
                            ..Error::new(ErrorCode::RateLimited, "too many come in at a time")
                        };
                        Failure::error(CloseCode::Overloaded, id, error)
                    })?;
                    let person = identify(ends, &hello).map_err(|refusal| {
                        let code = match refusal.code {
                            ErrorCode::TokenExpired => CloseCode::TokenExpired,
                            _ => CloseCode::Unauthenticated,
                        };
                        Failure::error(code, id, (&refusal).into())
                    })?;
                    return Ok(Greeted { id, hello, person, rest: came.collect() });
                }
                Inbound::Request { incoming, .. } => return Err(no_hello(incoming)),
                Inbound::Malformed(message) => {
                    let error = Error::new(ErrorCode::MalformedFrame, message);
                    return Err(Failure::error(CloseCode::Malformed, None, error));
                }
                Inbound::Ping(payload) => {
                    write_all(line, &frame::pong(&payload)).await.map_err(|_| Failure::Lost)?;
                }
                Inbound::Pong => {}
                Inbound::Close => return Err(Failure::Lost),
                Inbound::Broken(code) => return Err(Failure::close(code)),
            }
        }
        bytes.clear();
        read_some(line, &mut bytes).await.map_err(|_| Failure::Lost)?;
    }
}

fn no_hello(incoming: Result<Incoming, Rejected>) -> Failure {
    let (id, code, message) = match incoming {
        Ok(incoming) => (incoming.id, ErrorCode::HelloRequired, "the first message must be hello".to_owned()),
        Err(rejected) => (rejected.id, rejected.code, rejected.message),
    };
    Failure::error(CloseCode::Malformed, id, Error::new(code, message))
}

/// Resume, token, guest, in this order; what has run out gives way to the next. Who only watches may be nobody.
fn identify(ends: &Ends, hello: &Hello) -> Result<Option<Principal>, Refusal> {
    let mut failed = None;
    if let Some(resume) = &hello.resume {
        match ends.people.resume(resume) {
            Ok(principal) => return Ok(Some(principal)),
            Err(refusal) => failed = Some(refusal),
        }
    }
    if let Some(token) = &hello.token {
        match ends.people.principal(token) {
            Ok(principal) => return Ok(Some(principal)),
            Err(refusal) => failed = Some(refusal),
        }
    }
    match &hello.guest {
        // A token that went bad must not quietly turn a person into a guest.
        Some(guest) if hello.token.is_none() => DisplayName::new(&guest.name)
            .map(|name| Some(ends.people.guest(name)))
            .map_err(|error| Refusal::new(ErrorCode::InvalidName, error.to_string())),
        None if hello.audience && failed.is_none() => Ok(None),
        _ => Err(failed.unwrap_or_else(|| {
            Refusal::new(ErrorCode::Unauthenticated, "say hello with a token or as a guest")
        })),
    }
}

fn open(
    desk: Rc<Desk>,
    line: Rc<Line>,
    inbox: Inbox,
    greeted: Greeted,
    slot: Slot,
) -> (Reader, Vec<Inbound>) {
    let Greeted { id, hello, person, rest } = greeted;
    let codec = inbox.codec();
    let welcome = Welcome {
        user: person.as_ref().map(|person| person.user.clone()),
        node: desk.ends.node.clone(),
        ping_ms: PING_MS,
        resume: person.as_ref().map(|person| desk.ends.people.resume_token(person)),
        limits: desk.ends.allowances.told(),
    };
    let message = frame::message(codec == Codec::Json, &codec.encode(id, "welcome", &welcome));
    let Reads { deflate, .. } = Reads::of(codec, &hello);
    let opening = Opening {
        line: line.clone(),
        inbox,
        client: hello.client,
        person,
        audience: hello.audience,
        deflate,
        trace: asked(hello.traceparent.as_deref()),
        slot,
    };
    let connection = desk.with(|hub| {
        let connection = hub.open(opening);
        hub.send(connection, &[message]);
        connection
    });
    (Reader { desk, line, connection }, rest)
}

/// The trace to which a client wants its ops to belong. What makes no sense is ignored, as the recommendation wants it.
fn asked(traceparent: Option<&str>) -> Option<Box<TraceParent>> {
    let parent: TraceParent = traceparent?.parse().ok()?;
    parent.sampled.then(|| Box::new(parent))
}

async fn say_goodbye(line: &Line, codec: Codec, farewell: Farewell) {
    let text = codec == Codec::Json;
    let mut bytes = Vec::new();
    let mut trace_id = None;
    if let Some((id, mut error)) = farewell.error {
        named::name(&mut error, None);
        trace_id = error.trace_id;
        bytes.extend_from_slice(&frame::message(text, &codec.encode(id, "error", &error)));
    }
    bytes.extend_from_slice(&closing(codec, farewell.code, trace_id));
    bytes.extend_from_slice(&frame::close(farewell.code));
    hang_up_after(line, &bytes).await;
}

async fn hang_up_after(line: &Line, last: &[u8]) {
    let goodbye = async {
        write_all(line, last).await?;
        socket2::SockRef::from(&line.socket).shutdown(std::net::Shutdown::Write)?;
        // What still comes is read and thrown away: closing on unread bytes would tear our last words away.
        loop {
            reader::wait(line).await?;
            reader::read(line, |_| ())?;
        }
    };
    let _: Result<io::Result<()>, _> = tokio::time::timeout(Duration::from_secs(2), goodbye).await;
}

/// # Errors
/// At the end of the stream too: there is nothing to greet any more.
async fn read_some(line: &Line, into: &mut Vec<u8>) -> io::Result<()> {
    loop {
        reader::wait(line).await?;
        if reader::read(line, |bytes| into.extend_from_slice(bytes))?.is_some() {
            return Ok(());
        }
    }
}

async fn write_all(line: &Line, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match line.socket.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => line.socket.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
