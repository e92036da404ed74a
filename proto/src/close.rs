//! Close codes of the WebSocket: the range alone tells a client what to do, so that old clients handle new codes.

/// What a client does after a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reconnect {
    /// Reconnect after a random delay (4000–4099, and any close without a code of ours).
    WithJitter,
    /// Reconnect at once: the server said goodbye on purpose (4100–4199).
    Now,
    /// Refresh the token, then reconnect (4200–4299).
    AfterRefresh,
    /// Reconnect and drop what was cached of the rooms (4300–4399).
    FromScratch,
    /// Do not reconnect (4500–4699).
    Never,
}

macro_rules! close_codes {
    ($($(#[doc = $doc:literal])* $name:ident = $code:literal, $reason:literal;)*) => {
        /// Why the server closed a connection. Sent as `closing` before the close, and in the close itself.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum CloseCode {
            $($(#[doc = $doc])* $name = $code,)*
        }

        impl CloseCode {
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            #[must_use]
            pub fn reason(self) -> &'static str {
                match self {
                    $(Self::$name => $reason,)*
                }
            }

            /// What the code means, in a sentence.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc,)*).trim_ascii(),)*
                }
            }
        }
    };
}

close_codes! {
    /// The server stops.
    GoingAway = 4000, "going_away";
    /// Nothing was heard from the client for longer than a ping and its grace.
    Silent = 4001, "silent";
    /// The client reads too slowly; even a fresh snapshot would not fit.
    TooSlow = 4002, "too_slow";
    /// More people come in at a time than the server lets in; the error before says when to come back.
    Overloaded = 4003, "overloaded";
    /// `hello` did not come in time.
    HelloTimeout = 4004, "hello_timeout";
    /// The node is drained; another one is waiting.
    Drained = 4100, "drained";
    /// The connection is as old as one may become, and did not go when it was told to; another node is waiting.
    TooOld = 4101, "too_old";
    /// The access token ran out and was not refreshed.
    TokenExpired = 4200, "token_expired";
    /// What the client knows of its rooms is not the truth any more.
    StateInvalid = 4300, "state_invalid";
    /// `hello` had no valid credential.
    Unauthenticated = 4500, "unauthenticated";
    /// The person signed out on this device, or everywhere.
    SignedOut = 4501, "signed_out";
    /// The link or the membership through which a room was joined was revoked.
    AccessRevoked = 4502, "access_revoked";
    /// A frame breaks RFC 6455: not masked, reserved bits, a wrong fragment, text that is not UTF-8.
    ProtocolError = 4600, "protocol_error";
    /// A message is larger than `frame_bytes`.
    FrameTooLarge = 4601, "frame_too_large";
    /// Too many messages that could not be understood.
    Malformed = 4602, "malformed";
    /// The client goes on although it was told to slow down.
    Flooding = 4603, "flooding";
}

impl CloseCode {
    #[must_use]
    pub fn code(self) -> u16 {
        self as u16
    }

    /// What a client does after `code`, known or not.
    #[must_use]
    pub fn verdict(code: u16) -> Reconnect {
        match code {
            4100..=4199 => Reconnect::Now,
            4200..=4299 => Reconnect::AfterRefresh,
            4300..=4399 => Reconnect::FromScratch,
            4500..=4699 => Reconnect::Never,
            _ => Reconnect::WithJitter,
        }
    }
}
