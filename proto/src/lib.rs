//! What travels between clients, edges and rooms: ids, messages, codecs, limits, error and close codes.
//!
//! `PROTOCOL.md` beside this crate is the same thing for people; `vectors/` proves both true, and every client
//! library runs them. Nothing here does I/O or knows the time.

pub mod board;
mod close;
mod codec;
mod coord;
mod deflated;
mod error;
mod ids;
pub mod limits;
mod message;
mod name;
mod op;
mod points;
mod trace;

pub use close::{CloseCode, Reconnect};
pub use codec::{Codec, Incoming, MalformedFrame, Rejected, ServerFrame, encode_around, encode_fields};
pub use coord::{Coord, Point};
pub use deflated::{Compression, Deflated};
pub use error::{ErrorCode, Retry};
pub use ids::{
    ClientId, ElementId, Epoch, InvalidElementId, LinkId, LoginId, OpId, Position, RoomId, Seq, UserId,
};
pub use message::{
    Accepted, Activity, Closing, Done, Error, Guest, Head, Hello, Join, Joined, Leave, LoggedOp, Member,
    Message, Ops, Ping, Pong, Presence, Read, Reconnecting, Refresh, Renamed, Request, Reset, Role, RoomKind,
    ServerMessage, Signal, SignalOut, Signals, Snapshot, Submit, User, Welcome,
};
pub use name::{DisplayName, InvalidName, Username};
pub use op::Op;
pub use points::{Points, Pressure};
pub use trace::{InvalidTrace, SpanId, TraceId, TraceParent};
