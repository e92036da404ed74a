//! The points of a stroke, and the pressure at each.
//!
//! In JSON `[[10, 10], [11.5, 12]]` and `[128, 200]`. In MessagePack bytes: each number as the zigzag varint of its
//! difference to the one before (x and y in turn, in quarters of a unit, from 0): about 2 bytes a point of a pen.
//! Either form is read in either codec.

use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::coord::{Coord, Point};
use crate::limits::STROKE_POINTS;

/// The points of a stroke, coded. Between 1 and [`STROKE_POINTS`] of them.
///
/// Kept as the bytes they travel and are stored in: a board holds a hundred thousand of these.
#[derive(Clone, PartialEq, Eq)]
pub struct Points(Box<[u8]>);

/// How hard the pen was pressed at each point of a stroke, 0 to 255. Coded like [`Points`].
#[derive(Clone, PartialEq, Eq)]
pub struct Pressure(Box<[u8]>);

impl Points {
    #[must_use]
    pub fn encode(points: &[Point]) -> Self {
        let mut coded = Vec::with_capacity(points.len() * 2 + 4);
        let mut last = [0i64; 2];
        for point in points {
            for (axis, last) in last.iter_mut().enumerate() {
                let quarters = i64::from(point[axis].quarters());
                write_varint(&mut coded, zigzag(quarters - *last));
                *last = quarters;
            }
        }
        Self(coded.into())
    }

    #[must_use]
    pub fn decode(&self) -> Vec<Point> {
        decode_points(&self.0).unwrap_or_default()
    }

    /// # Errors
    /// When the bytes are cut off, a coordinate lies out of range, or there are no points or too many.
    pub fn from_coded(coded: &[u8]) -> Result<Self, &'static str> {
        // Coded anew, because a varint may be written longer than it needs to be.
        decode_points(coded).map(|points| Self::encode(&points))
    }

    #[must_use]
    pub fn coded(&self) -> &[u8] {
        &self.0
    }
}

fn decode_points(coded: &[u8]) -> Result<Vec<Point>, &'static str> {
    // No point is shorter than two bytes, so the capacity is warranted by what arrived.
    let mut points = Vec::with_capacity((coded.len() / 2).min(STROKE_POINTS));
    let mut rest = coded;
    let mut last = [0i64; 2];
    while !rest.is_empty() {
        if points.len() == STROKE_POINTS {
            return Err(TOO_MANY);
        }
        let mut point = [Coord::default(); 2];
        for axis in 0..2 {
            last[axis] += unzigzag(read_varint(&mut rest).ok_or("the coded points are cut off")?);
            point[axis] =
                Coord::from_quarters(last[axis]).ok_or("a coordinate is finite and within ±1000000")?;
        }
        points.push(point);
    }
    if points.is_empty() { Err("a stroke has at least one point") } else { Ok(points) }
}

const TOO_MANY: &str = "a stroke has at most 20000 points";
const _: () = assert!(STROKE_POINTS == 20_000);

impl Pressure {
    #[must_use]
    pub fn encode(pressures: &[u8]) -> Self {
        let mut coded = Vec::with_capacity(pressures.len());
        let mut last = 0;
        for &pressure in pressures {
            let pressure = i64::from(pressure);
            write_varint(&mut coded, zigzag(pressure - last));
            last = pressure;
        }
        Self(coded.into())
    }

    #[must_use]
    pub fn decode(&self) -> Vec<u8> {
        decode_pressure(&self.0).unwrap_or_default()
    }

    /// # Errors
    /// When the bytes are cut off, a pressure is not within 0 to 255, or there are too many.
    pub fn from_coded(coded: &[u8]) -> Result<Self, &'static str> {
        decode_pressure(coded).map(|pressures| Self::encode(&pressures))
    }

    #[must_use]
    pub fn coded(&self) -> &[u8] {
        &self.0
    }
}

