//! The greeting: from a raw socket to a connection whose person is known.
//!
//! The first message must be a `hello`, soon, and good; one try. Whatever else comes ends the connection with a code.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use enfilade_proto::limits::{HELLO_MS, Limits, PING_MS};
use enfilade_proto::{
    CloseCode, Closing, Codec, DisplayName, Error, ErrorCode, Hello, Incoming, Rejected, Request, Welcome,
};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::Ends;
use super::frame;
use super::hub::{Command, Opening, Pulse};
use super::reader::{Inbound, Inbox, Reader};
use crate::people::{Principal, Refusal};

/// Takes a new socket up to the point where its reader takes over. `early` was read before the protocols were switched.
pub(crate) async fn greet(
    ends: Arc<Ends>,
    socket: TcpStream,
    early: Vec<u8>,
    codec: Option<Codec>,
    slot: OwnedSemaphorePermit,
) {
    let mut inbox = Inbox::new(codec);
    let result =
        tokio::time::timeout(Duration::from_millis(HELLO_MS), hello(&ends, &socket, early, &mut inbox)).await;
    let failure = match result {
        Ok(Ok(greeted)) => return enter(ends, socket, inbox, greeted, slot).await,
        Ok(Err(Failure::Lost)) => return,
        Ok(Err(Failure::Refused(reply))) => *reply,
        Err(_) => Farewell { code: CloseCode::HelloTimeout, error: None },
    };
    metrics::counter!("enfilade_greetings_refused_total", "reason" => failure.code.reason()).increment(1);
    say_goodbye(&socket, inbox.codec(), failure).await;
}

