//! The board: its elements, as they stand in a snapshot and as the ops that add and change them carry them.

use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::coord::{Coord, Point};
use crate::ids::{ElementId, Seq, UserId};
use crate::limits::{BOARD_ELEMENTS, COORDINATE, ELEMENTS_PER_OP, TEXT_CHARS, WIDTH};
use crate::points::{Points, Pressure};

/// A colour as `#rrggbb` or `#rrggbbaa`, in lower case.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Color(u32);

impl Color {
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_prefix('#').filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))?;
        let number = u32::from_str_radix(hex, 16).ok()?;
        match hex.len() {
            6 => Some(Self(number << 8 | 0xff)),
            8 => Some(Self(number)),
            _ => None,
        }
    }

    /// Red, green, blue and alpha, a byte each, red highest.
    #[must_use]
    pub fn rgba(self) -> u32 {
        self.0
    }

    #[must_use]
    pub fn from_rgba(rgba: u32) -> Self {
        Self(rgba)
    }
}

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 & 0xff == 0xff { write!(f, "#{:06x}", self.0 >> 8) } else { write!(f, "#{:08x}", self.0) }
    }
}

impl fmt::Debug for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Color {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Color {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Color;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a colour as #rrggbb or #rrggbbaa")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Color, E> {
                Color::parse(text).ok_or_else(|| E::custom("a colour is #rrggbb or #rrggbbaa"))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// The width of a line or the size of a text, in units, within [`WIDTH`], in steps of 1/64.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Width(u16);

impl Width {
    #[must_use]
    pub fn new(units: f32) -> Option<Self> {
        // Not NaN, and at most 400 × 64, which fits.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the range check bounds it"
        )]
        WIDTH.contains(&units).then(|| Self((units * 64.0).round() as u16))
    }

    #[must_use]
    pub fn units(self) -> f32 {
        f32::from(self.0) / 64.0
    }

    /// In steps of 1/64 unit.
    #[must_use]
    pub fn steps(self) -> u16 {
        self.0
    }

    #[must_use]
    pub fn from_steps(steps: u16) -> Option<Self> {
        Self::new(f32::from(steps) / 64.0)
    }
}

impl fmt::Debug for Width {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.units(), f)
    }
}

impl Serialize for Width {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_multiple_of(64) {
            serializer.serialize_u16(self.0 / 64)
        } else {
            serializer.serialize_f64(f64::from(self.units()))
        }
    }
}

impl<'de> Deserialize<'de> for Width {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(f32::deserialize(deserializer)?)
            .ok_or_else(|| D::Error::custom("a width is within 0.25 to 400"))
    }
}

/// The text of a text element or a sticky note: at most [`TEXT_CHARS`] characters, line breaks and tabs allowed.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Text(Box<str>);

impl Text {
    /// # Errors
    /// When it is too long or has other control characters.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        if text.chars().nth(TEXT_CHARS).is_some() {
            return Err("a text has at most 4000 characters");
        }
        if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
            return Err("a text has no control characters but line breaks and tabs");
        }
        Ok(Self(text.into()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// A rectangle `[x, y, width, height]`; width and height are not negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Bounds([Coord; 4]);

impl Bounds {
    #[must_use]
    pub fn new(bounds: [Coord; 4]) -> Option<Self> {
        (bounds[2].quarters() >= 0 && bounds[3].quarters() >= 0).then_some(Self(bounds))
    }

    #[must_use]
    pub fn get(self) -> [Coord; 4] {
        self.0
    }
}

impl<'de> Deserialize<'de> for Bounds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(Deserialize::deserialize(deserializer)?)
            .ok_or_else(|| D::Error::custom("bounds are [x, y, width, height] without negative sizes"))
    }
}

/// Where an element lies in the pile: a finite number, higher is nearer to the eye. An added element gets its seq.
#[derive(Clone, Copy, PartialEq)]
pub struct Z(f64);

impl Z {
    /// None if it is not finite.
    #[must_use]
    pub fn new(z: f64) -> Option<Self> {
        // Minus zero would make two processes order the same pile differently.
        z.is_finite().then_some(Self(z + 0.0))
    }

    #[must_use]
    pub fn of(seq: Seq) -> Self {
        Self(seq.0 as f64)
    }

    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }
}

