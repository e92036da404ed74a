//! The board: elements, each with properties of which the last writer in seq order wins.
//!
//! Accepted ops are applied in seq order by everybody, so "last writer wins" needs no stamps: the order is the arbiter.
//! Deleted elements stay (marked with the op that deleted them) so that an undo can bring them back; when the board grows
//! beyond its bounds, it forgets the oldest of them by an op of its own, and so every replica does the same.

mod live;
mod simplify;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use enfilade_proto::board::{
    AllElements, Area, Change, Element, Elements, Line, Move, Note, Reorder, Restore, Restyle, ShapeType,
    Some1, Stroke, Writing, Z,
};
use enfilade_proto::limits::{BOARD_BYTES, BOARD_ELEMENTS, ELEMENTS_PER_OP};
use enfilade_proto::{Coord, ElementId, ErrorCode, Op, Role, Seq, UserId};
use serde_json::Value;

use self::live::LiveStrokes;
use super::{Contents, Kind};
use crate::bus::Writer;
use crate::refusal::Refusal;

pub(super) use self::live::owner_hears;

#[derive(Debug, Default)]
pub struct Board {
    elements: BTreeMap<ElementId, Arc<Element>>,
    /// Deleted elements, the earliest deletion first: what is forgotten first.
    deleted: BTreeMap<Seq, BTreeSet<ElementId>>,
    /// The sum of [`weight`] over all elements.
    bytes: usize,
    live: LiveStrokes,
}

/// What an element counts towards [`BOARD_BYTES`]: its content, and about what its other properties take.
fn weight(element: &Element) -> usize {
    let points = element.points.as_ref().map_or(0, |points| points.coded().len());
    let pressure = element.pressure.as_ref().map_or(0, |pressure| pressure.coded().len());
    let text = element.text.as_ref().map_or(0, |text| text.as_str().len());
    100 + points + pressure + text
}

fn refuse<T>(code: ErrorCode, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(code, message))
}

impl Board {
    /// # Errors
    /// When the bytes are not the elements of a board.
    pub(super) fn restore(body: &[u8]) -> Result<Self, Refusal> {
        let elements: AllElements = rmp_serde::from_slice(body).map_err(|error| {
            Refusal::new(ErrorCode::Internal, format!("the checkpoint is damaged: {error}"))
        })?;
        let mut board = Self::default();
        for element in elements.0 {
            board.put(element);
        }
        Ok(board)
    }

    #[must_use]
    pub fn element(&self, id: &ElementId) -> Option<&Element> {
        self.elements.get(id).map(|element| &**element)
    }

