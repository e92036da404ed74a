//! Clones of the people of a session: who plays whom, in which room, where and when, and the ids of what they draw.
//!
//! The people of a room's first generation are those of the recording; every further generation is the whole ensemble
//! once more, beside the others on the board. The last one may be short of people: then what builds on the absent
//! ones is left out.

use enfilade_proto::board::{Bounds, Change, Elements, Move, Reorder, Restore, Restyle, Some1, Z};
use enfilade_proto::limits::COORDINATE;
use enfilade_proto::{Coord, DisplayName, ElementId, Op, Point, Points, Seq};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use crate::clock::Micros;
use crate::score::{OpNumber, Score};

/// How the clones are laid out.
#[derive(Clone, Debug)]
pub struct Layout {
    pub clones: usize,
    pub rooms: usize,
    pub speed: f64,
    /// Clones start up to this much late, so that they do not move in step.
    pub jitter: Micros,
    pub seed: u64,
    /// Tells the elements of this run from those of others.
    pub nonce: String,
}

/// What one clone plays.
#[derive(Clone, Debug)]
pub struct Part {
    pub room: usize,
    pub person: usize,
    pub generation: u32,
    /// How many people of this generation are there.
    present: u32,
    offset: [i64; 2],
    jitter: Micros,
    speed: f64,
    nonce: String,
}

/// Lays the clones out over the rooms.
#[must_use]
pub fn cast(score: &Score, layout: &Layout) -> Vec<Part> {
    let mut rng = StdRng::seed_from_u64(layout.seed);
    let people = score.people();
    let per_room = layout.clones.div_ceil(layout.rooms);
    let places = Places::new(score, per_room.div_ceil(people));
    let part = |clone: usize| {
        let (room, place) = (clone % layout.rooms, clone / layout.rooms);
        let in_room = (layout.clones - room).div_ceil(layout.rooms);
        let generation = place / people;
        Part {
            room,
            person: place % people,
            generation: generation as u32,
            present: (in_room - generation * people).min(people) as u32,
            offset: places.of(generation),
            jitter: rng.random_range(0..=layout.jitter),
            speed: layout.speed,
            nonce: layout.nonce.clone(),
        }
    };
    (0..layout.clones).map(part).collect()
}

/// A square of generations.
struct Places {
    columns: usize,
    step: [i64; 2],
    /// Beyond this a generation lies where the first one does, rather than off the board.
    room_for: [i64; 2],
}

impl Places {
    const GAP: i64 = 200 * 4;

    fn new(score: &Score, generations: usize) -> Self {
        let columns = (generations as f64).sqrt().ceil().max(1.0) as usize;
        let (step, room_for) = score.extent().map_or(([0; 2], [0; 2]), |extent| {
            let step = [0, 1].map(|axis| extent.most[axis] - extent.least[axis] + Self::GAP);
            (step, extent.most.map(|most| (COORDINATE * 4.0) as i64 - most))
        });
        Self { columns, step, room_for }
    }

    fn of(&self, generation: usize) -> [i64; 2] {
        let cell = [generation % self.columns, generation / self.columns];
        let offset = [0, 1].map(|axis| self.step[axis].saturating_mul(cell[axis] as i64));
        if offset[0] <= self.room_for[0] && offset[1] <= self.room_for[1] { offset } else { [0; 2] }
    }
}

impl Part {
    /// When, after the start, the clone does what the person did `at`.
    #[must_use]
    pub fn planned(&self, at: Micros) -> Micros {
        self.jitter + (at as f64 / self.speed) as Micros
    }

    #[must_use]
    pub fn name(&self, score: &Score) -> DisplayName {
        let name = &score.tracks[self.person].name;
        let numbered = format!("{name} {}", self.generation + 1);
        if self.generation == 0 {
            name.clone()
        } else {
            DisplayName::new(&numbered).unwrap_or_else(|_| name.clone())
        }
    }

    /// Whether the clone brings about the scene for its generation.
    #[must_use]
    pub fn sets_the_scene(&self) -> bool {
        self.person == 0
    }

    /// Whether the op is submitted at all in this generation.
    #[must_use]
    pub fn plays(&self, score: &Score, number: OpNumber) -> bool {
        score.author(number).is_none_or(|person| person < self.present)
    }

