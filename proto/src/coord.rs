//! Coordinates: whole quarters of a unit, so that every process computes the same picture.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits::COORDINATE;

/// A coordinate in quarters of a unit (a unit is a CSS pixel at 100 %). On the wire it is a number of units.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Coord(i32);

/// A point in the plane of a board: x to the right, y down. On the wire a pair of numbers.
pub type Point = [Coord; 2];

const QUARTERS: f64 = 4.0;

impl Coord {
    /// Rounds to the nearest quarter. None if it is not finite or beyond [`COORDINATE`].
    #[must_use]
    pub fn from_units(units: f64) -> Option<Self> {
        #[expect(clippy::cast_possible_truncation, reason = "the range check keeps it within ± 4,000,000")]
        // NaN is within no range.
        (-COORDINATE..=COORDINATE).contains(&units).then(|| Self((units * QUARTERS).round() as i32))
    }

    /// None if it is beyond [`COORDINATE`].
    #[must_use]
    pub fn from_quarters(quarters: i64) -> Option<Self> {
        #[expect(clippy::cast_possible_truncation, reason = "a constant, 4,000,000")]
        const MAX: i64 = (COORDINATE * QUARTERS) as i64;
        let quarters = (-MAX..=MAX).contains(&quarters).then_some(quarters)?;
        i32::try_from(quarters).ok().map(Self)
    }

    #[must_use]
    pub fn quarters(self) -> i32 {
        self.0
    }

    #[must_use]
    pub fn units(self) -> f64 {
        f64::from(self.0) / QUARTERS
    }
}

impl fmt::Debug for Coord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.units(), f)
    }
}

impl Serialize for Coord {
    /// Whole units travel as integers: shorter in both codecs.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 % 4 == 0 {
            serializer.serialize_i32(self.0 / 4)
        } else {
            serializer.serialize_f64(self.units())
        }
    }
}

impl<'de> Deserialize<'de> for Coord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Units;
        impl Visitor<'_> for Units {
            type Value = Coord;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a finite coordinate within ±{COORDINATE}")
            }

            fn visit_f64<E: Error>(self, units: f64) -> Result<Coord, E> {
                Coord::from_units(units)
                    .ok_or_else(|| E::custom("a coordinate is finite and within ±1000000"))
            }

            fn visit_i64<E: Error>(self, units: i64) -> Result<Coord, E> {
                self.visit_f64(units as f64)
            }

            fn visit_u64<E: Error>(self, units: u64) -> Result<Coord, E> {
                self.visit_f64(units as f64)
            }
        }
        // `any`, because MessagePack tells integers from floats and either is a coordinate.
        deserializer.deserialize_any(Units)
    }
}
