//! A board as a client keeps it, built from `PROTOCOL.md` alone, and its state hash as `FORMAT.md` defines it.
//!
//! It shares nothing with the server's board, so that one can convict the other. The hash is a sum over the elements:
//! an op costs what it touches, however large the board is.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::str::FromStr;

use enfilade_proto::board::{
    Area, Change, Color, Element, Line, Move, Note, Reorder, Restyle, ShapeType, Stroke,
};
use enfilade_proto::board::{Writing, Z};
use enfilade_proto::{Coord, ElementId, Op, Point, Seq, UserId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// What a board looks like, in 128 bits. Two boards with the same elements have the same.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct StateHash(u128);

impl StateHash {
    /// Of the elements of a snapshot, in any order.
    #[must_use]
    pub fn of<'a>(elements: impl IntoIterator<Item = &'a Element>) -> Self {
        let mut canonical = String::new();
        let sum = elements
            .into_iter()
            .fold(0u128, |sum, element| sum.wrapping_add(digest(element, &mut canonical)));
        Self(sum)
    }

    /// Of a document.
    #[must_use]
    pub fn of_text(text: &str) -> Self {
        Self(first_half(text))
    }
}

impl fmt::Display for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for StateHash {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let number = plain.then(|| u128::from_str_radix(text, 16).ok()).flatten();
        number.map(Self).ok_or("a state hash is 32 hexadecimal digits")
    }
}

impl Serialize for StateHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StateHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A board after some op.
#[derive(Clone, Debug, Default)]
pub struct Replica {
    elements: HashMap<ElementId, Held>,
    /// What each op deleted; some of it may have come back since.
    deleted: HashMap<Seq, Vec<ElementId>>,
    sum: u128,
    canonical: String,
}

#[derive(Clone, Debug)]
struct Held {
    element: Element,
    digest: u128,
}

impl Replica {
    #[must_use]
    pub fn from_elements(elements: &[Element]) -> Self {
        let mut replica = Self::default();
        for element in elements {
            if let Some(by) = element.deleted_by {
                replica.deleted.entry(by).or_default().push(element.element.clone());
            }
            replica.put(element.clone());
        }
        replica
    }

