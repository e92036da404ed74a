//! Strokes that are being drawn right now: what arrived of them, in case their writer vanishes before the pen lifts.
//!
//! They come as signals `stroke.<n>`, in pieces that may be lost. Nothing here is trusted: what cannot be read is skipped.

use std::collections::BTreeMap;

use enfilade_proto::board::{Color, Stroke, Width};
use enfilade_proto::limits::STROKE_POINTS;
use enfilade_proto::{Coord, ElementId, Point, Points, Pressure};
use serde_json::Value;

use crate::bus::Writer;

/// Whether a signal is a piece of a stroke.
pub(in crate::kind) fn owner_hears(key: &str) -> bool {
    key.starts_with("stroke.")
}

/// At most this many people's unfinished strokes are remembered; nobody sees more pens on one board.
const WRITERS: usize = 1_024;

#[derive(Debug, Default)]
pub(super) struct LiveStrokes {
    by_writer: BTreeMap<Writer, LiveStroke>,
}

#[derive(Debug)]
struct LiveStroke {
    element: ElementId,
    color: Color,
    width: Width,
    points: Vec<Point>,
    /// As many as points, or none at all.
    pressure: Vec<u8>,
}

/// One signal's worth of a stroke.
struct Piece {
    element: ElementId,
    color: Color,
    width: Width,
    points: Vec<Point>,
    pressure: Vec<u8>,
}

impl LiveStrokes {
    /// Takes in a piece. Signals may arrive after the op that they led up to: a piece of a stroke that `is_there` is one of the past.
    pub(super) fn notice(
        &mut self,
        writer: Writer,
        key: &str,
        body: &Value,
        is_there: impl Fn(&ElementId) -> bool,
    ) {
        if !owner_hears(key) {
            return;
        }
        if body.get("cancel").and_then(Value::as_bool) == Some(true) {
            self.by_writer.remove(&writer);
        } else if let Some(piece) = Piece::read(body).filter(|piece| !is_there(&piece.element)) {
            self.add(writer, piece);
        }
    }

    fn add(&mut self, writer: Writer, piece: Piece) {
        match self.by_writer.get_mut(&writer) {
            Some(stroke) if stroke.element == piece.element => stroke.extend(piece),
            known => {
                // A new stroke begins; a writer has one pen.
                if known.is_some() || self.by_writer.len() < WRITERS {
                    self.by_writer.insert(writer, LiveStroke::begin(piece));
                }
            }
        }
    }

    /// The finished stroke has come.
    pub(super) fn finish(&mut self, element: &ElementId) {
        self.by_writer.retain(|_, stroke| stroke.element != *element);
    }

    pub(super) fn abandon(&mut self, writer: Writer) -> Option<Stroke> {
        let live = self.by_writer.remove(&writer)?;
        let pressure = (!live.pressure.is_empty()).then(|| Pressure::encode(&live.pressure));
        let stroke = Stroke {
            element: live.element,
            color: live.color,
            width: live.width,
            points: Points::encode(&live.points),
            pressure,
        };
        Some(stroke)
    }
}

impl LiveStroke {
    fn begin(piece: Piece) -> Self {
        let Piece { element, color, width, points, pressure } = piece;
        Self { element, color, width, points, pressure }
    }

    fn extend(&mut self, piece: Piece) {
        if self.points.len() + piece.points.len() > STROKE_POINTS {
            return;
        }
        // Pressure is all or nothing: a piece without it makes the stroke one without.
        if self.pressure.len() == self.points.len() && piece.pressure.len() == piece.points.len() {
            self.pressure.extend(piece.pressure);
        } else {
            self.pressure.clear();
        }
        self.points.extend(piece.points);
    }
}

impl Piece {
    fn read(body: &Value) -> Option<Self> {
        let element = ElementId::new(body.get("element")?.as_str()?).ok()?;
        let color = Color::parse(body.get("color")?.as_str()?)?;
        #[expect(clippy::cast_possible_truncation, reason = "a width is small, and checked")]
        let width = Width::new(body.get("width")?.as_f64()? as f32)?;
        let points = read_points(body.get("points")?.as_array()?)?;
        let pressure = body.get("pressure").and_then(Value::as_array);
        let pressure = pressure.map_or(Some(Vec::new()), |list| list.iter().map(read_pressure).collect())?;
        if points.is_empty() || !(pressure.is_empty() || pressure.len() == points.len()) {
            return None;
        }
        Some(Self { element, color, width, points, pressure })
    }
}

fn read_points(zigzags: &[Value]) -> Option<Vec<Point>> {
    let mut last = [0i64; 2];
    let mut points = Vec::with_capacity(zigzags.len() / 2);
    for pair in zigzags.chunks(2) {
        let [x, y] = pair else { return None };
        let mut point = [Coord::default(); 2];
        for (axis, zigzag) in [x, y].into_iter().enumerate() {
            let zigzag = zigzag.as_u64().filter(|zigzag| *zigzag <= u64::from(u32::MAX))?;
            last[axis] += (zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed();
            point[axis] = Coord::from_quarters(last[axis])?;
        }
        points.push(point);
    }
    Some(points)
}

fn read_pressure(pressure: &Value) -> Option<u8> {
    pressure.as_u64().and_then(|pressure| u8::try_from(pressure).ok())
}
