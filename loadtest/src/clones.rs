//! A clone of a person of a recording: whom it plays, in which room, where and when, and the ids of what it draws.

use std::sync::Arc;

use enfilade_proto::board::{Bounds, Change, Elements, Move, Reorder, Restore, Restyle, Some1, Z};
use enfilade_proto::{Coord, DisplayName, ElementId, Op, Point, Points};
use serde_json::Value;

use crate::clock::Micros;
use crate::ensemble::{Ensemble, Lap};
use crate::score::{Fate, OpNumber, Score, Step};

/// What one clone plays.
#[derive(Clone, Debug)]
pub struct Part {
    pub(crate) ensemble: Arc<Ensemble>,
    pub(crate) lap: Lap,
    pub room: usize,
    pub(crate) person: usize,
    name: DisplayName,
    jitter: Micros,
    /// When the clone comes in, after the start; none: before.
    pub(crate) arrives: Option<Micros>,
}

impl Part {
    pub(crate) fn new(
        ensemble: &Arc<Ensemble>,
        room: usize,
        person: usize,
        arrives: Option<Micros>,
        begins: Micros,
    ) -> Self {
        let lap = ensemble.lap(0, begins);
        let name = &lap.score.tracks[person].name;
        let numbered = format!("{name} {}", ensemble.number + 1);
        let numbered = DisplayName::new(&numbered).ok().filter(|_| ensemble.number > 0);
        let name = numbered.unwrap_or_else(|| name.clone());
        Self { ensemble: ensemble.clone(), lap, room, person, name, jitter: 0, arrives }
    }

    /// The same, so much later.
    pub(crate) fn late(self, jitter: Micros) -> Self {
        Self { jitter, ..self }
    }

    /// What it plays when this is over, if there is time for more.
    #[must_use]
    pub fn next(&self) -> Option<Self> {
        Some(Self { lap: self.ensemble.after(&self.lap)?, ..self.clone() })
    }

    #[must_use]
    pub fn score(&self) -> &Arc<Score> {
        &self.lap.score
    }

    #[must_use]
    pub fn generation(&self) -> u32 {
        self.lap.generation
    }

