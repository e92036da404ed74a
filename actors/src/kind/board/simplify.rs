//! Simplification of finished strokes: Ramer–Douglas–Peucker over position and pressure.
//!
//! Of a pen's samples a fifth or less is needed to draw the same line. A point is dropped when it lies within
//! [`TOLERANCE`] of the line between its kept neighbours, and its pressure within [`PRESSURE_TOLERANCE`] of theirs.

use enfilade_proto::{Point, Points, Pressure};

/// In units. Less than half a pixel at 100 %: not to be seen, and about the noise of a pen.
pub(super) const TOLERANCE: f64 = 0.35;

/// In steps of 1/255: less than half a pixel of the width of a broad pen.
const PRESSURE_TOLERANCE: f64 = 12.0;

/// Long strokes are simplified in pieces, because the worst case is quadratic and strokes come from strangers.
const PIECE: usize = 512;

/// Simplifies a stroke.
///
/// # Errors
/// When there are not as many pressures as points.
pub(super) fn stroke(
    points: &Points,
    pressure: Option<&Pressure>,
) -> Result<(Points, Option<Pressure>), &'static str> {
    let points = points.decode();
    let pressure = pressure.map(Pressure::decode);
    if pressure.as_ref().is_some_and(|pressure| pressure.len() != points.len()) {
        return Err("a stroke has as many pressures as points");
    }
    let kept = keep(&points, pressure.as_deref());
    let points: Vec<Point> = kept.iter().map(|&i| points[i]).collect();
    let pressure =
        pressure.map(|pressure| Pressure::encode(&kept.iter().map(|&i| pressure[i]).collect::<Vec<_>>()));
    Ok((Points::encode(&points), pressure))
}

/// The indices of the points that stay, in order; the first and the last always do.
fn keep(points: &[Point], pressure: Option<&[u8]>) -> Vec<usize> {
    let last = points.len().saturating_sub(1);
    let mut kept: Vec<usize> = Vec::new();
    let mut start = 0;
    while start < last {
        let end = (start + PIECE).min(last);
        keep_between(points, pressure, start, end, &mut kept);
        start = end;
    }
    // A tap, or a stroke that never left its first point, is one point.
    if last > 0 && kept.len() == 1 && points[kept[0]] == points[last] && pressure.is_none() {
        return kept;
    }
    kept.push(last);
    kept
}

/// Adds `start` and what must stay between it and `end`, in order, without `end`.
fn keep_between(points: &[Point], pressure: Option<&[u8]>, start: usize, end: usize, kept: &mut Vec<usize>) {
    let mut open = vec![(start, end)];
    while let Some((from, to)) = open.pop() {
        match farthest(points, pressure, from, to) {
            Some(split) => {
                // The first half is worked on first, so that what is kept comes out in order.
                open.push((split, to));
                open.push((from, split));
            }
            None => kept.push(from),
        }
    }
}

/// The point between two that is farthest from their line, in tolerances, if any is beyond one.
fn farthest(points: &[Point], pressure: Option<&[u8]>, from: usize, to: usize) -> Option<usize> {
    let [ax, ay] = points[from].map(enfilade_proto::Coord::units);
    let [bx, by] = points[to].map(enfilade_proto::Coord::units);
    let (dx, dy) = (bx - ax, by - ay);
    let length2 = dx * dx + dy * dy;
    let mut worst = (1.0, None);
    for i in from + 1..to {
        let [x, y] = points[i].map(enfilade_proto::Coord::units);
        let along =
            if length2 > 0.0 { (((x - ax) * dx + (y - ay) * dy) / length2).clamp(0.0, 1.0) } else { 0.0 };
        let mut error = (x - ax - along * dx).hypot(y - ay - along * dy) / TOLERANCE;
        if let Some(pressure) = pressure {
            let (a, b, p) = (f64::from(pressure[from]), f64::from(pressure[to]), f64::from(pressure[i]));
            error = error.max((p - a - along * (b - a)).abs() / PRESSURE_TOLERANCE);
        }
        if error > worst.0 {
            worst = (error, Some(i));
        }
    }
    worst.1
}

#[cfg(test)]
mod tests {
    use enfilade_proto::Coord;
    use proptest::prelude::*;

    use super::*;

    fn point(x: f64, y: f64) -> Point {
        [Coord::from_units(x).unwrap(), Coord::from_units(y).unwrap()]
    }

    #[test]
    fn a_straight_line_is_two_points() {
        let points: Vec<Point> = (0..2_000).map(|i| point(f64::from(i), f64::from(i) / 2.0)).collect();
        let (points, _) = stroke(&Points::encode(&points), None).unwrap();
        // The ends, and one where each piece of a long stroke meets the next.
        assert_eq!(points.decode().len(), 2 + 2_000 / PIECE);
    }

    #[test]
    fn a_tap_is_one_point() {
        let (points, _) = stroke(&Points::encode(&[point(3.0, 4.0); 20]), None).unwrap();
        assert_eq!(points.decode(), [point(3.0, 4.0)]);
        let (points, _) = stroke(&Points::encode(&[point(3.0, 4.0)]), None).unwrap();
        assert_eq!(points.decode(), [point(3.0, 4.0)]);
    }

    #[test]
    fn pressure_keeps_points_that_the_line_would_drop() {
        let points: Vec<Point> = (0..11).map(|i| point(f64::from(i), 0.0)).collect();
        let pressure = [100, 100, 100, 100, 100, 250, 100, 100, 100, 100, 100];
        let (points, pressure) =
            stroke(&Points::encode(&points), Some(&Pressure::encode(&pressure))).unwrap();
        assert!(points.decode().contains(&point(5.0, 0.0)));
        assert!(pressure.unwrap().decode().contains(&250));
    }

    #[test]
    fn pressure_must_match_the_points() {
        let points = Points::encode(&[point(0.0, 0.0), point(1.0, 0.0)]);
        assert!(stroke(&points, Some(&Pressure::encode(&[1]))).is_err());
    }

    proptest! {
        #[test]
        fn every_dropped_point_lies_near_the_line_that_stays(
            steps in prop::collection::vec((-20i64..20, -20i64..20), 2..700)
        ) {
            let mut at = [0i64; 2];
            let points: Vec<Point> = steps.iter().map(|(x, y)| {
                at = [at[0] + x, at[1] + y];
                at.map(|quarters| Coord::from_quarters(quarters).unwrap())
            }).collect();
            let kept = keep(&points, None);
            prop_assert_eq!(kept[0], 0);
            prop_assert!(kept.windows(2).all(|pair| pair[0] < pair[1]));
            for pair in kept.windows(2) {
                prop_assert_eq!(farthest(&points, None, pair[0], pair[1]), None);
            }
        }
    }
}