    /// How many elements there are, deleted ones not counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.present().count()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.present().next().is_none()
    }

    fn put(&mut self, element: Element) {
        self.take(&element.element.clone());
        self.bytes += weight(&element);
        if let Some(by) = element.deleted_by {
            self.mark(by, &element.element);
        }
        self.elements.insert(element.element.clone(), Arc::new(element));
    }

    fn take(&mut self, id: &ElementId) {
        if let Some(old) = self.elements.remove(id) {
            self.bytes -= weight(&old);
            if let Some(by) = old.deleted_by {
                self.unmark(by, id);
            }
        }
    }

    fn mark(&mut self, by: Seq, id: &ElementId) {
        self.deleted.entry(by).or_default().insert(id.clone());
    }

    fn unmark(&mut self, by: Seq, id: &ElementId) {
        if let Some(ids) = self.deleted.get_mut(&by) {
            ids.remove(id);
            if ids.is_empty() {
                self.deleted.remove(&by);
            }
        }
    }

    /// Changes an element in place, keeping count.
    fn edit(&mut self, id: &ElementId, edit: impl FnOnce(&mut Element)) {
        if let Some(element) = self.elements.get_mut(id) {
            let before = weight(element);
            edit(Arc::make_mut(element));
            self.bytes = self.bytes - before + weight(element);
        }
    }

    fn set_deleted(&mut self, id: &ElementId, by: Option<Seq>) {
        let Some(element) = self.elements.get_mut(id) else { return };
        let before = std::mem::replace(&mut Arc::make_mut(element).deleted_by, by);
        if let Some(before) = before {
            self.unmark(before, id);
        }
        if let Some(by) = by {
            self.mark(by, id);
        }
    }

    fn deleted_by(&self, seq: Seq) -> Vec<ElementId> {
        self.deleted.get(&seq).into_iter().flatten().cloned().collect()
    }

    fn present(&self) -> impl Iterator<Item = &ElementId> {
        self.elements.iter().filter(|(_, element)| element.deleted_by.is_none()).map(|(id, _)| id)
    }

    /// Whether an element may be put under this id, by this author, now.
    fn admits(&self, id: &ElementId, author: UserId) -> Result<(), Refusal> {
        match self.elements.get(id) {
            Some(element) if element.author != author => {
                refuse(ErrorCode::ElementExists, format!("somebody else's element has the id {id}"))
            }
            Some(_) => Ok(()),
            None if self.elements.len() >= BOARD_ELEMENTS && self.deleted.is_empty() => {
                refuse(ErrorCode::BoardFull, "the board is full; delete something first")
            }
            None => Ok(()),
        }
    }

    fn some_known(&self, ids: &Some1<ElementId>) -> Result<(), Refusal> {
        if ids.as_slice().iter().any(|id| self.elements.contains_key(id)) {
            Ok(())
        } else {
            refuse(ErrorCode::UnknownElement, "none of these elements is on the board")
        }
    }

    /// Checks an op against the present state and brings it into the form in which it is logged.
    fn check(&self, author: UserId, op: Op) -> Result<Op, Refusal> {
        if let Some(id) = op.added_element() {
            self.admits(id, author)?;
        }
        // Content that takes the place of other content needs room as new content does.
        let replaces = matches!(&op, Op::Change(change) if change.points.is_some() || change.text.is_some())
            || op.added_element().is_some();
        if replaces && self.bytes >= BOARD_BYTES && self.deleted.is_empty() {
            return refuse(ErrorCode::BoardFull, "the board is full; delete something first");
        }
        match op {
            Op::AddStroke(stroke) => Ok(Op::AddStroke(simplified(stroke)?)),
            Op::AddRectangle(area) => Ok(Op::AddRectangle(without_empty_fill(area))),
            Op::AddEllipse(area) => Ok(Op::AddEllipse(without_empty_fill(area))),
            Op::Change(change) => self.check_change(change).map(Op::Change),
            Op::Move(ref moved) => {
                same_length(moved.elements.as_slice(), moved.offsets.as_slice())?;
                self.some_known(&moved.elements).map(|()| op)
            }
            Op::Reorder(ref reorder) => {
                same_length(reorder.elements.as_slice(), reorder.z.as_slice())?;
                self.some_known(&reorder.elements).map(|()| op)
            }
            Op::Restyle(ref restyle) => self.some_known(&restyle.elements).map(|()| op),
            Op::Delete(ref named) => self.some_known(&named.elements).map(|()| op),
            Op::Restore(Restore { deleted_by }) if !self.deleted.contains_key(&deleted_by) => {
                refuse(ErrorCode::InvalidOp, format!("op {deleted_by} deleted nothing that is still deleted"))
            }
            op => Ok(op),
        }
    }

    fn check_change(&self, change: Change) -> Result<Change, Refusal> {
        use ShapeType::{Arrow, Ellipse, Line, Note, Rectangle, Stroke, Text};
        let Some(element) = self.elements.get(&change.element) else {
            return refuse(ErrorCode::UnknownElement, format!("there is no element {}", change.element));
        };
        let shape = element.shape;
        let fits = [
            (change.points.is_some() || change.pressure.is_some(), &[Stroke][..]),
            (change.from.is_some(), &[Line, Arrow, Text]),
            (change.to.is_some(), &[Line, Arrow]),
            (change.bounds.is_some(), &[Rectangle, Ellipse, Note]),
            (change.text.is_some(), &[Text, Note]),
        ];
        if let Some((_, shapes)) = fits.iter().find(|(given, shapes)| *given && !shapes.contains(&shape)) {
            return refuse(
                ErrorCode::InvalidOp,
                format!("only {shapes:?} have such a property, this is {shape:?}"),
            );
        }
        match (&change.points, &change.pressure) {
            (None, Some(_)) => refuse(ErrorCode::InvalidOp, "pressure comes with points"),
            (Some(points), pressure) => {
                let (points, pressure) = simplify::stroke(points, pressure.as_ref()).map_err(invalid_op)?;
                Ok(Change { points: Some(points), pressure, ..change })
            }
            (None, None) => Ok(change),
        }
    }

    fn perform(&mut self, seq: Seq, author: UserId, op: &Op) {
        match op {
            Op::AddStroke(stroke) => {
                self.live.finish(&stroke.element);
                self.put(stroke_element(seq, author, stroke));
            }
            Op::AddLine(line) => self.put(line_element(seq, author, ShapeType::Line, line)),
            Op::AddArrow(line) => self.put(line_element(seq, author, ShapeType::Arrow, line)),
            Op::AddRectangle(area) => self.put(area_element(seq, author, ShapeType::Rectangle, area)),
            Op::AddEllipse(area) => self.put(area_element(seq, author, ShapeType::Ellipse, area)),
            Op::AddText(writing) => self.put(text_element(seq, author, writing)),
            Op::AddNote(note) => self.put(note_element(seq, author, note)),
            Op::Change(change) => self.edit(&change.element, |element| change_element(element, change)),
            Op::Move(moved) => self.perform_move(moved),
            Op::Restyle(restyle) => self.perform_restyle(restyle),
            Op::Reorder(reorder) => self.perform_reorder(reorder),
            Op::Delete(Elements { elements }) => {
                for id in elements.as_slice() {
                    if self.elements.get(id).is_some_and(|element| element.deleted_by.is_none()) {
                        self.set_deleted(id, Some(seq));
                    }
                }
            }
            Op::Restore(Restore { deleted_by }) => {
                for id in self.deleted_by(*deleted_by) {
                    self.set_deleted(&id, None);
                }
            }
            Op::Clear(_) => {
                for id in self.present().cloned().collect::<Vec<_>>() {
                    self.set_deleted(&id, Some(seq));
                }
            }
            Op::Forget(Elements { elements }) => elements.as_slice().iter().for_each(|id| self.take(id)),
        }
    }

    fn perform_move(&mut self, moved: &Move) {
        for (id, offset) in moved.elements.as_slice().iter().zip(moved.offsets.as_slice()) {
            let offset = (*offset != [Coord::default(); 2]).then_some(*offset);
            self.edit(id, |element| element.offset = offset);
        }
    }

    fn perform_reorder(&mut self, reorder: &Reorder) {
        for (id, z) in reorder.elements.as_slice().iter().zip(reorder.z.as_slice()) {
            self.edit(id, |element| element.z = *z);
        }
    }

    fn perform_restyle(&mut self, restyle: &Restyle) {
        for id in restyle.elements.as_slice() {
            self.edit(id, |element| restyle_element(element, restyle));
        }
    }
}

