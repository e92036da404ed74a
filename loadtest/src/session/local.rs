//! The ids of a room made those of a recording of it: elements are called e1, e2, e3, ops are named by their numbers in
//! the recording, and what was in the room before becomes the scene.

use std::collections::HashMap;

use enfilade_proto::board::{Area, Element, Elements, Line, Move, Note, ShapeType, Some1, Stroke, Writing};
use enfilade_proto::{ElementId, LoggedOp, Op, Seq, Snapshot};
use serde_json::Value;

use crate::frames::MARK;
use crate::replica::Replica;

#[derive(Debug, Default)]
pub(crate) struct Local {
    elements: HashMap<ElementId, ElementId>,
    /// The recording's numbers of ops, by their seqs in the room.
    numbers: HashMap<Seq, Seq>,
}

impl Local {
    /// The room's op `seq` has this number in the recording.
    pub(crate) fn numbered(&mut self, seq: Seq, number: Seq) {
        self.numbers.insert(seq, number);
    }

    /// Of how many ops after `after`, up to `last`, the number is known.
    pub(crate) fn known_between(&self, after: Seq, last: Seq) -> u64 {
        self.numbers.keys().filter(|seq| after < **seq && **seq <= last).count() as u64
    }

    /// What lies on the board, from the bottom of the pile to the top.
    pub(crate) fn scene(&mut self, snapshot: Option<&Snapshot>, ops: &[LoggedOp]) -> Vec<Op> {
        let elements = snapshot.and_then(|snapshot| snapshot.elements.as_ref());
        let mut replica = Replica::from_elements(elements.map_or(&[][..], |elements| &elements.0));
        let before = snapshot.map_or(Seq(0), |snapshot| snapshot.seq);
        for (i, op) in ops.iter().enumerate() {
            replica.apply(Seq(before.0.saturating_add(1 + i as u64)), op.author, &op.op);
        }
        let there = replica.pile().into_iter().filter(|element| element.deleted_by.is_none());
        there.flat_map(|element| add(element, self.element(&element.element))).flatten().collect()
    }

    fn element(&mut self, id: &ElementId) -> ElementId {
        let next = self.elements.len() + 1;
        #[expect(clippy::expect_used, reason = "a letter and a number")]
        let local = || ElementId::new(&format!("e{next}")).expect("an element id");
        self.elements.entry(id.clone()).or_insert_with(local).clone()
    }

    /// The op with the recording's own ids. None if it cannot be repeated.
    pub(crate) fn op(&mut self, op: &Op) -> Option<Op> {
        let mut op = op.clone();
        match &mut op {
            Op::Change(change) => change.element = self.element(&change.element),
            Op::Move(change) => change.elements = self.list(&change.elements)?,
            Op::Restyle(change) => change.elements = self.list(&change.elements)?,
            Op::Reorder(change) => change.elements = self.list(&change.elements)?,
            Op::Delete(Elements { elements }) => *elements = self.list(elements)?,
            Op::Restore(restore) => restore.deleted_by = *self.numbers.get(&restore.deleted_by)?,
            Op::Clear(_) => {}
            Op::Forget(_) => return None,
            adding => {
                let element = adding.added_element_mut()?;
                *element = self.element(element);
            }
        }
        Some(op)
    }

    /// The body of a signal likewise, without what a replay added to it.
    pub(crate) fn signal(&mut self, key: &str, body: &mut Value) {
        let Some(fields) = body.as_object_mut() else { return };
        fields.remove(MARK);
        let element = fields.get("element").and_then(Value::as_str).and_then(|id| ElementId::new(id).ok());
        if let Some(element) = element.filter(|_| key.starts_with("stroke.")) {
            fields.insert("element".into(), self.element(&element).as_str().into());
        }
    }

    fn list(&mut self, elements: &Some1<ElementId>) -> Option<Some1<ElementId>> {
        Some1::new(elements.as_slice().iter().map(|id| self.element(id)).collect())
    }
}

/// The ops that bring about an element of a snapshot: its addition, and where it was moved to.
fn add(element: &Element, id: ElementId) -> [Option<Op>; 2] {
    let (color, fill) = (element.color, element.fill.filter(|fill| fill.rgba() != 0));
    let added = match element.shape {
        ShapeType::Stroke => element.width.zip(element.points.clone()).map(|(width, points)| {
            let pressure = element.pressure.clone();
            Op::AddStroke(Stroke { element: id.clone(), color, width, points, pressure })
        }),
        ShapeType::Line | ShapeType::Arrow => {
            element.width.zip(element.from).zip(element.to).map(|((width, from), to)| {
                let line = Line { element: id.clone(), color, width, from, to };
                if element.shape == ShapeType::Line { Op::AddLine(line) } else { Op::AddArrow(line) }
            })
        }
        ShapeType::Rectangle | ShapeType::Ellipse => {
            element.width.zip(element.bounds).map(|(width, bounds)| {
                let area = Area { element: id.clone(), color, width, fill, bounds };
                if element.shape == ShapeType::Rectangle {
                    Op::AddRectangle(area)
                } else {
                    Op::AddEllipse(area)
                }
            })
        }
        ShapeType::Text => {
            element.size.zip(element.from).zip(element.text.clone()).map(|((size, from), text)| {
                Op::AddText(Writing { element: id.clone(), color, size, from, text })
            })
        }
        ShapeType::Note => element
            .bounds
            .zip(element.text.clone())
            .map(|(bounds, text)| Op::AddNote(Note { element: id.clone(), color, bounds, text })),
    };
    let moved = element.offset.filter(|_| added.is_some()).and_then(|offset| {
        Some(Op::Move(Move { elements: Some1::new(vec![id])?, offsets: Some1::new(vec![offset])? }))
    });
    [added, moved]
}
