//! What a message of the swarm bears, to be known again wherever it arrives: its number, when it should have been sent,
//! and when it was. Padded to the size that was asked for.

use enfilade_proto::board::{Change, Color, Text, Width, Writing};
use enfilade_proto::{Coord, ElementId, Op};
use serde_json::{Value, json};

use crate::clock::Micros;

/// Who sent a message, among the speakers of its room, and where it stands among theirs: 1, 2, 3, …
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub number: u32,
    pub planned: Micros,
    pub sent: Micros,
}

/// What MessagePack takes of a signal's body beside the padding.
const BODY_BYTES: usize = 1 + 5 + 9 + 9 + 2;

impl Mark {
    /// As the body of a signal of about `size` bytes.
    #[must_use]
    pub fn body(&self, size: usize) -> Value {
        json!([self.number, self.planned, self.sent, ".".repeat(size.saturating_sub(BODY_BYTES))])
    }

    #[must_use]
    pub fn of_body(body: &Value) -> Option<Self> {
        let [number, planned, sent, _] = body.as_array()?.as_slice() else { return None };
        let number = number.as_u64()?.try_into().ok()?;
        Some(Self { number, planned: planned.as_u64()?, sent: sent.as_u64()? })
    }

    /// A key that the next signals of the same speaker do not have: none takes the place of another.
    #[must_use]
    pub fn key(&self) -> String {
        format!("k{}", self.number % 64)
    }

    /// As an op of about `size` bytes: the first writes a text, the others change it, so that the board stays small.
    ///
    /// None only if the protocol's bounds are narrower than what the swarm writes.
    #[must_use]
    pub fn op(&self, element: &str, size: usize) -> Option<Op> {
        let Self { number, planned, sent } = self;
        let mut text = format!("{number} {planned} {sent} ");
        text.push_str(&".".repeat(size.saturating_sub(text.len())));
        let text = Text::new(&text).ok()?;
        let element = ElementId::new(element).ok()?;
        if *number > 1 {
            let text = Some(text);
            let (points, pressure, from, to, bounds) = (None, None, None, None, None);
            return Some(Op::Change(Change { element, points, pressure, from, to, bounds, text }));
        }
        let from = [Coord::from_units(0.0)?, Coord::from_units(0.0)?];
        let color = Color::parse("#1a1a1a")?;
        Some(Op::AddText(Writing { element, color, size: Width::new(12.0)?, from, text }))
    }

    #[must_use]
    pub fn of_op(op: &Op) -> Option<Self> {
        let text = match op {
            Op::AddText(writing) => &writing.text,
            Op::Change(change) => change.text.as_ref()?,
            _ => return None,
        };
        let mut words = text.as_str().split(' ');
        let number = words.next()?.parse().ok()?;
        Some(Self { number, planned: words.next()?.parse().ok()?, sent: words.next()?.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use enfilade_proto::Codec;

    use super::*;

    const MARK: Mark = Mark { number: 70_000, planned: 24_000_000_123, sent: 24_000_000_456 };

    #[test]
    fn a_mark_survives_its_body_and_its_op() {
        assert_eq!(Mark::of_body(&MARK.body(100)), Some(MARK));
        for mark in [MARK, Mark { number: 1, ..MARK }] {
            assert_eq!(Mark::of_op(&mark.op("s1", 100).unwrap()), Some(mark));
        }
    }

    #[test]
    fn a_body_has_the_size_that_was_asked_for() {
        for size in [64, 100, 1_000] {
            let bytes = Codec::MessagePack.encode_value(&MARK.body(size)).len();
            assert!(bytes.abs_diff(size) <= 3, "{bytes} for {size}");
        }
    }

    #[test]
    fn what_others_say_bears_no_mark() {
        for body in
            [json!(null), json!({"x": 1}), json!([1, 2, 3]), json!(["1", 2, 3, ""]), json!([-1, 2, 3, ""])]
        {
            assert_eq!(Mark::of_body(&body), None, "{body}");
        }
    }
}