    /// What the person does. A recording that comes later may have fewer people.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        self.lap.score.tracks.get(self.person).map_or(&[], |track| &track.steps)
    }

    /// When, after the start, the clone does what the person did `at`.
    #[must_use]
    pub fn planned(&self, at: Micros) -> Micros {
        self.lap.begins + self.jitter + (at as f64 / self.ensemble.speed) as Micros
    }

    /// Whether that is still played.
    #[must_use]
    pub fn is_in_time(&self, planned: Micros) -> bool {
        planned < self.ensemble.until().saturating_add(self.jitter)
    }

    /// When the clone has nothing more to do.
    #[must_use]
    pub fn ends(&self) -> Micros {
        self.ensemble.ends(&self.lap) + self.jitter
    }

    #[must_use]
    pub fn name(&self) -> &DisplayName {
        &self.name
    }

    /// Whether the clone brings about the scene for its ensemble.
    #[must_use]
    pub fn sets_the_scene(&self) -> bool {
        self.person == 0
    }

    /// Whether the op is submitted at all in this generation.
    #[must_use]
    pub fn plays(&self, number: OpNumber) -> bool {
        self.lap.score.author(number).is_none_or(|person| person < self.ensemble.size)
    }

    /// The recorded op as this clone submits it; none if nothing of it is left. `fate_of` knows what became of this
    /// generation's ops.
    #[must_use]
    pub fn op(&self, op: &Op, fate_of: impl Fn(OpNumber) -> Fate) -> Option<Op> {
        let name = |id: &ElementId| self.there(id, &fate_of);
        let mut op = op.clone();
        match &mut op {
            Op::AddStroke(stroke) => {
                stroke.element = self.element(&stroke.element)?;
                stroke.points = self.points(&stroke.points);
            }
            Op::AddLine(line) | Op::AddArrow(line) => {
                line.element = self.element(&line.element)?;
                (line.from, line.to) = (self.point(line.from), self.point(line.to));
            }
            Op::AddRectangle(area) | Op::AddEllipse(area) => {
                area.element = self.element(&area.element)?;
                area.bounds = self.bounds(area.bounds);
            }
            Op::AddText(text) => {
                text.element = self.element(&text.element)?;
                text.from = self.point(text.from);
            }
            Op::AddNote(note) => {
                note.element = self.element(&note.element)?;
                note.bounds = self.bounds(note.bounds);
            }
            Op::Change(change) => *change = self.change(name(&change.element)?, change),
            Op::Move(Move { elements, offsets }) => {
                (*elements, *offsets) = pairs(elements, offsets, name)?;
            }
            Op::Restyle(Restyle { elements, .. }) | Op::Delete(Elements { elements }) => {
                *elements = Some1::new(elements.as_slice().iter().filter_map(name).collect())?;
            }
            Op::Reorder(Reorder { elements, z }) => {
                let pairs: (_, Some1<Z>) = pairs(elements, z, name)?;
                (*elements, *z) = pairs;
            }
            Op::Restore(Restore { deleted_by }) => {
                let number = deleted_by.0.try_into().ok().filter(|number| self.plays(*number))?;
                let Fate::Accepted(seq) = fate_of(number) else { return None };
                *deleted_by = seq;
            }
            Op::Clear(_) => {}
            Op::Forget(_) => return None,
        }
        Some(op)
    }

    /// The body of a board's signal as this clone sends it. What is not a board's is passed on as it is.
    #[must_use]
    pub fn signal(&self, key: &str, body: &Value) -> Value {
        let mut body = body.clone();
        if key == "cursor" {
            for (axis, name) in ["x", "y"].into_iter().enumerate() {
                if let Some(coord) = body.get_mut(name) {
                    self.coordinate(axis, coord);
                }
            }
        } else if key.starts_with("stroke.") {
            self.piece(&mut body);
        }
        body
    }

    /// The op that the signal's stroke will be.
    #[must_use]
    pub fn stroke_of(&self, key: &str, body: &Value) -> Option<OpNumber> {
        let element = body.get("element").filter(|_| key.starts_with("stroke."))?.as_str()?;
        Some(self.lap.score.origin(&ElementId::new(element).ok()?)?.added_by)
    }

    /// Elements have the names of the recording's, numbered, with the run and the generation in front.
    fn element(&self, id: &ElementId) -> Option<ElementId> {
        let origin = self.lap.score.origin(id)?;
        origin.person.is_none_or(|person| person < self.ensemble.size).then_some(())?;
        ElementId::new(&format!("{}-{}-{}", self.ensemble.nonce, self.lap.generation, origin.index)).ok()
    }

    /// The same of an element that was added; none if it never will be.
    fn there(&self, id: &ElementId, fate_of: impl Fn(OpNumber) -> Fate) -> Option<ElementId> {
        let added_by = self.lap.score.origin(id)?.added_by;
        self.element(id).filter(|_| fate_of(added_by) != Fate::Never)
    }

    fn change(&self, element: ElementId, change: &Change) -> Change {
        Change {
            element,
            points: change.points.as_ref().map(|points| self.points(points)),
            pressure: change.pressure.clone(),
            from: change.from.map(|point| self.point(point)),
            to: change.to.map(|point| self.point(point)),
            bounds: change.bounds.map(|bounds| self.bounds(bounds)),
            text: change.text.clone(),
        }
    }

    fn points(&self, points: &Points) -> Points {
        if self.lap.offset == [0; 2] {
            return points.clone();
        }
        let moved: Vec<Point> = points.decode().into_iter().map(|point| self.point(point)).collect();
        Points::encode(&moved)
    }

    fn point(&self, point: Point) -> Point {
        [self.coord(0, point[0]), self.coord(1, point[1])]
    }

    fn bounds(&self, bounds: Bounds) -> Bounds {
        let [x, y, width, height] = bounds.get();
        Bounds::new([self.coord(0, x), self.coord(1, y), width, height]).unwrap_or(bounds)
    }

    /// The places were chosen so that what is on the board stays on it.
    fn coord(&self, axis: usize, coord: Coord) -> Coord {
        Coord::from_quarters(i64::from(coord.quarters()) + self.lap.offset[axis]).unwrap_or(coord)
    }

    fn coordinate(&self, axis: usize, value: &mut Value) {
        if let Some(coord) = value.as_f64().and_then(Coord::from_units) {
            *value = serde_json::json!(self.coord(axis, coord));
        }
    }

    /// Only the first point of a piece says where it is; the others are differences.
    fn piece(&self, body: &mut Value) {
        let Some(fields) = body.as_object_mut() else { return };
        let element = fields.get("element").and_then(Value::as_str).and_then(|id| ElementId::new(id).ok());
        if let Some(element) = element.and_then(|id| self.element(&id)) {
            fields.insert("element".into(), element.as_str().into());
        }
        let Some(points) = fields.get_mut("points").and_then(Value::as_array_mut) else { return };
        for (axis, code) in points.iter_mut().take(2).enumerate() {
            if let Some(zigzag) = code.as_u64() {
                let quarters = (zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed();
                let moved = quarters.saturating_add(self.lap.offset[axis]);
                *code = ((moved << 1) ^ (moved >> 63)).cast_unsigned().into();
            }
        }
    }
}

