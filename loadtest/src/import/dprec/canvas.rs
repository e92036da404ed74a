//! What the people of a recording do, as a session's events.

use std::collections::{HashMap, VecDeque};

use enfilade_proto::board::{Color, Elements, Restore, Some1, Width};
use enfilade_proto::limits::{ELEMENTS_PER_OP, WIDTH};
use enfilade_proto::{Coord, ElementId, Op, Point};

use super::DprecError;
use super::message::{Blend, Dabs, Message, Said};
use crate::clock::{MILLISECOND, Micros};
use crate::import::Imported;
use crate::import::draft::{Draft, DraftOp, LeftOut, name};
use crate::import::pen::{self, Hand, Ink, Sample};
use crate::session::MAX_PEOPLE;

/// Steps that a person can go back, as in Drawpile the most that there may be.
const UNDO_DEPTH: usize = 255;
/// A pen that is not lifted for so many points is lifted for it: a board's stroke ends there.
const LONGEST_STROKE: usize = 20_000;

pub(super) struct Canvas {
    draft: Draft,
    left_out: LeftOut,
    now: Micros,
    longest_pause: Option<Micros>,
    /// Where the board has what the canvas has at (0, 0), in quarters.
    origin: [i64; 2],
    users: HashMap<u8, User>,
    people: u32,
    strokes: u64,
}

struct User {
    person: u32,
    name: String,
    present: bool,
    hand: Hand,
    stroke: Option<Stroke>,
    acts: VecDeque<Act>,
}

/// A line being drawn.
struct Stroke {
    rgba: u32,
    blend: Blend,
    samples: Vec<Sample>,
    /// The sum of the dabs' diameters, in 256ths.
    sizes: u64,
    dabs: u64,
}

/// What one undo takes back.
#[derive(Default)]
struct Act {
    elements: Vec<ElementId>,
    /// The deletion, if it was taken back and there was something to delete.
    undone: Option<Option<DraftOp>>,
}

