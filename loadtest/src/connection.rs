//! One WebSocket, as thin as it can be: it writes what there is to write, reads whole frames, and says how it ended.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use enfilade_proto::{
    ClientId, CloseCode as CloseVerdict, Codec, Guest, Hello, Join, Joined, Reconnect, Request, Retry,
    ServerFrame, ServerMessage, User, UserId, Welcome,
};
use futures_util::{Sink, Stream};
use http::HeaderValue;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_websockets::{ClientBuilder, CloseCode, Limits, Message, WebSocketStream};

use crate::target::Target;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const REPLY_TIMEOUT: Duration = Duration::from_secs(15);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// A snapshot of the largest board in JSON.
const FRAME_BYTES: usize = 256 * 1024 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("cannot connect: {0}")]
    Io(#[from] std::io::Error),
    #[error("the WebSocket handshake failed: {0}")]
    Handshake(#[from] tokio_websockets::Error),
    #[error("the server does not speak {0}")]
    Subprotocol(&'static str),
    #[error("no answer in time")]
    Timeout,
    #[error("the server closed the connection{}", .0.map(|code| format!(" with {code}")).unwrap_or_default())]
    Closed(Option<u16>),
    #[error("the server sent what is none of the protocol's: {0}")]
    Malformed(String),
    #[error("refused: {0}")]
    Refused(String),
    #[error("refused for now: {0}")]
    RefusedForNow(String),
}

impl ConnectError {
    /// Another node, or the same one later, may let the client in.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Io(_) | Self::Handshake(_) | Self::Timeout | Self::RefusedForNow(_) => true,
            Self::Closed(code) => CloseVerdict::verdict(code.unwrap_or_default()) != Reconnect::Never,
            Self::Subprotocol(_) | Self::Malformed(_) | Self::Refused(_) => false,
        }
    }
}

#[derive(Debug)]
pub struct Socket {
    stream: WebSocketStream<TcpStream>,
    codec: Codec,
}

#[derive(Debug)]
pub enum Incoming {
    Frame(Bytes),
    Closed(Option<u16>),
    /// What arrived breaks RFC 6455.
    Broken(String),
}

impl Socket {
    /// # Errors
    /// When there is no server, or none of ours.
    pub async fn open(target: &Target, codec: Codec) -> Result<Self, ConnectError> {
        Self::open_with(target, codec, None).await
    }

    /// The same with a receive buffer of this size.
    ///
    /// # Errors
    /// When there is no server, or none of ours.
    pub async fn open_with(target: &Target, codec: Codec, buffer: Option<u32>) -> Result<Self, ConnectError> {
        let handshake = Self::handshake(target, codec, buffer);
        timeout(CONNECT_TIMEOUT, handshake).await.unwrap_or(Err(ConnectError::Timeout))
    }

    async fn handshake(target: &Target, codec: Codec, buffer: Option<u32>) -> Result<Self, ConnectError> {
        let tcp = match buffer {
            None => TcpStream::connect(target.address()).await?,
            Some(buffer) => connect_narrow(target, buffer).await?,
        };
        tcp.set_nodelay(true)?;
        let subprotocol = codec.subprotocol();
        let (stream, response) = ClientBuilder::from_uri(target.socket())
            .add_header(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol))?
            .limits(Limits::default().max_payload_len(Some(FRAME_BYTES)))
            .connect_on(tcp)
            .await?;
        let taken = response.headers().get(SEC_WEBSOCKET_PROTOCOL).is_some_and(|taken| taken == subprotocol);
        if taken { Ok(Self { stream, codec }) } else { Err(ConnectError::Subprotocol(subprotocol)) }
    }

    /// The next frame; meanwhile what `outgoing` yields is written, as far as the server takes it. Nothing is lost
    /// when this is dropped before it is done.
    pub async fn next(&mut self, mut outgoing: impl FnMut() -> Option<Bytes>) -> Incoming {
        std::future::poll_fn(|cx| self.poll_next(cx, &mut outgoing)).await
    }

    /// The same, for whoever looks at several.
    pub fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        mut outgoing: impl FnMut() -> Option<Bytes>,
    ) -> Poll<Incoming> {
        if let Poll::Ready(ended) = self.poll_write(cx, &mut outgoing) {
            return Poll::Ready(ended);
        }
        let mut stream = Pin::new(&mut self.stream);
        loop {
            match stream.as_mut().poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(Incoming::Closed(None)),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(ended(&error)),
                Poll::Ready(Some(Ok(message))) if message.is_text() || message.is_binary() => {
                    return Poll::Ready(Incoming::Frame(message.into_payload().into()));
                }
                Poll::Ready(Some(Ok(message))) => {
                    if let Some((code, _)) = message.as_close() {
                        return Poll::Ready(Incoming::Closed(Some(code.into())));
                    }
                }
            }
        }
    }

    /// Writes what `outgoing` yields and reads nothing. Ready when it cannot.
    pub fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        mut outgoing: impl FnMut() -> Option<Bytes>,
    ) -> Poll<Incoming> {
        let codec = self.codec;
        let mut stream = Pin::new(&mut self.stream);
        while let Poll::Ready(ready) = stream.as_mut().poll_ready(cx) {
            let frame = match ready {
                Ok(()) => outgoing(),
                Err(error) => return Poll::Ready(ended(&error)),
            };
            let Some(frame) = frame else { break };
            if let Err(error) = stream.as_mut().start_send(message(codec, frame)) {
                return Poll::Ready(ended(&error));
            }
        }
        match stream.as_mut().poll_flush(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(ended(&error)),
            _ => Poll::Pending,
        }
    }

    /// Writes the rest and says goodbye; whoever does not answer in time is left without.
    pub async fn close(mut self, mut outgoing: impl FnMut() -> Option<Bytes>) {
        use futures_util::SinkExt as _;
        let goodbye = async {
            while let Some(frame) = outgoing() {
                self.stream.feed(message(self.codec, frame)).await?;
            }
            self.stream.feed(Message::close(Some(CloseCode::NORMAL_CLOSURE), "")).await?;
            self.stream.close().await
        };
        // Whether the other side still listened makes no difference now.
        let _ = timeout(CLOSE_TIMEOUT, goodbye).await;
    }
}

