//! Error codes: one table for WebSocket and HTTP, each code with what the reader should do next.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Nothing was wrong with the request: send the same again, after `retry_after_ms` if it is given.
    Same,
    /// Get a fresh token first, then send the same again.
    Refresh,
    /// Sending the same again brings the same answer.
    Never,
}

macro_rules! error_codes {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal, $status:literal, $retry:ident;)*) => {
        /// Why a request was refused. The text is stable; the message beside it is for people and may change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $($(#[doc = $doc])* $name,)*
            /// A code that this version does not know (only ever read, never written).
            Unknown,
        }

        impl ErrorCode {
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                    Self::Unknown => "unknown",
                }
            }

            /// The status of the same refusal over HTTP.
            #[must_use]
            pub fn http_status(self) -> u16 {
                match self {
                    $(Self::$name => $status,)*
                    Self::Unknown => 500,
                }
            }

            #[must_use]
            pub fn retry(self) -> Retry {
                match self {
                    $(Self::$name => Retry::$retry,)*
                    Self::Unknown => Retry::Never,
                }
            }

            /// What the code means, in a sentence.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc,)*).trim_ascii(),)*
                    Self::Unknown => "",
                }
            }
        }
    };
}

error_codes! {
    /// The frame is not valid JSON or MessagePack, or not a message or an array of messages.
    MalformedFrame = "malformed_frame", 400, Never;
    /// The message has a type that this server does not know.
    UnknownType = "unknown_type", 400, Never;
    /// A field is missing, has the wrong type or a value out of its range.
    InvalidRequest = "invalid_request", 400, Never;
    /// The first message must be `hello`.
    HelloRequired = "hello_required", 401, Never;
    /// `hello` was already said on this connection.
    HelloRepeated = "hello_repeated", 409, Never;
    /// The request needs a signed-in person or a valid credential.
    Unauthenticated = "unauthenticated", 401, Never;
    /// The access token has expired; refresh it.
    TokenExpired = "token_expired", 401, Refresh;
    /// The resume token is too old or was not issued here; say who you are instead.
    ResumeExpired = "resume_expired", 401, Never;
    /// You may not do this in this room.
    Forbidden = "forbidden", 403, Never;
    /// There is no such room, or it is not for you to know.
    RoomNotFound = "room_not_found", 404, Never;
    /// There is no such thing here.
    NotFound = "not_found", 404, Never;
    /// A snapshot of this name is not there any more, or never was; the newest one's name comes with the answer.
    SnapshotGone = "snapshot_gone", 404, Never;
    /// The share link is unknown, expired or revoked.
    LinkInvalid = "link_invalid", 403, Never;
    /// Join the room first.
    NotJoined = "not_joined", 409, Never;
    /// The connection has joined as many rooms as it may.
    TooManyRooms = "too_many_rooms", 429, Never;
    /// Too many requests of this kind from you; slow down.
    RateLimited = "rate_limited", 429, Same;
    /// The server has too much to do right now.
    Busy = "busy", 503, Same;
    /// The room fails again and again and was set aside; an operator has to look at it.
    RoomUnavailable = "room_unavailable", 503, Same;
    /// The op does not belong to this kind of room.
    WrongKind = "wrong_kind", 422, Never;
    /// The op makes no sense in the room's present state.
    InvalidOp = "invalid_op", 422, Never;
    /// There is no element of that id on the board.
    UnknownElement = "unknown_element", 422, Never;
    /// Someone else's element has that id.
    ElementExists = "element_exists", 422, Never;
    /// The board holds as much as a board can hold.
    BoardFull = "board_full", 422, Never;
    /// The op id lies so far back that its fate is no longer known; it will not be applied.
    OpExpired = "op_expired", 409, Never;
    /// A name is empty, too long, or has characters that names may not have.
    InvalidName = "invalid_name", 422, Never;
    /// Somebody has that username.
    UsernameTaken = "username_taken", 409, Never;
    /// The password is too short, too long or among the most common ones.
    WeakPassword = "weak_password", 422, Never;
    /// The username or the password is wrong.
    InvalidCredentials = "invalid_credentials", 401, Never;
    /// The request came from another site.
    CrossSite = "cross_site", 403, Never;
    /// The `Idempotency-Key` was used for another request.
    IdempotencyMismatch = "idempotency_mismatch", 422, Never;
    /// A request with this `Idempotency-Key` is still being worked on.
    IdempotencyInProgress = "idempotency_in_progress", 409, Same;
    /// The body is too large.
    PayloadTooLarge = "payload_too_large", 413, Never;
    /// The method is not allowed here.
    MethodNotAllowed = "method_not_allowed", 405, Never;
    /// The body is of a media type that is not understood here.
    UnsupportedMediaType = "unsupported_media_type", 415, Never;
    /// Something went wrong on our side.
    Internal = "internal", 500, Same;
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(Self::ALL.iter().copied().find(|code| code.as_str() == text).unwrap_or(Self::Unknown))
    }
}