impl Kind for Board {
    fn permits(&self, role: Role, op: &Op) -> Result<(), Refusal> {
        if matches!(op, Op::Forget(_)) {
            return refuse(ErrorCode::Forbidden, "only the room itself forgets");
        }
        if role >= Role::Editor {
            Ok(())
        } else {
            refuse(ErrorCode::Forbidden, "a viewer does not submit ops")
        }
    }

    fn apply(&mut self, seq: Seq, author: UserId, op: Op) -> Result<Op, Refusal> {
        let op = self.check(author, op)?;
        self.perform(seq, author, &op);
        Ok(op)
    }

    fn replay(&mut self, seq: Seq, author: UserId, op: &Op) {
        self.perform(seq, author, op);
    }

    fn tidy(&self) -> Option<Op> {
        if self.elements.len() <= BOARD_ELEMENTS && self.bytes <= BOARD_BYTES {
            return None;
        }
        // More at a time than is needed just now, so that a board at its bound does not tidy with every stroke.
        let oldest = self.deleted.values().flatten().take(ELEMENTS_PER_OP).cloned().collect();
        Some(Op::Forget(Elements { elements: Some1::new(oldest)? }))
    }

    fn notice(&mut self, writer: Writer, key: &str, body: &Value) {
        self.live.notice(writer, key, body, |element| self.elements.contains_key(element));
    }