/// Connects with a receive buffer of this size. It has to be set before.
async fn connect_narrow(target: &Target, buffer: u32) -> std::io::Result<TcpStream> {
    let mut addresses = tokio::net::lookup_host(target.address()).await?;
    let address = addresses.next().ok_or(std::io::ErrorKind::AddrNotAvailable)?;
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_recv_buffer_size(buffer)?;
    socket.connect(address).await
}

fn message(codec: Codec, frame: Bytes) -> Message {
    match codec {
        Codec::Json => Message::text(frame),
        Codec::MessagePack => Message::binary(frame),
    }
}

fn ended(error: &tokio_websockets::Error) -> Incoming {
    match error {
        tokio_websockets::Error::Protocol(error) => Incoming::Broken(error.to_string()),
        tokio_websockets::Error::PayloadTooLong { .. } => Incoming::Broken(error.to_string()),
        _ => Incoming::Closed(None),
    }
}

/// A guest who has come into a room.
#[derive(Debug)]
pub struct Visit {
    pub socket: Socket,
    pub welcome: Welcome,
    pub user: UserId,
    pub joined: Joined,
    /// What came in the same frame after the answer to `join`.
    pub rest: Vec<ServerFrame>,
}

impl Visit {
    /// # Errors
    /// When the server cannot be reached or lets nobody in.
    pub async fn begin(
        target: &Target,
        codec: Codec,
        client: ClientId,
        guest: Guest,
        join: Join,
    ) -> Result<Self, ConnectError> {
        let mut socket = Socket::open(target, codec).await?;
        let hello = Hello { guest: Some(guest), ..Hello::new(client) };
        let (welcome, _) = socket.ask(1, &Request::Hello(hello)).await?;
        let (joined, rest) = socket.ask(2, &Request::Join(join)).await?;
        match (welcome, joined) {
            (
                ServerMessage::Welcome(welcome @ Welcome { user: Some(User { id: user, .. }), .. }),
                ServerMessage::Joined(joined),
            ) => Ok(Self { socket, welcome, user, joined: *joined, rest }),
            (welcome, joined) => Err(ConnectError::Malformed(format!("{welcome:?}, then {joined:?}"))),
        }
    }
}

impl Socket {
    /// Sends a request and waits for its reply. Pushes before it are passed over, those after it in its frame returned.
    async fn ask(
        &mut self,
        id: u32,
        request: &Request,
    ) -> Result<(ServerMessage, Vec<ServerFrame>), ConnectError> {
        let answer = async {
            let mut outgoing = Some(Bytes::from(self.codec.encode_request(Some(id), request)));
            loop {
                let frame = match self.next(|| outgoing.take()).await {
                    Incoming::Frame(frame) => frame,
                    Incoming::Closed(code) => return Err(ConnectError::Closed(code)),
                    Incoming::Broken(problem) => return Err(ConnectError::Malformed(problem)),
                };
                let messages = self.codec.decode_server(&frame);
                let mut messages = messages.map_err(|e| ConnectError::Malformed(e.to_string()))?.into_iter();
                if let Some(reply) = messages.by_ref().find(|message| message.id == Some(id)) {
                    return match reply.message {
                        ServerMessage::Error(error) => {
                            let why = format!("{} ({})", error.code, error.message);
                            let passing = error.code.retry() == Retry::Same;
                            Err(if passing {
                                ConnectError::RefusedForNow(why)
                            } else {
                                ConnectError::Refused(why)
                            })
                        }
                        message => Ok((message, messages.collect())),
                    };
                }
            }
        };
        timeout(REPLY_TIMEOUT, answer).await.unwrap_or(Err(ConnectError::Timeout))
    }
}
