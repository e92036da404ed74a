//! Ops: the durable changes to a room. `{"type": …, "data": {…}}` in both codecs.

use serde::{Deserialize, Serialize};

use crate::ElementId;
use crate::board::{
    Area, Change, Clear, Elements, Line, Move, Note, Reorder, Restore, Restyle, Stroke, Writing,
};

/// A durable change to a room of any kind. A room refuses what is not of its kind.
///
/// The names are the protocol: a variant may be added, none may be renamed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum Op {
    #[serde(rename = "add_stroke")]
    AddStroke(Stroke),
    #[serde(rename = "add_line")]
    AddLine(Line),
    #[serde(rename = "add_arrow")]
    AddArrow(Line),
    #[serde(rename = "add_rectangle")]
    AddRectangle(Area),
    #[serde(rename = "add_ellipse")]
    AddEllipse(Area),
    #[serde(rename = "add_text")]
    AddText(Writing),
    #[serde(rename = "add_note")]
    AddNote(Note),
    #[serde(rename = "change")]
    Change(Change),
    #[serde(rename = "move")]
    Move(Move),
    #[serde(rename = "restyle")]
    Restyle(Restyle),
    #[serde(rename = "reorder")]
    Reorder(Reorder),
    #[serde(rename = "delete")]
    Delete(Elements),
    #[serde(rename = "restore")]
    Restore(Restore),
    #[serde(rename = "clear")]
    Clear(Clear),
    /// Deleted elements that can no longer be restored. Only the room itself does this, to stay within its bounds.
    #[serde(rename = "forget")]
    Forget(Elements),
}

/// The element of an op that adds one, by reference or by mutable reference as the op is.
macro_rules! added_element {
    ($op:expr) => {
        match $op {
            Op::AddStroke(Stroke { element, .. })
            | Op::AddLine(Line { element, .. })
            | Op::AddArrow(Line { element, .. })
            | Op::AddRectangle(Area { element, .. })
            | Op::AddEllipse(Area { element, .. })
            | Op::AddText(Writing { element, .. })
            | Op::AddNote(Note { element, .. }) => Some(element),
            Op::Change(_)
            | Op::Move(_)
            | Op::Restyle(_)
            | Op::Reorder(_)
            | Op::Delete(_)
            | Op::Restore(_)
            | Op::Clear(_)
            | Op::Forget(_) => None,
        }
    };
}

impl Op {
    /// The id of the element that this op adds to a board, in place of whatever had it. None of an op that adds nothing.
    #[must_use]
    pub fn added_element(&self) -> Option<&ElementId> {
        added_element!(self)
    }

    /// The same, to be replaced.
    #[must_use]
    pub fn added_element_mut(&mut self) -> Option<&mut ElementId> {
        added_element!(self)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Every op of the vectors.
    fn ops() -> Vec<Value> {
        let vectors: Vec<Value> = serde_json::from_str(include_str!("../vectors/client.json")).unwrap();
        let op = |vector: &Value| vector["json"]["data"].get("op").cloned();
        vectors.iter().filter_map(op).collect()
    }

    #[test]
    fn the_ops_that_add_an_element_say_which() {
        let mut adding = 0;
        for json in ops() {
            let mut op: Op = serde_json::from_value(json.clone()).unwrap();
            let kind = json["type"].as_str().unwrap();
            let named = json["data"]["element"].as_str().filter(|_| kind.starts_with("add_"));
            assert_eq!(op.added_element().map(ElementId::as_str), named, "{json}");
            if let Some(element) = op.added_element_mut() {
                adding += 1;
                *element = ElementId::new("another").unwrap();
                let mut renamed = json;
                renamed["data"]["element"] = "another".into();
                assert_eq!(op, serde_json::from_value(renamed).unwrap());
            }
        }
        assert!(adding >= 7, "the vectors have every op");
    }
}