    #[must_use]
    pub fn hash(&self) -> StateHash {
        StateHash(self.sum)
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// From the bottom of the pile to the top.
    #[must_use]
    pub fn pile(&self) -> Vec<&Element> {
        let mut pile: Vec<&Element> = self.elements.values().map(|held| &held.element).collect();
        pile.sort_by(|a, b| a.z.get().total_cmp(&b.z.get()).then_with(|| a.element.cmp(&b.element)));
        pile
    }

    /// Takes an op that a server has accepted; nothing is checked again.
    pub fn apply(&mut self, seq: Seq, author: UserId, op: &Op) {
        match op {
            Op::AddStroke(stroke) => self.put(of_stroke(seq, author, stroke)),
            Op::AddLine(line) => self.put(of_line(seq, author, ShapeType::Line, line)),
            Op::AddArrow(line) => self.put(of_line(seq, author, ShapeType::Arrow, line)),
            Op::AddRectangle(area) => self.put(of_area(seq, author, ShapeType::Rectangle, area)),
            Op::AddEllipse(area) => self.put(of_area(seq, author, ShapeType::Ellipse, area)),
            Op::AddText(text) => self.put(of_text(seq, author, text)),
            Op::AddNote(note) => self.put(of_note(seq, author, note)),
            Op::Change(change) => self.edit(&change.element, |element| change_of(element, change)),
            Op::Move(change) => self.shift(change),
            Op::Restyle(change) => self.restyle(change),
            Op::Reorder(change) => self.reorder(change),
            Op::Delete(which) => self.delete(seq, which.elements.as_slice()),
            Op::Restore(restore) => self.restore(restore.deleted_by),
            Op::Clear(_) => {
                let all: Vec<ElementId> = self.elements.keys().cloned().collect();
                self.delete(seq, &all);
            }
            Op::Forget(which) => which.elements.as_slice().iter().for_each(|id| self.forget(id)),
        }
    }

    fn put(&mut self, element: Element) {
        let digest = digest(&element, &mut self.canonical);
        self.sum = self.sum.wrapping_add(digest);
        let before = self.elements.insert(element.element.clone(), Held { element, digest });
        if let Some(before) = before {
            self.sum = self.sum.wrapping_sub(before.digest);
        }
    }

    fn edit(&mut self, id: &ElementId, edit: impl FnOnce(&mut Element)) {
        let Some(held) = self.elements.get_mut(id) else { return };
        edit(&mut held.element);
        let new = digest(&held.element, &mut self.canonical);
        self.sum = self.sum.wrapping_sub(held.digest).wrapping_add(new);
        held.digest = new;
    }

    fn shift(&mut self, change: &Move) {
        for (id, offset) in change.elements.as_slice().iter().zip(change.offsets.as_slice()) {
            self.edit(id, |element| element.offset = Some(*offset));
        }
    }

    fn restyle(&mut self, change: &Restyle) {
        for id in change.elements.as_slice() {
            self.edit(id, |element| restyle_of(element, change));
        }
    }

    fn reorder(&mut self, change: &Reorder) {
        for (id, z) in change.elements.as_slice().iter().zip(change.z.as_slice()) {
            self.edit(id, |element| element.z = *z);
        }
    }

    fn delete(&mut self, seq: Seq, ids: &[ElementId]) {
        let mut gone = Vec::new();
        for id in ids {
            let there = self.elements.get(id).is_some_and(|held| held.element.deleted_by.is_none());
            if there {
                self.edit(id, |element| element.deleted_by = Some(seq));
                gone.push(id.clone());
            }
        }
        if !gone.is_empty() {
            self.deleted.insert(seq, gone);
        }
    }

    fn restore(&mut self, deleted_by: Seq) {
        for id in self.deleted.remove(&deleted_by).unwrap_or_default() {
            let still =
                self.elements.get(&id).is_some_and(|held| held.element.deleted_by == Some(deleted_by));
            if still {
                self.edit(&id, |element| element.deleted_by = None);
            }
        }
    }

    fn forget(&mut self, id: &ElementId) {
        if let Some(held) = self.elements.remove(id) {
            self.sum = self.sum.wrapping_sub(held.digest);
        }
    }
}

fn blank(seq: Seq, author: UserId, shape: ShapeType, id: &ElementId, color: Color) -> Element {
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

fn of_stroke(seq: Seq, author: UserId, stroke: &Stroke) -> Element {
    Element {
        width: Some(stroke.width),
        points: Some(stroke.points.clone()),
        pressure: stroke.pressure.clone(),
        ..blank(seq, author, ShapeType::Stroke, &stroke.element, stroke.color)
    }
}

fn of_line(seq: Seq, author: UserId, shape: ShapeType, line: &Line) -> Element {
    Element {
        width: Some(line.width),
        from: Some(line.from),
        to: Some(line.to),
        ..blank(seq, author, shape, &line.element, line.color)
    }
}

fn of_area(seq: Seq, author: UserId, shape: ShapeType, area: &Area) -> Element {
    Element {
        width: Some(area.width),
        fill: area.fill,
        bounds: Some(area.bounds),
        ..blank(seq, author, shape, &area.element, area.color)
    }
}

fn of_text(seq: Seq, author: UserId, text: &Writing) -> Element {
    Element {
        size: Some(text.size),
        from: Some(text.from),
        text: Some(text.text.clone()),
        ..blank(seq, author, ShapeType::Text, &text.element, text.color)
    }
}

fn of_note(seq: Seq, author: UserId, note: &Note) -> Element {
    Element {
        bounds: Some(note.bounds),
        text: Some(note.text.clone()),
        ..blank(seq, author, ShapeType::Note, &note.element, note.color)
    }
}

fn change_of(element: &mut Element, change: &Change) {
    if let Some(points) = &change.points {
        element.points = Some(points.clone());
        element.pressure = change.pressure.clone();
    }
    element.from = change.from.or(element.from);
    element.to = change.to.or(element.to);
    element.bounds = change.bounds.or(element.bounds);
    if let Some(text) = &change.text {
        element.text = Some(text.clone());
    }
}

/// A shape has a width or a size exactly if it was added with one; areas can be filled, others cannot.
fn restyle_of(element: &mut Element, change: &Restyle) {
    element.color = change.color.unwrap_or(element.color);
    element.width = element.width.map(|width| change.width.unwrap_or(width));
    element.size = element.size.map(|size| change.size.unwrap_or(size));
    if matches!(element.shape, ShapeType::Rectangle | ShapeType::Ellipse) {
        element.fill = change.fill.or(element.fill);
    }
}

/// The first 16 bytes of the SHA-256 of the element's canonical text.
fn digest(element: &Element, canonical: &mut String) -> u128 {
    canonical.clear();
    write_canonical(element, canonical);
    first_half(canonical)
}

/// The first 16 bytes of a text's SHA-256, as a number.
fn first_half(text: &str) -> u128 {
    let hash = Sha256::digest(text.as_bytes());
    hash.iter().take(16).fold(0, |number, &byte| number << 8 | u128::from(byte))
}

/// `name=value` lines in the order of the names, without those that are absent or say nothing.
fn write_canonical(element: &Element, out: &mut String) {
    // Writing to a string does not fail.
    let _ = writeln!(out, "author={}", element.author);
    if let Some(bounds) = element.bounds {
        write_coords(out, "bounds", &bounds.get());
    }
    let _ = writeln!(out, "color={:08x}", element.color.rgba());
    if let Some(by) = element.deleted_by {
        let _ = writeln!(out, "deleted_by={by}");
    }
    let _ = writeln!(out, "element={}", element.element);
    if let Some(fill) = element.fill.filter(|fill| fill.rgba() != 0) {
        let _ = writeln!(out, "fill={:08x}", fill.rgba());
    }
    write_point(out, "from", element.from);
    write_point(out, "offset", element.offset.filter(|offset| *offset != Point::default()));
    if let Some(points) = &element.points {
        let coords: Vec<Coord> = points.decode().into_iter().flatten().collect();
        write_coords(out, "points", &coords);
    }
    if let Some(pressure) = &element.pressure {
        let pressure: Vec<String> = pressure.decode().iter().map(u8::to_string).collect();
        let _ = writeln!(out, "pressure={}", pressure.join(","));
    }
    if let Some(size) = element.size {
        let _ = writeln!(out, "size={}", size.steps());
    }
    if let Some(text) = &element.text {
        out.push_str("text=");
        text.as_str().bytes().for_each(|byte| {
            let _ = write!(out, "{byte:02x}");
        });
        out.push('\n');
    }
    write_point(out, "to", element.to);
    let _ = writeln!(out, "type={}", shape_name(element.shape));
    if let Some(width) = element.width {
        let _ = writeln!(out, "width={}", width.steps());
    }
    let _ = writeln!(out, "z={}", element.z.get());
}

fn write_point(out: &mut String, name: &str, point: Option<Point>) {
    if let Some(point) = point {
        write_coords(out, name, &point);
    }
}

fn write_coords(out: &mut String, name: &str, coords: &[Coord]) {
    let _ = write!(out, "{name}=");
    for (i, coord) in coords.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        let _ = write!(out, "{comma}{}", coord.quarters());
    }
    out.push('\n');
}

fn shape_name(shape: ShapeType) -> &'static str {
    match shape {
        ShapeType::Stroke => "stroke",
        ShapeType::Line => "line",
        ShapeType::Arrow => "arrow",
        ShapeType::Rectangle => "rectangle",
        ShapeType::Ellipse => "ellipse",
        ShapeType::Text => "text",
        ShapeType::Note => "note",
    }
}

