//! Whether an op that came back is the op that was submitted. A server may drop points of a stroke; nothing else.

use enfilade_proto::board::{Area, Change, Stroke};
use enfilade_proto::{Op, Points};

#[must_use]
pub(super) fn is_faithful(submitted: &Op, shown: &Op) -> bool {
    match (submitted, shown) {
        (Op::AddStroke(submitted), Op::AddStroke(shown)) => {
            let kept = Stroke {
                points: submitted.points.clone(),
                pressure: submitted.pressure.clone(),
                ..shown.clone()
            };
            *submitted == kept
                && submitted.pressure.is_some() == shown.pressure.is_some()
                && is_thinned(&submitted.points, &shown.points)
        }
        (Op::Change(submitted), Op::Change(shown)) => {
            let kept = Change {
                points: submitted.points.clone(),
                pressure: submitted.pressure.clone(),
                ..shown.clone()
            };
            *submitted == kept
                && submitted.pressure.is_some() == shown.pressure.is_some()
                && match (&submitted.points, &shown.points) {
                    (Some(submitted), Some(shown)) => is_thinned(submitted, shown),
                    (None, None) => true,
                    _ => false,
                }
        }
        (Op::AddRectangle(submitted), Op::AddRectangle(shown)) => same_area(submitted, shown),
        (Op::AddEllipse(submitted), Op::AddEllipse(shown)) => same_area(submitted, shown),
        (submitted, shown) => submitted == shown,
    }
}

/// There are two ways to say that an area is not filled.
fn same_area(submitted: &Area, shown: &Area) -> bool {
    let plain = |area: &Area| Area { fill: area.fill.filter(|fill| fill.rgba() != 0), ..area.clone() };
    plain(submitted) == plain(shown)
}

/// Some of the points, in their order, the ends among them.
fn is_thinned(submitted: &Points, shown: &Points) -> bool {
    if submitted == shown {
        return true;
    }
    let (submitted, shown) = (submitted.decode(), shown.decode());
    let mut rest = submitted.iter();
    let in_order = shown.iter().all(|point| rest.any(|candidate| candidate == point));
    in_order && submitted.first() == shown.first() && submitted.last() == shown.last()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stroke(color: &str, points: &serde_json::Value) -> Op {
        let data = json!({"element":"a","color":color,"width":1,"points":points});
        serde_json::from_value(json!({"type":"add_stroke","data":data})).unwrap()
    }

    #[test]
    fn points_may_be_dropped_but_not_moved_and_not_at_the_ends() {
        let whole = stroke("#000000", &json!([[0, 0], [1, 1], [2, 2], [3, 0]]));
        for (points, faithful) in [
            (json!([[0, 0], [1, 1], [2, 2], [3, 0]]), true),
            (json!([[0, 0], [2, 2], [3, 0]]), true),
            (json!([[0, 0], [3, 0]]), true),
            (json!([[0, 0], [2, 2], [1, 1], [3, 0]]), false),
            (json!([[0, 0], [2, 2]]), false),
            (json!([[1, 1], [3, 0]]), false),
            (json!([[0, 0], [2, 2.25], [3, 0]]), false),
            (json!([[0, 0], [0, 0], [3, 0]]), false),
        ] {
            assert_eq!(is_faithful(&whole, &stroke("#000000", &points)), faithful, "{points}");
        }
    }

    #[test]
    fn no_fill_may_be_said_in_either_way() {
        let area = |fill| {
            let data = json!({"element":"a","color":"#000000","width":1,"bounds":[0,0,1,1],"fill":fill});
            serde_json::from_value::<Op>(json!({"type":"add_ellipse","data":data})).unwrap()
        };
        assert!(is_faithful(&area(json!("#00000000")), &area(json!(null))));
        assert!(!is_faithful(&area(json!("#00000001")), &area(json!(null))));
    }

    #[test]
    fn nothing_but_points_may_change() {
        let points = json!([[0, 0], [1, 1]]);
        assert!(!is_faithful(&stroke("#000000", &points), &stroke("#000001", &points)));
        let clear = serde_json::from_value(json!({"type":"clear","data":{}})).unwrap();
        assert!(!is_faithful(&stroke("#000000", &points), &clear));
        assert!(is_faithful(&clear, &clear));
    }
}
