//! A HAR as a file: of all that is in it, the WebSockets and their messages.

use std::io::{self, Read};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use enfilade_proto::Codec;
use serde::Deserialize;

use super::HarError;
use crate::clock::{Micros, SECOND};

/// A HAR has all that the page loaded, too.
pub(super) const MAX_BYTES: u64 = 512 * 1024 * 1024;
/// Times from here on are milliseconds since 1970, as Playwright writes them; below, seconds, as Chrome does.
const MILLISECONDS: f64 = 1e11;

/// The WebSockets of a HAR that have messages.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Har {
    pub(super) sockets: Vec<Vec<Frame>>,
    /// WebSockets without any messages.
    pub(super) silent: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Frame {
    /// Since 1970.
    pub(super) at: Micros,
    /// By the page.
    pub(super) sent: bool,
    pub(super) codec: Codec,
    pub(super) bytes: Vec<u8>,
}

#[derive(Deserialize)]
struct File {
    log: Log,
}

#[derive(Deserialize)]
struct Log {
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "_resourceType", default)]
    resource: Option<String>,
    #[serde(rename = "_webSocketMessages", default)]
    messages: Option<Vec<Message>>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(rename = "type")]
    direction: String,
    time: f64,
    opcode: u8,
    data: String,
}

impl Har {
    /// # Errors
    /// When it cannot be read, or is no HAR, or its messages cannot be placed in time.
    pub fn read(input: impl Read) -> Result<Self, HarError> {
        let mut input = input.take(MAX_BYTES);
        let file: Result<File, _> = serde_json::from_reader(io::BufReader::new(&mut input));
        let file = file.map_err(|error| match (error.io_error_kind(), input.limit()) {
            (Some(kind), _) => HarError::Io(kind.into()),
            (None, 0) => HarError::TooLarge,
            (None, _) => HarError::NotHar(error.to_string()),
        })?;
        let mut har = Self::default();
        for entry in file.log.entries {
            match entry.messages {
                Some(messages) if !messages.is_empty() => {
                    let frames = messages.into_iter().filter_map(Message::frame);
                    har.sockets.push(frames.collect::<Result<_, _>>()?);
                }
                _ => har.silent += usize::from(entry.resource.as_deref() == Some("websocket")),
            }
        }
        Ok(har)
    }
}

impl Message {
    /// None if it carries no data: pings, and what was not recorded whole.
    fn frame(self) -> Option<Result<Frame, HarError>> {
        let sent = match &*self.direction {
            "send" => true,
            "receive" => false,
            _ => return None,
        };
        let (codec, bytes) = match self.opcode {
            1 => (Codec::Json, self.data.into_bytes()),
            2 => (Codec::MessagePack, STANDARD.decode(self.data).ok()?),
            _ => return None,
        };
        let seconds = if self.time < MILLISECONDS { self.time } else { self.time / 1e3 };
        if seconds <= 0.0 {
            return Some(Err(HarError::NoTimes));
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive; it saturates")]
        let at = (seconds * SECOND as f64) as Micros;
        Some(Ok(Frame { at, sent, codec, bytes }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(messages: &str) -> Result<Har, HarError> {
        let text = format!(
            r#"{{"log":{{"version":"1.2","entries":[{{"request":{{"url":"http://x"}}}},
            {{"_resourceType":"websocket","request":{{}}{messages}}}]}}}}"#
        );
        Har::read(text.as_bytes())
    }

    #[test]
    fn times_are_seconds_or_milliseconds() {
        let har = read(
            r#","_webSocketMessages":[{"type":"send","time":1767225600.25,"opcode":1,"data":"a"},
            {"type":"receive","time":1767225600250,"opcode":2,"data":"Yg=="},
            {"type":"receive","time":1767225600251,"opcode":9,"data":""},
            {"type":"receive","time":1767225600251,"opcode":2,"data":"not base64"}]"#,
        )
        .unwrap();
        let frame =
            |sent, codec, bytes: &[u8]| Frame { at: 1_767_225_600_250_000, sent, codec, bytes: bytes.into() };
        assert_eq!(har.sockets, [[frame(true, Codec::Json, b"a"), frame(false, Codec::MessagePack, b"b")]]);
    }

    #[test]
    fn what_is_no_har_is_refused() {
        let error = |text: &str| Har::read(text.as_bytes()).unwrap_err().to_string();
        assert!(error("").starts_with("not a HAR file: EOF"));
        assert!(error("{}").contains("missing field `log`"));
        assert!(
            error(r#"{"log":{"entries":[{"_webSocketMessages":[{}]}]}}"#).contains("missing field `type`")
        );
        let untimed = r#","_webSocketMessages":[{"type":"send","time":-1,"opcode":1,"data":"a"}]"#;
        assert!(matches!(read(untimed), Err(HarError::NoTimes)));
        assert_eq!(read("").unwrap(), Har { sockets: vec![], silent: 1 });
    }
}
