//! A hand that draws as the page does: while the pen is down a piece of the stroke goes out every 40 ms; when it lifts,
//! the stroke is submitted.

use enfilade_proto::board::{Color, Stroke, Width};
use enfilade_proto::{Coord, ElementId, Op, Point, Points};
use serde_json::{Value, json};

use super::draft::Draft;
use crate::clock::{MILLISECOND, Micros};

/// How often a pen that is down, or a cursor that moves, is told of.
pub(super) const PIECE: Micros = 40 * MILLISECOND;
/// A piece of 300 points fits a signal of 4 KiB whatever they are.
const PIECE_POINTS: usize = 300;
/// A stroke of more points is submitted as several; this many fit a frame of 64 KiB in JSON whatever they are.
pub(super) const STROKE_POINTS: usize = 2_000;

/// Where the pen was when.
pub(super) type Sample = (Micros, Point);

/// One person's hand. Its elements are called `p<person>s<number>`.
#[derive(Debug)]
pub(super) struct Hand {
    person: u32,
    strokes: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Ink {
    pub(super) color: Color,
    pub(super) width: Width,
}

impl Hand {
    pub(super) fn new(person: u32) -> Self {
        Self { person, strokes: 0 }
    }

    /// Draws a line; answers with its elements. A long one becomes several that touch.
    pub(super) fn draw(&mut self, draft: &mut Draft, ink: Ink, samples: &[Sample]) -> Vec<ElementId> {
        let mut elements = Vec::new();
        let mut rest = samples;
        // The ends of neighbouring parts are the same point, so that the line stays whole.
        while rest.len() > STROKE_POINTS {
            elements.extend(self.stroke(draft, ink, &rest[..STROKE_POINTS]));
            rest = &rest[STROKE_POINTS - 1..];
        }
        elements.extend(self.stroke(draft, ink, rest));
        elements
    }

    fn stroke(&mut self, draft: &mut Draft, ink: Ink, samples: &[Sample]) -> Option<ElementId> {
        let (&(mut due, _), &(lifted, _)) = samples.first().zip(samples.last())?;
        let name = format!("p{}s{}", self.person, self.strokes);
        self.strokes += 1;
        let mut pieces = Pieces { name: &name, ink, sent: 0, count: 0 };
        // The first point at once, then what came in 40 ms.
        for (i, &(at, _)) in samples.iter().enumerate() {
            while at > due || i - pieces.sent == PIECE_POINTS {
                pieces.tell(draft, self.person, &samples[..i], due.min(at));
                due = due.max(at.saturating_sub(PIECE)) + PIECE;
            }
        }
        let points: Vec<Point> = samples.iter().map(|&(_, point)| point).collect();
        #[expect(clippy::expect_used, reason = "p, s and two numbers")]
        let element = ElementId::new(&name).expect("an element id");
        let op = Op::AddStroke(Stroke {
            element: element.clone(),
            color: ink.color,
            width: ink.width,
            points: Points::encode(&points),
            pressure: None,
        });
        draft.op(lifted, self.person, op);
        Some(element)
    }
}

/// Where the person points; nowhere: off the board.
pub(super) fn point(draft: &mut Draft, person: u32, at: Micros, point: Option<Point>) {
    let body = point.map_or(Value::Null, |[x, y]| json!({ "x": x, "y": y }));
    draft.signal(at, person, "cursor".into(), body);
}

struct Pieces<'a> {
    name: &'a str,
    ink: Ink,
    /// Points of the stroke that were sent.
    sent: usize,
    count: usize,
}

impl Pieces<'_> {
    /// What was drawn since the last piece, if anything.
    fn tell(&mut self, draft: &mut Draft, person: u32, drawn: &[Sample], at: Micros) {
        let new = &drawn[self.sent..];
        if new.is_empty() {
            return;
        }
        let body = json!({
            "element": self.name, "color": self.ink.color, "width": self.ink.width,
            "at": self.sent, "points": flat(new),
        });
        draft.signal(at, person, format!("stroke.{}", self.count), body);
        self.sent = drawn.len();
        self.count += 1;
    }
}

/// Points as pieces of strokes carry them: zigzag codes of differences in quarters.
fn flat(samples: &[Sample]) -> Vec<u32> {
    let mut last = [0i32; 2];
    let mut codes = Vec::with_capacity(samples.len() * 2);
    for (_, point) in samples {
        for (axis, last) in last.iter_mut().enumerate() {
            let difference = Coord::quarters(point[axis]) - *last;
            *last = point[axis].quarters();
            codes.push(((difference << 1) ^ (difference >> 31)).cast_unsigned());
        }
    }
    codes
}
