//! Lines from stdin, read without waiting for more than is there; and lines to stdout.

use std::io::{self, Read as _, Write as _};

use crate::swarm::wire::Event;

#[derive(Default)]
pub(super) struct Lines {
    bytes: Vec<u8>,
}

impl Lines {
    /// Reads what is there; false at the end.
    pub(super) fn read(&mut self) -> io::Result<bool> {
        let mut chunk = vec![0; 64 * 1024];
        let read = io::stdin().lock().read(&mut chunk)?;
        self.bytes.extend_from_slice(&chunk[..read]);
        Ok(read > 0)
    }

    pub(super) fn next(&mut self) -> Option<Vec<u8>> {
        let end = self.bytes.iter().position(|byte| *byte == b'\n')?;
        let rest = self.bytes.split_off(end + 1);
        Some(std::mem::replace(&mut self.bytes, rest))
    }
}

pub(super) fn tell(event: &Event) -> io::Result<()> {
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}
