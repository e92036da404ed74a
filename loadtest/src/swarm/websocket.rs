//! WebSocket frames (RFC 6455) as the swarm and the floor need them: whole messages in one frame, read in place.
//!
//! Pure. Nothing is kept between calls: what is incomplete stays with the caller.

/// What comes before a frame's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub opcode: u8,
    /// Of frames from clients.
    pub mask: Option<[u8; 4]>,
    /// Bytes of the header itself.
    pub len: usize,
    /// Bytes of the payload.
    pub payload: usize,
}

pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// The largest message taken: a snapshot of the largest board.
pub const MESSAGE_BYTES: usize = 256 * 1024 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("a frame has reserved bits")]
    Reserved,
    #[error("a message came in fragments")]
    Fragment,
    #[error("a message has more than {MESSAGE_BYTES} bytes")]
    TooLarge,
}

impl Header {
    /// Reads a header, if all of it is there.
    ///
    /// # Errors
    /// When it is none, or of a message that is not taken.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, Broken> {
        let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(Broken::Reserved);
        }
        let opcode = first & 0x0f;
        if first & 0x80 == 0 || opcode == 0 {
            return Err(Broken::Fragment);
        }
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
        let payload = usize::try_from(payload).ok().filter(|payload| *payload <= MESSAGE_BYTES);
        let payload = payload.ok_or(Broken::TooLarge)?;
        if second & 0x80 == 0 {
            return Ok(Some(Self { opcode, mask: None, len: 2 + extra, payload }));
        }
        let Some(mask) = rest.get(extra..).and_then(<[u8]>::first_chunk) else { return Ok(None) };
        Ok(Some(Self { opcode, mask: Some(*mask), len: 2 + extra + 4, payload }))
    }
}

/// A frame of somebody who does not mask: the server.
pub fn write(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    write_header(out, opcode, payload.len(), 0);
    out.extend_from_slice(payload);
}

/// A frame of a client. What the mask protects from are proxies; a constant one protects from none, and none is there.
pub fn write_masked(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    const MASK: [u8; 4] = [0x5e, 0x1f, 0xad, 0xe0];
    write_header(out, opcode, payload.len(), 0x80);
    out.extend_from_slice(&MASK);
    let start = out.len();
    out.extend_from_slice(payload);
    unmask(&mut out[start..], MASK);
}

fn write_header(out: &mut Vec<u8>, opcode: u8, payload: usize, masked: u8) {
    out.push(0x80 | opcode);
    match payload {
        0..126 => out.push(masked | payload as u8),
        126..65_536 => {
            out.push(masked | 126);
            out.extend_from_slice(&(payload as u16).to_be_bytes());
        }
        _ => {
            out.push(masked | 127);
            out.extend_from_slice(&(payload as u64).to_be_bytes());
        }
    }
}

pub fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    for (i, byte) in payload.iter_mut().enumerate() {
        *byte ^= mask[i % 4];
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every whole frame in `bytes`, and how many bytes they take.
    fn frames(bytes: &[u8]) -> (Vec<(u8, Vec<u8>)>, usize) {
        let (mut found, mut at) = (Vec::new(), 0);
        while let Some(header) = Header::read(&bytes[at..]).unwrap() {
            let start = at + header.len;
            let Some(payload) = bytes.get(start..start + header.payload) else { break };
            let mut payload = payload.to_vec();
            unmask(&mut payload, header.mask.unwrap_or_default());
            found.push((header.opcode, payload));
            at = start + header.payload;
        }
        (found, at)
    }

    proptest! {
        #[test]
        fn frames_survive_any_cut(
            messages in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..300)), 0..8),
            masked: bool,
            cut in any::<prop::sample::Index>(),
        ) {
            let messages: Vec<(u8, Vec<u8>)> =
                messages.into_iter().map(|(text, bytes)| (if text { TEXT } else { BINARY }, bytes)).collect();
            let mut bytes = Vec::new();
            for (opcode, payload) in &messages {
                if masked { write_masked(&mut bytes, *opcode, payload) } else { write(&mut bytes, *opcode, payload) }
            }
            let cut = cut.index(bytes.len() + 1);
            let (mut found, consumed) = frames(&bytes[..cut]);
            found.extend(frames(&bytes[consumed..]).0);
            prop_assert_eq!(found, messages);
        }
    }

    #[test]
    fn lengths_take_two_or_eight_bytes_when_they_must() {
        for (payload, len) in [(125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let mut bytes = Vec::new();
            write(&mut bytes, BINARY, &vec![7; payload]);
            let header = Header { opcode: BINARY, mask: None, len, payload };
            assert_eq!(Header::read(&bytes), Ok(Some(header)));
            assert_eq!(Header::read(&bytes[..len - 1]), Ok(None));
        }
    }

    #[test]
    fn what_is_not_taken_is_refused() {
        assert_eq!(Header::read(&[0xc2, 0]), Err(Broken::Reserved));
        assert_eq!(Header::read(&[0x02, 0]), Err(Broken::Fragment));
        assert_eq!(Header::read(&[0x80, 0]), Err(Broken::Fragment));
        assert_eq!(Header::read(&[0x82, 127, 1, 0, 0, 0, 0, 0, 0, 0]), Err(Broken::TooLarge));
    }
}