fn decode_pressure(coded: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut pressures = Vec::with_capacity(coded.len().min(STROKE_POINTS));
    let mut rest = coded;
    let mut last = 0;
    while !rest.is_empty() {
        if pressures.len() == STROKE_POINTS {
            return Err(TOO_MANY);
        }
        last += unzigzag(read_varint(&mut rest).ok_or("the coded pressure is cut off")?);
        pressures.push(u8::try_from(last).map_err(|_| "a pressure is within 0 to 255")?);
    }
    Ok(pressures)
}

fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)).cast_unsigned()
}

fn unzigzag(n: u64) -> i64 {
    (n >> 1).cast_signed() ^ -(n & 1).cast_signed()
}

fn write_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// At most five bytes: no difference of two coordinates needs more, and the sum of the largest cannot overflow.
fn read_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut n = 0;
    for (i, &byte) in rest.iter().take(5).enumerate() {
        n |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            *rest = &rest[i + 1..];
            return Some(n);
        }
    }
    None
}

impl fmt::Debug for Points {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.decode()).finish()
    }
}

impl fmt::Debug for Pressure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.decode()).finish()
    }
}

impl Serialize for Points {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_seq(self.decode())
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl Serialize for Pressure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_seq(self.decode())
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

/// Reads a list of at most [`STROKE_POINTS`] items without trusting the announced length.
fn read_list<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(mut seq: A) -> Result<Vec<T>, A::Error> {
    let mut items = Vec::new();
    while let Some(item) = seq.next_element()? {
        if items.len() == STROKE_POINTS {
            return Err(A::Error::custom(TOO_MANY));
        }
        items.push(item);
    }
    Ok(items)
}

impl<'de> Deserialize<'de> for Points {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = Points;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of pairs of numbers, or coded points")
            }

            fn visit_bytes<E: Error>(self, coded: &[u8]) -> Result<Points, E> {
                Points::from_coded(coded).map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Points, A::Error> {
                let points: Vec<Point> = read_list(seq)?;
                if points.is_empty() {
                    return Err(A::Error::custom("a stroke has at least one point"));
                }
                Ok(Points::encode(&points))
            }
        }
        deserializer.deserialize_any(Form)
    }
}

impl<'de> Deserialize<'de> for Pressure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = Pressure;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of numbers from 0 to 255, or coded pressure")
            }

            fn visit_bytes<E: Error>(self, coded: &[u8]) -> Result<Pressure, E> {
                Pressure::from_coded(coded).map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Pressure, A::Error> {
                Ok(Pressure::encode(&read_list::<u8, A>(seq)?))
            }
        }
        deserializer.deserialize_any(Form)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn coord() -> impl Strategy<Value = Coord> {
        (-4_000_000i64..=4_000_000).prop_map(|quarters| Coord::from_quarters(quarters).unwrap())
    }

    proptest! {
        #[test]
        fn points_survive_coding(points in prop::collection::vec([coord(), coord()], 1..200)) {
            let coded = Points::encode(&points);
            prop_assert_eq!(coded.decode(), points);
            prop_assert_eq!(Points::from_coded(coded.coded()).unwrap(), coded);
        }

        #[test]
        fn pressure_survives_coding(pressures: Vec<u8>) {
            prop_assert_eq!(Pressure::encode(&pressures).decode(), pressures);
        }

        #[test]
        fn any_bytes_are_points_or_an_error(bytes: Vec<u8>) {
            if let Ok(points) = Points::from_coded(&bytes) {
                prop_assert!(!points.decode().is_empty());
            }
        }
    }

    #[test]
    fn a_million_points_are_refused() {
        assert_eq!(Points::from_coded(&vec![0; 2_000_000]), Err(TOO_MANY));
    }

    #[test]
    fn coordinates_beyond_the_plane_are_refused() {
        let mut coded = Vec::new();
        write_varint(&mut coded, zigzag(4_000_001));
        coded.push(0);
        assert!(Points::from_coded(&coded).is_err());
    }
}