fn pairs<T: Clone>(
    elements: &Some1<ElementId>,
    values: &Some1<T>,
    name: impl Fn(&ElementId) -> Option<ElementId>,
) -> Option<(Some1<ElementId>, Some1<T>)> {
    let pairs = elements.as_slice().iter().zip(values.as_slice());
    let (elements, values) = pairs.filter_map(|(id, value)| Some((name(id)?, value.clone()))).unzip();
    Some((Some1::new(elements)?, Some1::new(values)?))
}

#[cfg(test)]
mod tests {
    use enfilade_proto::Seq;
    use serde_json::json;

    use super::*;
    use crate::crowd::Crowd;
    use crate::ensemble::{Layout, cast};
    use crate::mix::Mix;
    use crate::score::Action;
    use crate::session::read_session;

    const EVENTS: &str = r##"{"enfilade_session":1,"kind":"board","people":2,"duration":9}
[0,"scene",null,{"type":"add_rectangle","data":{"element":"s","color":"#000000","width":1,"bounds":[0,0,10,20]}}]
[0,"join",0,{"name":"Ada"}]
[0,"join",1,{"name":"Bob"}]
[1,"op",1,{"type":"add_stroke","data":{"element":"b","color":"#000000","width":1,"points":[[1,2],[3,4]]}}]
[1,"op",0,{"type":"move","data":{"elements":["b","s"],"offsets":[[9,9],[8,8]]}}]
[1,"op",0,{"type":"delete","data":{"elements":["b"]}}]
[1,"op",1,{"type":"restore","data":{"deleted_by":4}}]"##;

    fn parts(clones: usize, rooms: usize) -> Vec<Part> {
        cast(&mix(EVENTS), &layout(clones, rooms))
    }

    fn mix(text: &str) -> Arc<Mix> {
        Arc::new(read_session(text.as_bytes()).unwrap().into())
    }

    fn layout(clones: usize, rooms: usize) -> Layout {
        Layout {
            clones,
            rooms,
            speed: 2.0,
            jitter: 100,
            seed: 1,
            nonce: "run".into(),
            crowd: Crowd::default(),
        }
    }