    fn abandon(&mut self, writer: Writer) -> Option<Op> {
        self.live.abandon(writer).map(Op::AddStroke)
    }

    fn snapshot(&self) -> Contents {
        Contents::Board(self.elements.values().cloned().collect())
    }
}

fn simplified(stroke: Stroke) -> Result<Stroke, Refusal> {
    let (points, pressure) =
        simplify::stroke(&stroke.points, stroke.pressure.as_ref()).map_err(invalid_op)?;
    Ok(Stroke { points, pressure, ..stroke })
}

/// A fill that cannot be seen is none, so that there is one way to say it.
fn without_empty_fill(area: Area) -> Area {
    Area { fill: area.fill.filter(|fill| fill.rgba() != 0), ..area }
}

fn invalid_op(message: &'static str) -> Refusal {
    Refusal::new(ErrorCode::InvalidOp, message)
}

fn same_length<A, B>(elements: &[A], values: &[B]) -> Result<(), Refusal> {
    if elements.len() == values.len() {
        Ok(())
    } else {
        refuse(ErrorCode::InvalidOp, format!("{} elements but {} values", elements.len(), values.len()))
    }
}

/// An element without any content, to be filled by its shape.
fn blank(
    seq: Seq,
    author: UserId,
    id: &ElementId,
    shape: ShapeType,
    color: enfilade_proto::board::Color,
) -> Element {
    Element {
        element: id.clone(),
        shape,
        author,
        z: Z::of(seq),
        offset: None,
        deleted_by: None,
        color,
        width: None,
        size: None,
        fill: None,
        points: None,
        pressure: None,
        from: None,
        to: None,
        bounds: None,
        text: None,
    }
}

fn stroke_element(seq: Seq, author: UserId, stroke: &Stroke) -> Element {
    Element {
        width: Some(stroke.width),
        points: Some(stroke.points.clone()),
        pressure: stroke.pressure.clone(),
        ..blank(seq, author, &stroke.element, ShapeType::Stroke, stroke.color)
    }
}

fn line_element(seq: Seq, author: UserId, shape: ShapeType, line: &Line) -> Element {
    Element {
        width: Some(line.width),
        from: Some(line.from),
        to: Some(line.to),
        ..blank(seq, author, &line.element, shape, line.color)
    }
}

fn area_element(seq: Seq, author: UserId, shape: ShapeType, area: &Area) -> Element {
    Element {
        width: Some(area.width),
        fill: area.fill,
        bounds: Some(area.bounds),
        ..blank(seq, author, &area.element, shape, area.color)
    }
}

fn text_element(seq: Seq, author: UserId, writing: &Writing) -> Element {
    Element {
        size: Some(writing.size),
        from: Some(writing.from),
        text: Some(writing.text.clone()),
        ..blank(seq, author, &writing.element, ShapeType::Text, writing.color)
    }
}

fn note_element(seq: Seq, author: UserId, note: &Note) -> Element {
    Element {
        bounds: Some(note.bounds),
        text: Some(note.text.clone()),
        ..blank(seq, author, &note.element, ShapeType::Note, note.color)
    }
}

fn change_element(element: &mut Element, change: &Change) {
    if let Some(points) = &change.points {
        element.points = Some(points.clone());
        element.pressure.clone_from(&change.pressure);
    }
    element.from = change.from.or(element.from);
    element.to = change.to.or(element.to);
    element.bounds = change.bounds.or(element.bounds);
    if let Some(text) = &change.text {
        element.text = Some(text.clone());
    }
}

fn restyle_element(element: &mut Element, restyle: &Restyle) {
    element.color = restyle.color.unwrap_or(element.color);
    if element.width.is_some() {
        element.width = restyle.width.or(element.width);
    }
    if element.size.is_some() {
        element.size = restyle.size.or(element.size);
    }
    if matches!(element.shape, ShapeType::Rectangle | ShapeType::Ellipse)
        && let Some(fill) = restyle.fill
    {
        element.fill = (fill.rgba() != 0).then_some(fill);
    }
}

#[cfg(test)]
mod tests;
