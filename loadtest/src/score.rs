//! A session made ready to be played by clones: who does what, which op has to wait for which, and how large it is.

use std::collections::{BTreeSet, HashMap};

use enfilade_proto::{Coord, DisplayName, ElementId, Op, Point, Seq};
use serde_json::Value;

use crate::clock::Micros;
use crate::session::{Event, Header, Recorded, What};

/// The number of an op in its recording: 1, 2, 3 in the order of the file, the scene's included.
pub type OpNumber = u32;

/// What became of an op that others build on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nobody knows yet.
    Open,
    Accepted(Seq),
    /// It was refused, left out, or died with whoever was to submit it.
    Never,
}

/// What everybody plays. Shared by all clones.
#[derive(Debug)]
pub struct Score {
    pub header: Header,
    /// Ops that bring about what was there before.
    pub scene: Vec<SceneOp>,
    pub tracks: Vec<Track>,
    /// When the last event happens.
    pub duration: Micros,
    elements: HashMap<ElementId, ElementOrigin>,
    /// Who submitted each op, by its number less one. Nobody: the scene.
    authors: Vec<Option<u32>>,
    /// Ops whose seq others have to know.
    awaited: BTreeSet<OpNumber>,
    extent: Extent,
}

#[derive(Debug)]
pub struct SceneOp {
    pub number: OpNumber,
    pub op: Op,
}

/// What one person does.
#[derive(Debug)]
pub struct Track {
    pub name: DisplayName,
    pub steps: Vec<Step>,
}

#[derive(Debug)]
pub struct Step {
    pub at: Micros,
    pub action: Action,
}

#[derive(Debug)]
pub enum Action {
    Join,
    Leave,
    Op {
        number: OpNumber,
        op: Op,
        /// Ops of others that this one builds on: it is not sent before they were accepted.
        needs: Box<[OpNumber]>,
    },
    Signal {
        key: String,
        body: Value,
    },
}

/// An element's place among the recording's, and who added it first.
#[derive(Clone, Copy, Debug)]
pub struct ElementOrigin {
    pub index: u32,
    pub person: Option<u32>,
    pub(crate) added_by: OpNumber,
}

/// The rectangle that everything lies in, in quarters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    pub least: [i64; 2],
    pub most: [i64; 2],
}

impl Score {
    #[must_use]
    pub fn new(session: Recorded) -> Self {
        let people = session.header.people as usize;
        let mut score = Self {
            header: session.header,
            scene: Vec::new(),
            tracks: Vec::with_capacity(people),
            duration: session.events.last().map_or(0, |event| event.at),
            elements: HashMap::new(),
            authors: Vec::new(),
            awaited: BTreeSet::new(),
            extent: Extent { least: [i64::MAX; 2], most: [i64::MIN; 2] },
        };
        for person in 0..people {
            #[expect(clippy::expect_used, reason = "a word and a number")]
            let name = DisplayName::new(&format!("Person {}", person + 1)).expect("a name");
            score.tracks.push(Track { name, steps: Vec::new() });
        }
        session.events.into_iter().for_each(|event| score.take(event));
        score
    }

    #[must_use]
    pub fn people(&self) -> usize {
        self.tracks.len()
    }

    #[must_use]
    pub fn extent(&self) -> Option<Extent> {
        (self.extent.least[0] <= self.extent.most[0]).then_some(self.extent)
    }

    #[must_use]
    pub fn origin(&self, element: &ElementId) -> Option<ElementOrigin> {
        self.elements.get(element).copied()
    }

    /// Who submitted the op; nobody if it belongs to the scene or is no op of the recording.
    #[must_use]
    pub fn author(&self, number: OpNumber) -> Option<u32> {
        self.authors.get(number.checked_sub(1)? as usize).copied().flatten()
    }

    #[must_use]
    pub fn has_op(&self, number: u64) -> bool {
        (1..=self.authors.len() as u64).contains(&number)
    }

    /// Whether somebody waits for this op, or names its seq.
    #[must_use]
    pub fn is_awaited(&self, number: OpNumber) -> bool {
        self.awaited.contains(&number)
    }

    fn take(&mut self, event: Event) {
        let (person, action) = match event.what {
            What::Scene(op) => {
                let number = self.number(None, &op);
                return self.scene.push(SceneOp { number, op });
            }
            What::Join { person, name } => {
                self.tracks[person as usize].name = name;
                (person, Action::Join)
            }
            What::Leave { person } => (person, Action::Leave),
            What::Op { person, op } => {
                let needs = self.needs(person, &op);
                let number = self.number(Some(person), &op);
                (person, Action::Op { number, op, needs })
            }
            What::Signal { person, key, body } => (person, Action::Signal { key, body }),
        };
        self.tracks[person as usize].steps.push(Step { at: event.at, action });
    }

    fn number(&mut self, person: Option<u32>, op: &Op) -> OpNumber {
        self.authors.push(person);
        // A session has at most 5 million events.
        let number = self.authors.len() as OpNumber;
        if let Some(element) = op.added_element() {
            let index = self.elements.len() as u32;
            self.elements.entry(element.clone()).or_insert(ElementOrigin { index, person, added_by: number });
        }
        points(op, |point| self.extent.take(point));
        number
    }