impl Canvas {
    pub(super) fn new(longest_pause: Option<Micros>) -> Self {
        Self {
            draft: Draft::default(),
            left_out: LeftOut::default(),
            now: 0,
            longest_pause,
            origin: [0; 2],
            users: HashMap::new(),
            people: 0,
            strokes: 0,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.draft.is_full()
    }

    pub(super) fn take(&mut self, Message { user, said }: Message) {
        match said {
            Said::Interval(ms) => {
                let pause = Micros::from(ms) * MILLISECOND;
                self.now += self.longest_pause.map_or(pause, |longest| pause.min(longest));
            }
            Said::Join { name } => self.join(user, name),
            Said::Leave => self.leave(user),
            Said::Pointer(at) => self.point(user, at),
            Said::Resize { left, top } => {
                self.origin[0] -= i64::from(left) * 4;
                self.origin[1] -= i64::from(top) * 4;
            }
            Said::UndoPoint => self.act(user),
            Said::Dabs(dabs) => self.dabs(user, &dabs),
            Said::PenUp => self.lift(user),
            Said::Undo { of, redo } => self.undo(of.unwrap_or(user), redo),
            Said::Other(what) => self.left_out.count(what, 1),
        }
    }

    fn join(&mut self, user: u8, name: String) {
        match self.users.get_mut(&user) {
            // Whoever resets a session tells again who is there.
            Some(known) if known.present => {}
            Some(known) if known.name == name => {}
            _ => {
                self.users.remove(&user);
                self.introduce(user, name);
            }
        }
        self.present(user);
    }

    fn introduce(&mut self, user: u8, name: String) {
        if self.people == MAX_PEOPLE {
            return self.left_out.count("people beyond the most that a session has", 1);
        }
        let hand = Hand::new(self.people);
        let known =
            User { person: self.people, name, present: false, hand, stroke: None, acts: VecDeque::new() };
        self.people += 1;
        self.users.insert(user, known);
    }

    /// The user, who is there from now on at the latest.
    fn present(&mut self, user: u8) -> Option<&mut User> {
        if !self.users.contains_key(&user) {
            self.introduce(user, String::new());
        }
        let known = self.users.get_mut(&user)?;
        if !std::mem::replace(&mut known.present, true) {
            self.draft.join(self.now, known.person, name(&known.name, known.person));
        }
        Some(known)
    }

    fn leave(&mut self, user: u8) {
        self.lift(user);
        if let Some(known) = self.users.get_mut(&user).filter(|known| known.present) {
            known.present = false;
            self.draft.leave(self.now, known.person);
        }
    }

    fn place(&self, at: [i64; 2]) -> Option<Point> {
        let coord = |axis: usize| Coord::from_quarters(at[axis] + self.origin[axis]);
        Some([coord(0)?, coord(1)?])
    }

    fn point(&mut self, user: u8, at: [i64; 2]) {
        let (now, place) = (self.now, self.place(at));
        if place.is_none() {
            return self.left_out.count("pointers off the board", 1);
        }
        if let Some(person) = self.present(user).map(|known| known.person) {
            pen::point(&mut self.draft, person, now, place);
        }
    }

    fn act(&mut self, user: u8) {
        if let Some(known) = self.present(user) {
            // What was undone and not redone is gone when something new is done.
            known.acts.retain(|act| act.undone.is_none());
            known.acts.push_back(Act::default());
            if known.acts.len() > UNDO_DEPTH {
                known.acts.pop_front();
            }
        }
    }

    fn dabs(&mut self, user: u8, dabs: &Dabs) {
        let (now, mut off) = (self.now, 0);
        let places: Vec<Option<Point>> = dabs.dabs.iter().map(|dab| self.place(dab.at)).collect();
        let Some(known) = self.present(user) else { return };
        let stroke = known.stroke.get_or_insert_with(|| Stroke::new(dabs));
        let recoloured = stroke.rgba != dabs.rgba;
        for (dab, place) in dabs.dabs.iter().zip(places) {
            match place {
                Some(place) => stroke.add((now, place), dab.size),
                None => off += 1,
            }
        }
        let long = stroke.samples.len() >= LONGEST_STROKE;
        self.left_out.count("dabs off the board", off);
        self.left_out.count("changes of colour within a stroke", recoloured.into());
        if long {
            self.lift(user);
        }
    }

    fn lift(&mut self, user: u8) {
        let Some(known) = self.users.get_mut(&user) else { return };
        let Some(stroke) = known.stroke.take() else { return };
        match stroke.blend {
            Blend::Eraser => return self.left_out.count("strokes of an eraser", 1),
            Blend::Special => self.left_out.count("blend modes of strokes", 1),
            Blend::Normal => {}
        }
        let Some(width) = stroke.width() else { return };
        let ink = Ink { color: Color::from_rgba(stroke.rgba), width };
        let elements = known.hand.draw(&mut self.draft, ink, &stroke.samples);
        self.strokes += 1;
        if known.acts.is_empty() {
            known.acts.push_back(Act::default());
        }
        if let Some(act) = known.acts.back_mut() {
            act.elements.extend(elements);
        }
    }

    fn undo(&mut self, user: u8, redo: bool) {
        self.lift(user);
        let now = self.now;
        let Some(known) = self.users.get_mut(&user).filter(|known| known.present) else {
            return self.left_out.count("undos of people who were not there", 1);
        };
        let acts = &mut known.acts;
        let person = known.person;
        if redo {
            // The first of those that are undone; they are the last ones.
            let Some(act) = acts.iter_mut().find(|act| act.undone.is_some()) else { return };
            if let Some(deletion) = act.undone.take().flatten() {
                self.draft.op(now, person, Op::Restore(Restore { deleted_by: deletion.as_seq() }));
            }
        } else {
            let Some(act) = acts.iter_mut().rev().find(|act| act.undone.is_none()) else { return };
            let count = act.elements.len();
            let elements = act.elements.iter().take(ELEMENTS_PER_OP).cloned().collect();
            let delete = Some1::new(elements).map(|elements| Op::Delete(Elements { elements }));
            if delete.is_none() {
                self.left_out.count("undos of what was left out", 1);
            }
            act.undone = Some(delete.map(|delete| self.draft.op(now, person, delete)));
            self.left_out
                .count("strokes that an undo did not reach", count.saturating_sub(ELEMENTS_PER_OP) as u64);
        }
    }

    pub(super) fn finish(mut self) -> Result<Imported, DprecError> {
        let mut users: Vec<u8> = self.users.keys().copied().collect();
        users.sort_unstable();
        users.into_iter().for_each(|user| self.lift(user));
        if self.strokes == 0 {
            let left_out =
                if self.left_out.is_empty() { String::new() } else { format!("; it has {}", self.left_out) };
            return Err(DprecError::Nothing(left_out));
        }
        let events = self.draft.finish(&mut self.left_out)?;
        Ok(Imported { events, left_out: self.left_out })
    }
}

impl Stroke {
    fn new(dabs: &Dabs) -> Self {
        Self { rgba: dabs.rgba, blend: dabs.blend, samples: Vec::new(), sizes: 0, dabs: 0 }
    }

    fn add(&mut self, sample: Sample, size: u32) {
        self.sizes += u64::from(size);
        self.dabs += 1;
        // Dabs lie closer than a board can tell.
        if self.samples.last().is_none_or(|last| last.1 != sample.1) {
            self.samples.push(sample);
        }
    }

    /// None without dabs.
    fn width(&self) -> Option<Width> {
        let mean = self.sizes as f64 / (self.dabs.max(1) * 256) as f64;
        #[expect(clippy::cast_possible_truncation, reason = "a width needs no more")]
        let mean = (mean as f32).clamp(*WIDTH.start(), *WIDTH.end());
        Width::new(mean).filter(|_| self.dabs > 0)
    }
}
