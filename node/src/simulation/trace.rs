//! The trace of a simulation: a hash of everything that happened, by which two runs are compared, and for people the words.

use std::collections::VecDeque;

/// Lines that are kept for people.
const LINES: usize = 200_000;

#[derive(Debug)]
pub(super) struct Trace {
    hash: u64,
    verbose: bool,
    lines: VecDeque<String>,
}

impl Trace {
    pub(super) fn new(verbose: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, verbose, lines: VecDeque::new() }
    }

    pub(super) fn note(
        &mut self,
        at_ms: u64,
        what: &'static str,
        numbers: [u64; 3],
        detail: impl FnOnce() -> String,
    ) {
        self.add(at_ms);
        what.bytes().for_each(|byte| self.add(u64::from(byte)));
        numbers.into_iter().for_each(|number| self.add(number));
        if self.verbose {
            if self.lines.len() == LINES {
                self.lines.pop_front();
            }
            self.lines.push_back(format!("{:>8.3} {what:<12} {}", at_ms as f64 / 1e3, detail()));
        }
    }

    /// FNV-1a over words instead of bytes: it only has to differ.
    fn add(&mut self, word: u64) {
        self.hash = (self.hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(17);
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = &String> {
        self.lines.iter()
    }
}