    /// The recorded op as this clone submits it; none if nothing of it is left. `seq_of` knows the seqs of this
    /// generation's ops.
    #[must_use]
    pub fn op(&self, score: &Score, op: &Op, seq_of: impl Fn(OpNumber) -> Option<Seq>) -> Option<Op> {
        let name = |id: &ElementId| self.element(score, id);
        let mut op = op.clone();
        match &mut op {
            Op::AddStroke(stroke) => {
                stroke.element = name(&stroke.element)?;
                stroke.points = self.points(&stroke.points);
            }
            Op::AddLine(line) | Op::AddArrow(line) => {
                line.element = name(&line.element)?;
                (line.from, line.to) = (self.point(line.from), self.point(line.to));
            }
            Op::AddRectangle(area) | Op::AddEllipse(area) => {
                area.element = name(&area.element)?;
                area.bounds = self.bounds(area.bounds);
            }
            Op::AddText(text) => {
                text.element = name(&text.element)?;
                text.from = self.point(text.from);
            }
            Op::AddNote(note) => {
                note.element = name(&note.element)?;
                note.bounds = self.bounds(note.bounds);
            }
            Op::Change(change) => *change = self.change(score, change)?,
            Op::Move(Move { elements, offsets }) => {
                (*elements, *offsets) = self.pairs(score, elements, offsets)?;
            }
            Op::Restyle(Restyle { elements, .. }) | Op::Delete(Elements { elements }) => {
                *elements = self.list(score, elements)?;
            }
            Op::Reorder(Reorder { elements, z }) => {
                let pairs: (_, Some1<Z>) = self.pairs(score, elements, z)?;
                (*elements, *z) = pairs;
            }
            Op::Restore(Restore { deleted_by }) => {
                let number = deleted_by.0.try_into().ok().filter(|number| self.plays(score, *number))?;
                *deleted_by = seq_of(number)?;
            }
            Op::Clear(_) => {}
            Op::Forget(_) => return None,
        }
        Some(op)
    }

    /// The body of a board's signal as this clone sends it. What is not a board's is passed on as it is.
    #[must_use]
    pub fn signal(&self, score: &Score, key: &str, body: &Value) -> Value {
        let mut body = body.clone();
        if key == "cursor" {
            for (axis, name) in ["x", "y"].into_iter().enumerate() {
                if let Some(coord) = body.get_mut(name) {
                    self.coordinate(axis, coord);
                }
            }
        } else if key.starts_with("stroke.") {
            self.piece(score, &mut body);
        }
        body
    }

    /// Elements have the names of the recording's, numbered, with the run and the generation in front.
    fn element(&self, score: &Score, id: &ElementId) -> Option<ElementId> {
        let origin =
            score.origin(id).filter(|origin| origin.person.is_none_or(|person| person < self.present))?;
        ElementId::new(&format!("{}-{}-{}", self.nonce, self.generation, origin.index)).ok()
    }

    fn list(&self, score: &Score, elements: &Some1<ElementId>) -> Option<Some1<ElementId>> {
        Some1::new(elements.as_slice().iter().filter_map(|id| self.element(score, id)).collect())
    }

    fn pairs<T: Clone>(
        &self,
        score: &Score,
        elements: &Some1<ElementId>,
        values: &Some1<T>,
    ) -> Option<(Some1<ElementId>, Some1<T>)> {
        let pairs = elements.as_slice().iter().zip(values.as_slice());
        let (elements, values) =
            pairs.filter_map(|(id, value)| Some((self.element(score, id)?, value.clone()))).unzip();
        Some((Some1::new(elements)?, Some1::new(values)?))
    }

    fn change(&self, score: &Score, change: &Change) -> Option<Change> {
        Some(Change {
            element: self.element(score, &change.element)?,
            points: change.points.as_ref().map(|points| self.points(points)),
            pressure: change.pressure.clone(),
            from: change.from.map(|point| self.point(point)),
            to: change.to.map(|point| self.point(point)),
            bounds: change.bounds.map(|bounds| self.bounds(bounds)),
            text: change.text.clone(),
        })
    }

