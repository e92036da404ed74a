//! A recording as a file: the magic, the metadata, and messages one after another, none longer than 64 KiB.

use std::io::{BufRead, ErrorKind};

use serde::Deserialize;

use super::DprecError;
use super::message::{Dialect, Message, Said};

const MAGIC: &[u8; 6] = b"DPREC\0";
/// The length of the payload, the type, the user.
const HEAD: usize = 4;

pub(super) struct Messages<R> {
    input: R,
    dialect: Dialect,
    at: u64,
    payload: Vec<u8>,
}

#[derive(Deserialize)]
struct Metadata {
    version: String,
}

impl<R: BufRead> Messages<R> {
    pub(super) fn new(mut input: R) -> Result<Self, DprecError> {
        let mut magic = [0; MAGIC.len()];
        match input.read_exact(&mut magic) {
            Err(error) if error.kind() != ErrorKind::UnexpectedEof => return Err(error.into()),
            _ if magic != *MAGIC => return Err(DprecError::Magic),
            _ => {}
        }
        let mut length = [0; 2];
        let mut messages =
            Self { input, dialect: Dialect::Narrow, at: magic.len() as u64, payload: Vec::new() };
        messages.fill(&mut length, "the header")?;
        messages.read_payload(u16::from_be_bytes(length), "the header")?;
        let metadata: Metadata = serde_json::from_slice(&messages.payload)
            .map_err(|error| DprecError::Header(error.to_string()))?;
        messages.dialect =
            Dialect::of(&metadata.version).ok_or_else(|| DprecError::Protocol(metadata.version.clone()))?;
        Ok(messages)
    }

    /// None at the end.
    pub(super) fn next_message(&mut self) -> Result<Option<Message>, DprecError> {
        // Ending between two messages is ending well.
        if self.input.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let at = self.at;
        let mut head = [0; HEAD];
        self.fill(&mut head, "a message")?;
        let [high, low, kind, user] = head;
        self.read_payload(u16::from_be_bytes([high, low]), "a message")?;
        let said = Said::parse(self.dialect, kind, &self.payload)
            .map_err(|what| DprecError::Message { what, at })?;
        Ok(Some(Message { user, said }))
    }

    fn read_payload(&mut self, length: u16, what: &'static str) -> Result<(), DprecError> {
        let mut payload = std::mem::take(&mut self.payload);
        payload.resize(usize::from(length), 0);
        self.fill(&mut payload, what)?;
        self.payload = payload;
        Ok(())
    }

    fn fill(&mut self, buffer: &mut [u8], what: &'static str) -> Result<(), DprecError> {
        match self.input.read_exact(buffer) {
            Ok(()) => {
                self.at += buffer.len() as u64;
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                Err(DprecError::CutOff { what, at: self.at })
            }
            Err(error) => Err(error.into()),
        }
    }
}