    /// One's own ops need no waiting: they arrive in the order they were sent in. The person 0 sets the scene.
    fn needs(&mut self, person: u32, op: &Op) -> Box<[OpNumber]> {
        let mut needs = BTreeSet::new();
        for element in mentioned(op) {
            let other = self.elements.get(element).filter(|origin| origin.person.unwrap_or(0) != person);
            needs.extend(other.map(|origin| origin.added_by));
        }
        if let Op::Restore(restore) = op
            && self.has_op(restore.deleted_by.0)
        {
            needs.insert(restore.deleted_by.0 as OpNumber);
        }
        self.awaited.extend(&needs);
        needs.into_iter().collect()
    }
}

impl Extent {
    fn take(&mut self, point: Point) {
        for (axis, coord) in point.iter().enumerate() {
            let quarters = i64::from(coord.quarters());
            self.least[axis] = self.least[axis].min(quarters);
            self.most[axis] = self.most[axis].max(quarters);
        }
    }
}

/// The elements that have to be there for the op.
fn mentioned(op: &Op) -> &[ElementId] {
    match op {
        Op::Change(change) => std::slice::from_ref(&change.element),
        Op::Move(change) => change.elements.as_slice(),
        Op::Restyle(change) => change.elements.as_slice(),
        Op::Reorder(change) => change.elements.as_slice(),
        Op::Delete(which) | Op::Forget(which) => which.elements.as_slice(),
        _ => &[],
    }
}

/// Visits the points that span what the op draws.
fn points(op: &Op, mut visit: impl FnMut(Point)) {
    let bounds = |[x, y, width, height]: [Coord; 4], visit: &mut dyn FnMut(Point)| {
        visit([x, y]);
        let far = |from: Coord, by: Coord| {
            Coord::from_quarters(i64::from(from.quarters()) + i64::from(by.quarters())).unwrap_or(from)
        };
        visit([far(x, width), far(y, height)]);
    };
    match op {
        Op::AddStroke(stroke) => stroke.points.decode().into_iter().for_each(visit),
        Op::AddLine(line) | Op::AddArrow(line) => [line.from, line.to].into_iter().for_each(visit),
        Op::AddRectangle(area) | Op::AddEllipse(area) => bounds(area.bounds.get(), &mut visit),
        Op::AddText(text) => visit(text.from),
        Op::AddNote(note) => bounds(note.bounds.get(), &mut visit),
        Op::Change(change) => {
            change.points.iter().flat_map(enfilade_proto::Points::decode).for_each(&mut visit);
            change.from.into_iter().chain(change.to).for_each(&mut visit);
            if let Some(new) = change.bounds {
                bounds(new.get(), &mut visit);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::read_session;

    fn score(events: &str) -> Score {
        let header = r#"{"enfilade_session":1,"kind":"board","people":2,"duration":9}"#;
        Score::new(read_session(format!("{header}\n{events}").as_bytes()).unwrap())
    }

    const EVENTS: &str = r##"
[0,"scene",null,{"type":"add_line","data":{"element":"s","color":"#000000","width":1,"from":[-5,0],"to":[0,0]}}]
[0,"join",0,{"name":"Ada"}]
[0,"join",1,{"name":"Bob"}]
[1,"op",0,{"type":"add_stroke","data":{"element":"a","color":"#000000","width":1,"points":[[1,2],[3,40]]}}]
[1,"op",1,{"type":"delete","data":{"elements":["a","s"]}}]
[1,"op",0,{"type":"move","data":{"elements":["a"],"offsets":[[900,900]]}}]
[1,"op",1,{"type":"restore","data":{"deleted_by":3}}]
[1,"signal",1,{"key":"cursor","body":null}]"##;

    #[test]
    fn an_op_waits_for_the_ops_of_others_that_it_builds_on() {
        let score = score(EVENTS);
        let needs: Vec<(OpNumber, Vec<OpNumber>)> = score
            .tracks
            .iter()
            .flat_map(|track| &track.steps)
            .filter_map(|step| match &step.action {
                Action::Op { number, needs, .. } => Some((*number, needs.to_vec())),
                _ => None,
            })
            .collect();
        assert_eq!(needs, [(2, vec![]), (4, vec![]), (3, vec![1, 2]), (5, vec![3])]);
        assert!(score.is_awaited(2) && score.is_awaited(3) && !score.is_awaited(4));
        assert_eq!(
            (score.author(1), score.author(3), score.author(0), score.author(99)),
            (None, Some(1), None, None)
        );
    }

    #[test]
    fn the_extent_spans_what_is_drawn_and_not_where_it_is_moved() {
        let extent = score(EVENTS).extent().unwrap();
        assert_eq!(extent, Extent { least: [-20, 0], most: [12, 160] });
        assert_eq!(score("[0,\"join\",0,{\"name\":\"Ada\"}]").extent(), None);
    }

    #[test]
    fn everybody_has_a_track_with_their_name() {
        let score = score(EVENTS);
        assert_eq!((score.people(), score.scene.len(), score.duration), (2, 1, 5_000_000));
        assert_eq!(score.tracks[1].name.as_str(), "Bob");
        assert_eq!(score.tracks[1].steps.len(), 4);
    }
}