    fn ops(part: &Part) -> Vec<Option<Value>> {
        part.steps()
            .iter()
            .filter_map(|step| match &step.action {
                Action::Op { op, .. } => Some(
                    part.op(op, |number| Fate::Accepted(Seq(100 + u64::from(number))))
                        .map(|op| json!(op)["data"].clone()),
                ),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn a_generation_is_the_ensemble_once_more_in_another_place() {
        let parts = parts(4, 1);
        let places: Vec<_> =
            parts.iter().map(|part| (part.person, part.generation(), part.lap.offset)).collect();
        assert_eq!(places, [(0, 0, [0, 0]), (1, 0, [0, 0]), (0, 1, [840, 0]), (1, 1, [840, 0])]);
        assert_eq!(parts[3].name().as_str(), "Bob 2");
        let stroke = ops(&parts[3])[0].clone().unwrap();
        assert_eq!(stroke["element"], "run-1-1");
        assert_eq!(stroke["points"], json!([[211, 2], [213, 4]]));
        assert_eq!(ops(&parts[3])[1], Some(json!({"deleted_by": 104})));
        assert_eq!(ops(&parts[0])[0].as_ref().unwrap()["offsets"], json!([[9, 9], [8, 8]]));
    }

    #[test]
    fn what_builds_on_the_absent_is_left_out() {
        let three = parts(3, 1);
        assert_eq!(
            ops(&three[2]),
            [Some(json!({"elements": ["run-1-0"], "offsets": [[8, 8]]})), None],
            "Bob of the second generation is absent"
        );
        assert!(!three[2].plays(2) && three[2].plays(3) && three[2].plays(1));
        assert_eq!(ops(&parts(1, 1)[0])[1], None);
    }

    #[test]
    fn rooms_get_clones_in_turn_and_each_counts_its_own() {
        let parts = parts(7, 3);
        let rooms: Vec<_> = parts
            .iter()
            .map(|part| (part.room, part.person, part.generation(), part.ensemble.size))
            .collect();
        assert_eq!(
            rooms,
            [
                (0, 0, 0, 2),
                (1, 0, 0, 2),
                (2, 0, 0, 2),
                (0, 1, 0, 2),
                (1, 1, 0, 2),
                (2, 1, 0, 2),
                (0, 0, 1, 1)
            ]
        );
    }

    #[test]
    fn time_is_scaled_and_jitters_by_seed() {
        let jitters = |seed| -> Vec<Micros> {
            cast(&mix(EVENTS), &Layout { seed, ..layout(20, 1) }).iter().map(|part| part.planned(0)).collect()
        };
        assert_eq!(jitters(1), jitters(1));
        assert_ne!(jitters(1), jitters(2));
        assert!(jitters(1).iter().all(|&jitter| jitter <= 100));
        let part = &parts(1, 1)[0];
        assert_eq!(part.planned(3_000_000) - part.planned(0), 1_500_000);
    }

    #[test]
    fn signals_move_with_their_clone() {
        let part = &parts(4, 1)[3];
        assert_eq!(part.signal("cursor", &json!({"x": 1.5, "y": 2})), json!({"x": 211.5, "y": 2}));
        assert_eq!(part.signal("cursor", &Value::Null), Value::Null);
        let piece = json!({"element": "b", "at": 0, "points": [8, 16, 3, 4], "color": "#000000"});
        let moved = part.signal("stroke.0", &piece);
        assert_eq!(moved["element"], "run-1-1");
        assert_eq!(moved["points"], json!([8 + 2 * 840, 16, 3, 4]));
        let other = json!({"x": "what", "y": [1]});
        assert_eq!(part.signal("cursor", &other), other);
        assert_eq!(part.signal("wave", &json!({"x": 1})), json!({"x": 1}));
    }

    #[test]
    fn generations_never_leave_the_board() {
        let text = EVENTS.replace("[1,2],[3,4]", "[-900000,2],[900000,4]");
        assert!(cast(&mix(&text), &layout(40, 1)).iter().all(|part| part.lap.offset[0] == 0));
    }
}
