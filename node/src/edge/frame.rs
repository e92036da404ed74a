//! WebSocket frames (RFC 6455), server side: a parser for what clients send, headers for what we send.
//!
//! The parser is fed whatever bytes came and keeps only what is incomplete, so an idle connection holds no buffer. It is strict:
//! what the RFC forbids ends the connection. It allocates no more than has arrived.

use bytes::Bytes;
use enfilade_proto::CloseCode;

/// What a client sent.
#[derive(Debug, PartialEq)]
pub(crate) enum Event<'a> {
    Message { text: bool, payload: &'a [u8] },
    Ping(&'a [u8]),
    Pong,
    Close,
}

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

const CONTROL_BYTES: u64 = 125;

#[derive(Debug)]
pub(crate) struct Parser {
    max_message: usize,
    /// The beginning of a frame whose end has not come yet.
    partial: Vec<u8>,
    /// The fragments of a message so far.
    message: Option<Fragments>,
}

#[derive(Debug)]
struct Fragments {
    text: bool,
    payload: Vec<u8>,
}

struct Header {
    fin: bool,
    opcode: u8,
    mask: [u8; 4],
    /// Of the header itself.
    len: usize,
    payload: usize,
}

impl Parser {
    pub(crate) fn new(max_message: usize) -> Self {
        Self { max_message, partial: Vec::new(), message: None }
    }

    /// Whether everything that came was complete.
    pub(crate) fn is_idle(&self) -> bool {
        self.partial.is_empty() && self.message.is_none()
    }

    /// Takes in what was read (and unmasks it in place), and tells `on` what it amounts to.
    ///
    /// # Errors
    /// The code to close with, when the client broke the rules. The parser is of no further use then.
    pub(crate) fn feed(&mut self, input: &mut [u8], mut on: impl FnMut(Event<'_>)) -> Result<(), CloseCode> {
        if self.partial.is_empty() {
            let consumed = self.frames(input, &mut on)?;
            self.partial.extend_from_slice(&input[consumed..]);
        } else {
            self.partial.extend_from_slice(input);
            let mut partial = std::mem::take(&mut self.partial);
            let consumed = self.frames(&mut partial, &mut on)?;
            if consumed < partial.len() {
                partial.drain(..consumed);
                self.partial = partial;
            }
        }
        Ok(())
    }

    fn frames(&mut self, bytes: &mut [u8], on: &mut impl FnMut(Event<'_>)) -> Result<usize, CloseCode> {
        let mut consumed = 0;
        while let Some(header) = self.header(&bytes[consumed..])? {
            let start = consumed + header.len;
            let end = start + header.payload;
            let Some(payload) = bytes.get_mut(start..end) else { break };
            unmask(payload, header.mask);
            self.frame(&header, payload, on)?;
            consumed = end;
        }
        Ok(consumed)
    }

    /// Reads and checks a header, if all of it is there.
    fn header(&self, bytes: &[u8]) -> Result<Option<Header>, CloseCode> {
        let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
        let (fin, opcode) = (first & 0x80 != 0, first & 0x0f);
        let masked = second & 0x80 != 0;
        let control = opcode >= CLOSE;
        let known = matches!(opcode, CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG);
        let (payload, extra) = match second & 0x7f {
            126 => match rest.first_chunk() {
                Some(len) => (u64::from(u16::from_be_bytes(*len)), 2),
                None => return Ok(None),
            },
            127 => match rest.first_chunk() {
                Some(len) => (u64::from_be_bytes(*len), 8),
                None => return Ok(None),
            },
            short => (u64::from(short), 0),
        };
        if first & 0x70 != 0 || !known || !masked || (control && (!fin || payload > CONTROL_BYTES)) {
            return Err(CloseCode::ProtocolError);
        }
        let payload = usize::try_from(payload).unwrap_or(usize::MAX);
        let before = self.message.as_ref().map_or(0, |message| message.payload.len());
        if !control && payload > self.max_message - before {
            return Err(CloseCode::FrameTooLarge);
        }
        let Some(mask) = rest.get(extra..).and_then(|rest| rest.first_chunk()) else { return Ok(None) };
        Ok(Some(Header { fin, opcode, mask: *mask, len: 2 + extra + 4, payload }))
    }

    fn frame(
        &mut self,
        header: &Header,
        payload: &[u8],
        on: &mut impl FnMut(Event<'_>),
    ) -> Result<(), CloseCode> {
        match header.opcode {
            PING => on(Event::Ping(payload)),
            PONG => on(Event::Pong),
            CLOSE => on(Event::Close),
            CONTINUATION => {
                let Some(mut message) = self.message.take() else { return Err(CloseCode::ProtocolError) };
                message.payload.extend_from_slice(payload);
                if header.fin {
                    deliver(message.text, &message.payload, on)?;
                } else {
                    self.message = Some(message);
                }
            }
            _ if self.message.is_some() => return Err(CloseCode::ProtocolError),
            opcode if header.fin => deliver(opcode == TEXT, payload, on)?,
            opcode => self.message = Some(Fragments { text: opcode == TEXT, payload: payload.to_vec() }),
        }
        Ok(())
    }
}

fn deliver(text: bool, payload: &[u8], on: &mut impl FnMut(Event<'_>)) -> Result<(), CloseCode> {
    if text && std::str::from_utf8(payload).is_err() {
        return Err(CloseCode::ProtocolError);
    }
    on(Event::Message { text, payload });
    Ok(())
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let (words, rest) = payload.as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(mask)).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

/// The header of a message of ours that has this many bytes. Not masked, hence the same for everybody.
pub(crate) fn message_header(text: bool, payload: usize) -> Vec<u8> {
    header(if text { TEXT } else { BINARY }, payload)
}

/// A whole message: header and payload in one piece.
pub(crate) fn message(text: bool, payload: &[u8]) -> Bytes {
    let mut frame = message_header(text, payload.len());
    frame.extend_from_slice(payload);
    frame.into()
}

pub(crate) fn pong(payload: &[u8]) -> Bytes {
    let mut frame = header(PONG, payload.len());
    frame.extend_from_slice(payload);
    frame.into()
}

pub(crate) fn close(code: CloseCode) -> Bytes {
    let reason = code.reason().as_bytes();
    let mut frame = header(CLOSE, 2 + reason.len());
    frame.extend_from_slice(&code.code().to_be_bytes());
    frame.extend_from_slice(reason);
    frame.into()
}

/// The answer to a close of the client's.
pub(crate) fn close_reply() -> Bytes {
    const NORMAL: u16 = 1000;
    let mut frame = header(CLOSE, 2);
    frame.extend_from_slice(&NORMAL.to_be_bytes());
    frame.into()
}

fn header(opcode: u8, payload: usize) -> Vec<u8> {
    let mut header = Vec::with_capacity(10 + payload.min(256));
    header.push(0x80 | opcode);
    if payload < 126 {
        header.push(payload as u8);
    } else if let Ok(payload) = u16::try_from(payload) {
        header.push(126);
        header.extend_from_slice(&payload.to_be_bytes());
    } else {
        header.push(127);
        header.extend_from_slice(&(payload as u64).to_be_bytes());
    }
    header
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame as a client sends it.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [0x12, 0x34, 0x56, 0x78];
        let mut frame = header(0, payload.len());
        frame[0] = first;
        frame[1] |= 0x80;
        frame.extend_from_slice(&mask);
        let start = frame.len();
        frame.extend_from_slice(payload);
        unmask(&mut frame[start..], mask);
        frame
    }

    fn describe(event: &Event<'_>) -> String {
        match event {
            Event::Message { text, payload } => format!("{text} {payload:?}"),
            Event::Ping(payload) => format!("ping {payload:?}"),
            Event::Pong => "pong".to_owned(),
            Event::Close => "close".to_owned(),
        }
    }

    fn feed_in_pieces(bytes: &[u8], cuts: &[usize], max: usize) -> (Vec<String>, Result<(), CloseCode>) {
        let mut parser = Parser::new(max);
        let mut events = Vec::new();
        let mut rest = bytes;
        for cut in cuts.iter().chain([&usize::MAX]) {
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            rest = after;
            if let Err(code) = parser.feed(&mut piece.to_vec(), |event| events.push(describe(&event))) {
                return (events, Err(code));
            }
        }
        (events, Ok(()))
    }

    #[test]
    fn a_message_may_come_in_fragments_with_a_ping_between() {
        let bytes = [frame(TEXT, b"he"), frame(0x80 | PING, b"x"), frame(0x80, b"llo")].concat();
        let (events, result) = feed_in_pieces(&bytes, &[], 1024);
        assert_eq!(result, Ok(()));
        assert_eq!(
            events,
            [describe(&Event::Ping(b"x")), describe(&Event::Message { text: true, payload: b"hello" })]
        );
    }

    #[test]
    fn what_the_rfc_forbids_ends_the_connection() {
        let unmasked = vec![0x81, 1, b'x'];
        let cases = [
            ("unmasked", unmasked, CloseCode::ProtocolError),
            ("reserved bit", frame(0xc1, b"x"), CloseCode::ProtocolError),
            ("unknown opcode", frame(0x83, b"x"), CloseCode::ProtocolError),
            ("continuation of nothing", frame(0x80, b"x"), CloseCode::ProtocolError),
            (
                "message inside a message",
                [frame(TEXT, b"x"), frame(0x81, b"x")].concat(),
                CloseCode::ProtocolError,
            ),
            ("fragmented ping", frame(PING, b"x"), CloseCode::ProtocolError),
            ("long ping", frame(0x80 | PING, &[0; 126]), CloseCode::ProtocolError),
            ("text that is none", frame(0x81, &[0xff, 0xfe]), CloseCode::ProtocolError),
            ("too large", frame(0x82, &[0; 1025]), CloseCode::FrameTooLarge),
            (
                "too large in all",
                [frame(BINARY, &[0; 600]), frame(0x80, &[0; 600])].concat(),
                CloseCode::FrameTooLarge,
            ),
        ];
        for (name, bytes, code) in cases {
            assert_eq!(feed_in_pieces(&bytes, &[], 1024).1, Err(code), "{name}");
        }
    }

    #[test]
    fn an_announced_length_allocates_nothing() {
        let mut parser = Parser::new(usize::MAX);
        let mut bytes = vec![0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4];
        parser.feed(&mut bytes, |_| panic!("nothing is complete")).unwrap();
        assert!(parser.partial.capacity() < 64);
    }

    proptest! {
        #[test]
        fn cuts_make_no_difference(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..8),
            cuts in prop::collection::vec(1usize..40, 0..60),
        ) {
            let bytes: Vec<u8> = payloads.iter().flat_map(|payload| frame(0x82, payload)).collect();
            let whole = feed_in_pieces(&bytes, &[], 1024);
            prop_assert_eq!(whole.0.len(), payloads.len());
            prop_assert_eq!(feed_in_pieces(&bytes, &cuts, 1024), whole);
        }

        #[test]
        fn any_bytes_are_events_or_an_error(bytes: Vec<u8>, cuts in prop::collection::vec(1usize..10, 0..20)) {
            prop_assert_eq!(feed_in_pieces(&bytes, &cuts, 100), feed_in_pieces(&bytes, &[], 100));
        }
    }
}