/// Somebody who said hello.
struct Greeted {
    id: Option<u32>,
    hello: Hello,
    principal: Principal,
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

async fn hello(
    ends: &Ends,
    socket: &TcpStream,
    mut bytes: Vec<u8>,
    inbox: &mut Inbox,
) -> Result<Greeted, Failure> {
    loop {
        let mut came = inbox.feed(&mut bytes).into_iter();
        for inbound in came.by_ref() {
            match inbound {
                Inbound::Request {
                    incoming: Ok(Incoming { id, request: Request::Hello(hello) }), ..
                } => {
                    let principal = identify(ends, &hello).map_err(|refusal| {
                        let code = match refusal.code {
                            ErrorCode::TokenExpired => CloseCode::TokenExpired,
                            _ => CloseCode::Unauthenticated,
                        };
                        Failure::error(code, id, (&refusal).into())
                    })?;
                    return Ok(Greeted { id, hello, principal, rest: came.collect() });
                }
                Inbound::Request { incoming, .. } => return Err(no_hello(incoming)),
                Inbound::Malformed(message) => {
                    let error = Error { code: ErrorCode::MalformedFrame, message, retry_after_ms: None };
                    return Err(Failure::error(CloseCode::Malformed, None, error));
                }
                Inbound::Ping(payload) => {
                    write_all(socket, &frame::pong(&payload)).await.map_err(|_| Failure::Lost)?;
                }
                Inbound::Pong => {}
                Inbound::Close => return Err(Failure::Lost),
                Inbound::Broken(code) => return Err(Failure::close(code)),
            }
        }
        bytes = read_some(socket).await.map_err(|_| Failure::Lost)?;
    }
}

fn no_hello(incoming: Result<Incoming, Rejected>) -> Failure {
    let (id, code, message) = match incoming {
        Ok(incoming) => (incoming.id, ErrorCode::HelloRequired, "the first message must be hello".to_owned()),
        Err(rejected) => (rejected.id, rejected.code, rejected.message),
    };
    Failure::error(CloseCode::Malformed, id, Error { code, message, retry_after_ms: None })
}

/// Resume, token, guest, in this order; what has run out gives way to the next.
fn identify(ends: &Ends, hello: &Hello) -> Result<Principal, Refusal> {
    let mut failed = None;
    if let Some(resume) = &hello.resume {
        match ends.people.resume(resume) {
            Ok(principal) => return Ok(principal),
            Err(refusal) => failed = Some(refusal),
        }
    }
    if let Some(token) = &hello.token {
        match ends.people.principal(token) {
            Ok(principal) => return Ok(principal),
            Err(refusal) => failed = Some(refusal),
        }
    }
    match &hello.guest {
        // A token that went bad must not quietly turn a person into a guest.
        Some(guest) if hello.token.is_none() => DisplayName::new(&guest.name)
            .map(|name| ends.people.guest(name))
            .map_err(|error| Refusal::new(ErrorCode::InvalidName, error.to_string())),
        _ => Err(failed.unwrap_or_else(|| {
            Refusal::new(ErrorCode::Unauthenticated, "say hello with a token or as a guest")
        })),
    }
}

async fn enter(
    ends: Arc<Ends>,
    socket: TcpStream,
    inbox: Inbox,
    greeted: Greeted,
    slot: OwnedSemaphorePermit,
) {
    let Greeted { id, hello, principal, rest } = greeted;
    let codec = inbox.codec();
    if ends.is_draining() {
        // The load balancer has not noticed yet. The next attempt goes elsewhere.
        return say_goodbye(&socket, codec, Farewell { code: CloseCode::Drained, error: None }).await;
    }
    let welcome = Welcome {
        user: principal.user.clone(),
        node: ends.node.clone(),
        ping_ms: PING_MS,
        resume: ends.people.resume_token(&principal),
        limits: Limits::default(),
    };
    let message = frame::message(codec == Codec::Json, &codec.encode(id, "welcome", &welcome));
    let written = tokio::time::timeout(Duration::from_millis(HELLO_MS), write_all(&socket, &message)).await;
    if !matches!(written, Ok(Ok(()))) {
        return;
    }
    let socket = Arc::new(socket);
    let pulse = Arc::new(Pulse::new(ends.clock.now_ms()));
    let hub = ends.next_hub();
    let (opened, connection) = oneshot::channel();
    let opening = Opening {
        socket: socket.clone(),
        codec,
        client: hello.client,
        principal: principal.clone(),
        pulse: pulse.clone(),
    };
    ends.hubs[hub].tell(Command::Open { opening, opened }).await;
    if let Ok(connection) = connection.await {
        let reader = Reader::new(ends, socket, hub, connection, inbox, hello.client, principal, pulse, slot);
        tokio::spawn(reader.run(rest));
    }
}

async fn say_goodbye(socket: &TcpStream, codec: Codec, farewell: Farewell) {
    let text = codec == Codec::Json;
    let mut bytes = Vec::new();
    if let Some((id, error)) = farewell.error {
        bytes.extend_from_slice(&frame::message(text, &codec.encode(id, "error", &error)));
    }
    let closing = Closing { code: farewell.code.code(), reason: farewell.code.reason().to_owned() };
    bytes.extend_from_slice(&frame::message(text, &codec.encode(None, "closing", &closing)));
    bytes.extend_from_slice(&frame::close(farewell.code));
    let goodbye = async {
        write_all(socket, &Bytes::from(bytes)).await?;
        socket2::SockRef::from(socket).shutdown(std::net::Shutdown::Write)?;
        // What still comes is read and thrown away: closing on unread bytes would tear our last words away.
        while !read_some(socket).await?.is_empty() {}
        io::Result::Ok(())
    };
    let _ = tokio::time::timeout(Duration::from_secs(2), goodbye).await;
}

/// # Errors
/// At the end of the stream too: there is nothing to greet any more.
async fn read_some(socket: &TcpStream) -> io::Result<Vec<u8>> {
    loop {
        socket.readable().await?;
        let mut bytes = vec![0; 4 * 1024];
        match socket.try_read(&mut bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                bytes.truncate(read);
                return Ok(bytes);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

async fn write_all(socket: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        socket.writable().await?;
        match socket.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