    fn points(&self, points: &Points) -> Points {
        if self.offset == [0; 2] {
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
        Coord::from_quarters(i64::from(coord.quarters()) + self.offset[axis]).unwrap_or(coord)
    }

    fn coordinate(&self, axis: usize, value: &mut Value) {
        if let Some(coord) = value.as_f64().and_then(Coord::from_units) {
            *value = serde_json::json!(self.coord(axis, coord));
        }
    }

    /// Only the first point of a piece says where it is; the others are differences.
    fn piece(&self, score: &Score, body: &mut Value) {
        let Some(fields) = body.as_object_mut() else { return };
        let element = fields.get("element").and_then(Value::as_str).and_then(|id| ElementId::new(id).ok());
        if let Some(element) = element.and_then(|id| self.element(score, &id)) {
            fields.insert("element".into(), element.as_str().into());
        }
        let Some(points) = fields.get_mut("points").and_then(Value::as_array_mut) else { return };
        for (axis, code) in points.iter_mut().take(2).enumerate() {
            if let Some(zigzag) = code.as_u64() {
                let quarters = (zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed();
                let moved = quarters.saturating_add(self.offset[axis]);
                *code = ((moved << 1) ^ (moved >> 63)).cast_unsigned().into();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
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

    fn score() -> Score {
        Score::new(read_session(EVENTS.as_bytes()).unwrap())
    }

    fn layout(clones: usize, rooms: usize) -> Layout {
        Layout { clones, rooms, speed: 2.0, jitter: 100, seed: 1, nonce: "run".into() }
    }

    fn ops(score: &Score, part: &Part) -> Vec<Option<Value>> {
        let steps = &score.tracks[part.person].steps;
        steps
            .iter()
            .filter_map(|step| match &step.action {
                Action::Op { op, .. } => Some(
                    part.op(score, op, |number| Some(Seq(100 + u64::from(number))))
                        .map(|op| json!(op)["data"].clone()),
                ),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn a_generation_is_the_ensemble_once_more_in_another_place() {
        let score = score();
        let parts = cast(&score, &layout(4, 1));
        let places: Vec<_> = parts.iter().map(|part| (part.person, part.generation, part.offset)).collect();
        assert_eq!(places, [(0, 0, [0, 0]), (1, 0, [0, 0]), (0, 1, [840, 0]), (1, 1, [840, 0])]);
        assert_eq!(parts[3].name(&score).as_str(), "Bob 2");
        let stroke = ops(&score, &parts[3])[0].clone().unwrap();
        assert_eq!(stroke["element"], "run-1-1");
        assert_eq!(stroke["points"], json!([[211, 2], [213, 4]]));
        assert_eq!(ops(&score, &parts[3])[1], Some(json!({"deleted_by": 104})));
        assert_eq!(ops(&score, &parts[0])[0].as_ref().unwrap()["offsets"], json!([[9, 9], [8, 8]]));
    }

    #[test]
    fn what_builds_on_the_absent_is_left_out() {
        let score = score();
        let parts = cast(&score, &layout(3, 1));
        assert_eq!(
            ops(&score, &parts[2]),
            [Some(json!({"elements": ["run-1-0"], "offsets": [[8, 8]]})), None],
            "Bob of the second generation is absent"
        );
        assert!(!parts[2].plays(&score, 2) && parts[2].plays(&score, 3) && parts[2].plays(&score, 1));
        assert_eq!(ops(&score, &cast(&score, &layout(1, 1))[0])[1], None);
    }

    #[test]
    fn rooms_get_clones_in_turn_and_each_counts_its_own() {
        let score = score();
        let parts = cast(&score, &layout(7, 3));
        let rooms: Vec<_> =
            parts.iter().map(|part| (part.room, part.person, part.generation, part.present)).collect();
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
        let score = score();
        let jitters = |seed| -> Vec<Micros> {
            cast(&score, &Layout { seed, ..layout(20, 1) }).iter().map(|part| part.planned(0)).collect()
        };
        assert_eq!(jitters(1), jitters(1));
        assert_ne!(jitters(1), jitters(2));
        assert!(jitters(1).iter().all(|&jitter| jitter <= 100));
        let part = &cast(&score, &layout(1, 1))[0];
        assert_eq!(part.planned(3_000_000) - part.planned(0), 1_500_000);
    }

    #[test]
    fn signals_move_with_their_clone() {
        let score = score();
        let part = &cast(&score, &layout(4, 1))[3];
        assert_eq!(part.signal(&score, "cursor", &json!({"x": 1.5, "y": 2})), json!({"x": 211.5, "y": 2}));
        assert_eq!(part.signal(&score, "cursor", &Value::Null), Value::Null);
        let piece = json!({"element": "b", "at": 0, "points": [8, 16, 3, 4], "color": "#000000"});
        let moved = part.signal(&score, "stroke.0", &piece);
        assert_eq!(moved["element"], "run-1-1");
        assert_eq!(moved["points"], json!([8 + 2 * 840, 16, 3, 4]));
        let other = json!({"x": "what", "y": [1]});
        assert_eq!(part.signal(&score, "cursor", &other), other);
        assert_eq!(part.signal(&score, "wave", &json!({"x": 1})), json!({"x": 1}));
    }

    #[test]
    fn generations_never_leave_the_board() {
        let text = EVENTS.replace("[1,2],[3,4]", "[-900000,2],[900000,4]");
        let score = Score::new(read_session(text.as_bytes()).unwrap());
        assert!(cast(&score, &layout(40, 1)).iter().all(|part| part.offset[0] == 0));
    }
}