impl fmt::Debug for Z {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Serialize for Z {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[expect(clippy::cast_possible_truncation, reason = "the comparison shows that nothing is lost")]
        let whole = self.0 as i64;
        if self.0.abs() < COORDINATE * COORDINATE && whole as f64 == self.0 {
            serializer.serialize_i64(whole)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Z {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(f64::deserialize(deserializer)?).ok_or_else(|| D::Error::custom("z is a finite number"))
    }
}

/// A list of 1 to [`ELEMENTS_PER_OP`] items, read without trusting the announced length.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Some1<T>(Vec<T>);

impl<T> Some1<T> {
    #[must_use]
    pub fn new(items: Vec<T>) -> Option<Self> {
        (1..=ELEMENTS_PER_OP).contains(&items.len()).then_some(Self(items))
    }

    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Some1<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let items =
            deserializer.deserialize_seq(List { most: ELEMENTS_PER_OP, item: std::marker::PhantomData })?;
        Self::new(items).ok_or_else(|| D::Error::custom("the list is empty"))
    }
}

struct List<T> {
    most: usize,
    item: std::marker::PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {} items", self.most)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            if items.len() == self.most {
                return Err(A::Error::custom(format_args!("the list has more than {} items", self.most)));
            }
            items.push(item);
        }
        Ok(items)
    }
}

/// `add_stroke`: a finished stroke of the pen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stroke {
    pub element: ElementId,
    pub color: Color,
    pub width: Width,
    pub points: Points,
    /// One per point, or none at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pressure: Option<Pressure>,
}

/// `add_line`, `add_arrow`: from here to there; an arrow has its head at `to`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    pub element: ElementId,
    pub color: Color,
    pub width: Width,
    pub from: Point,
    pub to: Point,
}

/// `add_rectangle`, `add_ellipse`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Area {
    pub element: ElementId,
    pub color: Color,
    pub width: Width,
    /// None is not filled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fill: Option<Color>,
    pub bounds: Bounds,
}

/// `add_text`: a text whose first line starts at `from`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Writing {
    pub element: ElementId,
    pub color: Color,
    /// The height of a line of text, in units.
    pub size: Width,
    pub from: Point,
    pub text: Text,
}

/// `add_note`: a sticky note.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Note {
    pub element: ElementId,
    /// The colour of the paper.
    pub color: Color,
    pub bounds: Bounds,
    pub text: Text,
}

/// `change`: new content for one element. What is absent stays; a property that the shape lacks is refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    pub element: ElementId,
    /// Strokes. Comes with `pressure` or drops it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub points: Option<Points>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pressure: Option<Pressure>,
    /// Lines, arrows and texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Point>,
    /// Lines and arrows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Point>,
    /// Rectangles, ellipses and notes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bounds: Option<Bounds>,
    /// Texts and notes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Text>,
}

/// `move`: where elements lie now, each as its offset from where it was added. As many offsets as elements.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Move {
    pub elements: Some1<ElementId>,
    pub offsets: Some1<Point>,
}

/// `restyle`: new looks for elements. What is absent stays; an element that has no such property stays as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Restyle {
    pub elements: Some1<ElementId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub color: Option<Color>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<Width>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Width>,
    /// `#00000000` is not filled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fill: Option<Color>,
}

/// `reorder`: where elements lie in the pile now. As many `z` as elements.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reorder {
    pub elements: Some1<ElementId>,
    pub z: Some1<Z>,
}

/// `delete`, and `forget` (only the room itself does that): elements by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Elements {
    pub elements: Some1<ElementId>,
}

/// `restore`: bring back what the op `deleted_by` deleted (by `delete` or `clear`) and nobody has restored since.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Restore {
    pub deleted_by: Seq,
}

/// `clear`: delete everything that is there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Clear {}

/// An element in a snapshot: the data of the op that added it, as changed since, with what the room knows of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Element {
    pub element: ElementId,
    #[serde(rename = "type")]
    pub shape: ShapeType,
    pub author: UserId,
    pub z: Z,
    /// Absent is `[0, 0]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<Point>,
    /// The op that deleted it; absent while it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_by: Option<Seq>,
    pub color: Color,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<Width>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Width>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fill: Option<Color>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub points: Option<Points>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pressure: Option<Pressure>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Point>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Point>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bounds: Option<Bounds>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Text>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShapeType {
    Stroke,
    Line,
    Arrow,
    Rectangle,
    Ellipse,
    Text,
    Note,
}

/// Every element of a board, in the order of their ids.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct AllElements(pub Vec<Element>);

impl<'de> Deserialize<'de> for AllElements {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(List { most: BOARD_ELEMENTS, item: std::marker::PhantomData }).map(Self)
    }
}
