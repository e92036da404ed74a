//! A session being put together out of other data: events in the order in which they were found, with times of their
//! own. In the end they are put in the order of time, and `restore`s name the numbers that ops then have.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use enfilade_proto::{DisplayName, Op, Seq};
use serde_json::Value;

use crate::clock::Micros;
use crate::session::{Event, MAX_DURATION, MAX_EVENTS, What};

/// An op of the draft, for as long as it is one. A `restore` in a draft names such a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct DraftOp(u64);

impl DraftOp {
    pub(super) fn as_seq(self) -> Seq {
        Seq(self.0)
    }
}

#[derive(Debug, Default)]
pub(super) struct Draft {
    events: Vec<(Event, Option<DraftOp>)>,
    ops: u64,
    struck: BTreeSet<DraftOp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    #[error("these data make more than {MAX_EVENTS} events")]
    Events,
    #[error("these data last longer than a day; a session does not")]
    Duration,
}

impl Draft {
    pub(super) fn scene(&mut self, op: Op) {
        self.number(0, What::Scene(op));
    }

    pub(super) fn join(&mut self, at: Micros, person: u32, name: DisplayName) {
        self.push(at, What::Join { person, name });
    }

    pub(super) fn leave(&mut self, at: Micros, person: u32) {
        self.push(at, What::Leave { person });
    }

    pub(super) fn signal(&mut self, at: Micros, person: u32, key: String, body: Value) {
        self.push(at, What::Signal { person, key, body });
    }

    pub(super) fn op(&mut self, at: Micros, person: u32, op: Op) -> DraftOp {
        self.number(at, What::Op { person, op })
    }

    /// The op is not to be in the session after all.
    pub(super) fn strike(&mut self, op: DraftOp) {
        self.struck.insert(op);
    }

    /// More events than this are refused in the end; whoever reads on only wastes memory.
    pub(super) fn is_full(&self) -> bool {
        self.events.len() > MAX_EVENTS
    }

    fn push(&mut self, at: Micros, what: What) {
        self.events.push((Event { at, what }, None));
    }

    fn number(&mut self, at: Micros, what: What) -> DraftOp {
        self.ops += 1;
        let number = DraftOp(self.ops);
        self.events.push((Event { at, what }, Some(number)));
        number
    }

    /// The events of the session, the first of which is at 0. Restores of what is not in it are left out.
    pub(super) fn finish(self, left_out: &mut LeftOut) -> Result<Vec<Event>, TooMuch> {
        let Self { mut events, struck, .. } = self;
        if events.len() > MAX_EVENTS {
            return Err(TooMuch::Events);
        }
        // Stable: what one person did keeps its order. The scene was there before anybody did anything.
        events.sort_by_key(|(event, _)| (!matches!(event.what, What::Scene(_)), event.at));
        let mut numbers: BTreeMap<DraftOp, u64> = BTreeMap::new();
        let mut finished = Vec::with_capacity(events.len());
        for (mut event, number) in events {
            if let Some(number) = number {
                if struck.contains(&number) {
                    continue;
                }
                if !renumber(&mut event.what, &numbers) {
                    left_out.count("restores of what is not in the session", 1);
                    continue;
                }
                numbers.insert(number, numbers.len() as u64 + 1);
            }
            finished.push(event);
        }
        match finished.last() {
            Some(last) if last.at > MAX_DURATION => Err(TooMuch::Duration),
            _ => Ok(finished),
        }
    }
}

/// False if it restores what is not there.
fn renumber(what: &mut What, numbers: &BTreeMap<DraftOp, u64>) -> bool {
    if let What::Scene(Op::Restore(restore)) | What::Op { op: Op::Restore(restore), .. } = what {
        match numbers.get(&DraftOp(restore.deleted_by.0)) {
            Some(number) => restore.deleted_by = Seq(*number),
            None => return false,
        }
    }
    true
}

/// What of the data a session cannot say, by what it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut(BTreeMap<&'static str, u64>);

impl LeftOut {
    pub(super) fn count(&mut self, what: &'static str, count: u64) {
        if count > 0 {
            *self.0.entry(what).or_default() += count;
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How much of this was left out.
    #[must_use]
    pub fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (what, count)) in self.0.iter().enumerate() {
            write!(f, "{}{count} {what}", if i > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

/// A name as a session may have it: what names may not have is taken out, and what is too long is cut.
pub(super) fn name(text: &str, number: u32) -> DisplayName {
    let clean: String = text.chars().filter(|c| DisplayName::new(&format!("a{c}a")).is_ok()).collect();
    let cut: String = clean.trim().chars().take(DisplayName::MAX_CHARS).collect();
    #[expect(clippy::expect_used, reason = "a word and a number")]
    DisplayName::new(&cut)
        .unwrap_or_else(|_| DisplayName::new(&format!("Person {}", number + 1)).expect("a name"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn op(value: Value) -> Op {
        serde_json::from_value(value).unwrap()
    }

    fn delete(id: &str) -> Op {
        op(json!({"type":"delete","data":{"elements":[id]}}))
    }

    fn restore(what: DraftOp) -> Op {
        op(json!({"type":"restore","data":{"deleted_by":what.as_seq()}}))
    }

    #[test]
    fn a_restore_names_the_number_that_its_op_has_in_the_end() {
        let mut draft = Draft::default();
        draft.scene(delete("s"));
        let second = draft.op(50, 0, delete("a"));
        let first = draft.op(20, 1, delete("b"));
        draft.op(90, 0, restore(second));
        draft.op(91, 1, restore(first));
        let mut left_out = LeftOut::default();
        let events = draft.finish(&mut left_out).unwrap();
        let named: Vec<_> = events
            .iter()
            .filter_map(|event| match &event.what {
                What::Op { op: Op::Restore(restore), .. } => Some(restore.deleted_by.0),
                _ => None,
            })
            .collect();
        assert_eq!((named, left_out.is_empty()), (vec![3, 2], true));
    }

    #[test]
    fn what_builds_on_a_struck_op_is_left_out_and_counted() {
        let mut draft = Draft::default();
        let refused = draft.op(1, 0, delete("a"));
        draft.op(2, 0, restore(refused));
        let kept = draft.op(3, 0, delete("b"));
        draft.op(4, 0, restore(kept));
        draft.strike(refused);
        let mut left_out = LeftOut::default();
        let events = draft.finish(&mut left_out).unwrap();
        assert_eq!(
            (events.len(), left_out.to_string().as_str()),
            (2, "1 restores of what is not in the session")
        );
    }

    #[test]
    fn a_session_of_more_than_a_day_is_refused() {
        let mut draft = Draft::default();
        draft.leave(MAX_DURATION + 1, 0);
        assert_eq!(draft.finish(&mut LeftOut::default()), Err(TooMuch::Duration));
    }

    #[test]
    fn names_are_cleaned_and_cut_and_never_empty() {
        assert_eq!(name("  Ada\u{202e}\n ", 3).as_str(), "Ada");
        assert_eq!(name("\u{200b}", 3).as_str(), "Person 4");
        assert_eq!(name(&"x".repeat(99), 0).as_str().len(), 64);
        assert_eq!(name(&format!("{} y", "x".repeat(63)), 0).as_str().len(), 63);
    }
}
