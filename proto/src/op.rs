//! Ops: the durable changes to a room. `{"type": …, "data": {…}}` in both codecs.

use serde::{Deserialize, Serialize};

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
