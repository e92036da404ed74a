//! What the transactions of a concurrent trace make together: every character that was ever typed keeps its place, and
//! each author sees those that they had typed or been sent, less those that they knew to be deleted.
//!
//! No two people of a trace type at the same place at once, so every way to merge makes the same text.

use super::structure::Versions;
use super::text::difference;
use super::{Patch, Trace, TraceError};

/// Looks at characters that a check may take: minutes. A longer trace is one of another kind than these.
const MOST: u64 = 5_000_000_000;

struct Character {
    char: char,
    typed: Deed,
    deleted: Vec<Deed>,
}

/// The `count`th transaction of an agent.
#[derive(Clone, Copy)]
struct Deed {
    agent: u32,
    count: u32,
}

impl Deed {
    fn is_in(self, version: &[u32]) -> bool {
        version[self.agent as usize] >= self.count
    }
}

impl Character {
    fn is_seen(&self, version: &[u32]) -> bool {
        self.typed.is_in(version) && !self.deleted.iter().any(|deed| deed.is_in(version))
    }
}

pub(super) fn check(trace: &Trace, versions: &Versions) -> Result<(), TraceError> {
    let mut all: Vec<Character> = Vec::new();
    let mut looks = 0;
    for (txn, (transaction, version)) in trace.transactions.iter().zip(versions).enumerate() {
        let agent = transaction.agent;
        let deed = Deed { agent, count: version[agent as usize] };
        for patch in &transaction.patches {
            looks += all.len() as u64;
            if looks > MOST {
                return Err(TraceError::NotATrace("it is too long for its end to be checked".into()));
            }
            if !apply(&mut all, patch, deed, version) {
                let problem =
                    format!("{} characters from {} on: so many it does not see", patch.delete, patch.at);
                return Err(TraceError::Transaction { txn, problem });
            }
        }
    }
    let left = all.iter().filter(|character| character.deleted.is_empty()).map(|character| character.char);
    difference(left, &trace.end).map_or(Ok(()), |at| Err(TraceError::EndContent(at)))
}

/// False, with no text typed, if the author sees no such place.
fn apply(all: &mut Vec<Character>, patch: &Patch, deed: Deed, version: &[u32]) -> bool {
    let mut seen = all.iter_mut().enumerate().filter(|(_, character)| character.is_seen(version));
    let place = match patch.at.checked_sub(1) {
        None => 0,
        Some(left) => match seen.nth(left) {
            Some((left, _)) => left + 1,
            None => return false,
        },
    };
    for _ in 0..patch.delete {
        match seen.next() {
            Some((_, character)) => character.deleted.push(deed),
            None => return false,
        }
    }
    let typed = patch.insert.chars().map(|char| Character { char, typed: deed, deleted: Vec::new() });
    all.splice(place..place, typed);
    true
}