#[cfg(test)]
mod tests {
    use enfilade_proto::board::Width;
    use proptest::prelude::*;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    const ADA: UserId = UserId(Uuid::from_u128(1));
    const BOB: UserId = UserId(Uuid::from_u128(2));

    fn op(value: serde_json::Value) -> Op {
        serde_json::from_value(value).unwrap()
    }

    fn stroke(id: &str) -> Op {
        op(
            json!({"type":"add_stroke","data":{"element":id,"color":"#1a1a1a","width":4,"points":[[10,10],[11.5,12]],"pressure":[128,130]}}),
        )
    }

    fn board(ops: &[Op]) -> Replica {
        let mut replica = Replica::default();
        for (i, op) in ops.iter().enumerate() {
            replica.apply(Seq(i as u64 + 1), ADA, op);
        }
        replica
    }

    fn element<'a>(replica: &'a Replica, id: &str) -> &'a Element {
        &replica.elements[&ElementId::new(id).unwrap()].element
    }

    #[test]
    fn the_hash_is_what_the_format_page_says() {
        let board = board(&[stroke("a1")]);
        let text = "author=00000000-0000-0000-0000-000000000001\ncolor=1a1a1aff\nelement=a1\n\
                    points=40,40,46,48\npressure=128,130\ntype=stroke\nwidth=256\nz=1\n";
        let hash: String = Sha256::digest(text).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(board.hash().to_string(), hash);
        assert_eq!(hash.parse(), Ok(board.hash()));
    }

    #[test]
    fn an_empty_board_hashes_to_zero() {
        assert_eq!(Replica::default().hash().to_string(), "0".repeat(32));
        assert!("xyz".parse::<StateHash>().is_err());
    }

    #[test]
    fn a_snapshot_and_the_ops_that_made_it_hash_alike() {
        let ops = [
            stroke("a1"),
            op(
                json!({"type":"add_note","data":{"element":"n","color":"#ffee00","bounds":[0,0,100,50],"text":"Zoë\n=1"}}),
            ),
            op(json!({"type":"move","data":{"elements":["a1"],"offsets":[[5,-2.25]]}})),
            op(json!({"type":"delete","data":{"elements":["n"]}})),
        ];
        let board = board(&ops);
        let elements: Vec<Element> = board.pile().into_iter().cloned().collect();
        assert_eq!(StateHash::of(&elements), board.hash());
        let mut copy = Replica::from_elements(&elements);
        assert_eq!(copy.hash(), board.hash());
        copy.apply(Seq(5), BOB, &op(json!({"type":"restore","data":{"deleted_by":4}})));
        assert_eq!(element(&copy, "n").deleted_by, None);
    }

    #[test]
    fn an_offset_of_nothing_and_a_fill_of_nothing_say_nothing() {
        let area = json!({"type":"add_rectangle","data":{"element":"r","color":"#000000","width":1,"bounds":[0,0,1,1]}});
        let plain = board(&[op(area.clone())]);
        let same = board(&[
            op(area),
            op(json!({"type":"move","data":{"elements":["r"],"offsets":[[0,0]]}})),
            op(json!({"type":"restyle","data":{"elements":["r"],"fill":"#00000000"}})),
        ]);
        assert_eq!(plain.hash(), same.hash());
    }

    #[test]
    fn what_was_deleted_before_stays_deleted_by_the_first() {
        let board = board(&[
            stroke("a"),
            stroke("b"),
            op(json!({"type":"delete","data":{"elements":["a"]}})),
            op(json!({"type":"clear","data":{}})),
            op(json!({"type":"restore","data":{"deleted_by":4}})),
        ]);
        assert_eq!(element(&board, "a").deleted_by, Some(Seq(3)));
        assert_eq!(element(&board, "b").deleted_by, None);
    }

    #[test]
    fn an_element_added_again_is_new() {
        let board = board(&[
            stroke("a"),
            op(json!({"type":"move","data":{"elements":["a"],"offsets":[[9,9]]}})),
            op(json!({"type":"delete","data":{"elements":["a"]}})),
            stroke("a"),
            op(json!({"type":"restore","data":{"deleted_by":3}})),
        ]);
        let a = element(&board, "a");
        assert_eq!((a.offset, a.deleted_by, a.z.get()), (None, None, 4.0));
        assert_eq!(board.len(), 1);
    }

    #[test]
    fn points_without_pressure_drop_it() {
        let board =
            board(&[stroke("a"), op(json!({"type":"change","data":{"element":"a","points":[[1,1]]}}))]);
        assert_eq!(element(&board, "a").pressure, None);
    }

    #[test]
    fn restyling_gives_a_shape_nothing_it_never_had() {
        let style = json!({"type":"restyle","data":{"elements":["a","t","gone"],"color":"#ff0000","width":9,"size":30,"fill":"#00ff00"}});
        let text = json!({"type":"add_text","data":{"element":"t","color":"#000000","size":20,"from":[0,0],"text":"hi"}});
        let board = board(&[stroke("a"), op(text), op(style)]);
        let (a, t) = (element(&board, "a"), element(&board, "t"));
        assert_eq!((a.width.map(Width::steps), a.size, a.fill), (Some(9 * 64), None, None));
        assert_eq!((t.width, t.size.map(Width::steps), t.fill), (None, Some(30 * 64), None));
        assert_eq!(a.color, Color::parse("#ff0000").unwrap());
    }

    #[test]
    fn forgotten_elements_are_gone() {
        let board = board(&[stroke("a"), op(json!({"type":"forget","data":{"elements":["a"]}}))]);
        assert_eq!((board.len(), board.hash()), (0, StateHash::default()));
    }

    fn any_op() -> impl Strategy<Value = Op> {
        let id = || (0..6u8).prop_map(|n| format!("e{n}"));
        prop_oneof![
            id().prop_map(|id| stroke(&id)),
            (id(), -50..50i32)
                .prop_map(|(id, x)| op(json!({"type":"move","data":{"elements":[id],"offsets":[[x, 1]]}}))),
            (id(), -9..9i32)
                .prop_map(|(id, z)| op(json!({"type":"reorder","data":{"elements":[id],"z":[z]}}))),
            (id(), id()).prop_map(|(a, b)| op(json!({"type":"delete","data":{"elements":[a, b]}}))),
            (1..30u64).prop_map(|seq| op(json!({"type":"restore","data":{"deleted_by":seq}}))),
            Just(op(json!({"type":"clear","data":{}}))),
            id().prop_map(|id| op(json!({"type":"forget","data":{"elements":[id]}}))),
        ]
    }

    proptest! {
        #[test]
        fn the_running_hash_is_the_hash_of_what_is_there(ops in prop::collection::vec(any_op(), 0..40)) {
            let board = board(&ops);
            prop_assert_eq!(board.hash(), StateHash::of(board.pile()));
        }

        #[test]
        fn a_replica_may_start_from_any_snapshot(ops in prop::collection::vec(any_op(), 1..40), cut in 0..40usize) {
            let cut = cut.min(ops.len());
            let early = board(&ops[..cut]);
            let elements: Vec<Element> = early.pile().into_iter().cloned().collect();
            let mut late = Replica::from_elements(&elements);
            for (i, op) in ops.iter().enumerate().skip(cut) {
                late.apply(Seq(i as u64 + 1), ADA, op);
            }
            prop_assert_eq!(late.hash(), board(&ops).hash());
        }
    }
}
