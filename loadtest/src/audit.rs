//! The audit of a room's record: what was acknowledged stands in it, once, where it was said to stand, and the record
//! makes the board that the server shows.

use std::collections::{HashMap, HashSet};

use enfilade_proto::{ClientId, ElementId, LoggedOp, Op, OpId, Seq, Snapshot};
use serde::Serialize;

use crate::oracle::{Kind, Violations};
use crate::replica::{Replica, StateHash};

/// Reads a room's history page by page.
#[derive(Debug)]
pub struct Audit {
    promised: HashMap<(ClientId, OpId), Seq>,
    found: HashSet<(ClientId, OpId)>,
    finished: HashSet<ElementId>,
    applied: Seq,
    replica: Replica,
    shown: Option<(Seq, StateHash)>,
    violations: Violations,
}

#[derive(Clone, Debug, Serialize)]
pub struct Findings {
    pub ops: u64,
    pub acknowledged: usize,
    pub state_hash: StateHash,
    pub violations: Violations,
}

impl Audit {
    /// `promised` are the acknowledgements, `shown` the board as the server shows it.
    pub fn new(promised: impl IntoIterator<Item = (ClientId, OpId, Seq)>, shown: &Snapshot) -> Self {
        let mut violations = Violations::default();
        let mut kept = HashMap::new();
        for (client, op_id, seq) in promised {
            let before = kept.insert((client, op_id), seq).filter(|before| *before != seq);
            if let Some(before) = before {
                violations.add(Kind::WrongSeq, || {
                    format!("op {op_id} of {client} was accepted at {before} and {seq}")
                });
            }
        }
        let elements = shown.elements.as_ref().map_or(&[][..], |elements| &elements.0);
        let mut audit = Self {
            promised: kept,
            found: HashSet::new(),
            finished: HashSet::new(),
            applied: Seq(0),
            replica: Replica::default(),
            shown: Some((shown.seq, StateHash::of(elements))),
            violations,
        };
        audit.compare();
        audit
    }

    /// How far the record was read.
    #[must_use]
    pub fn applied(&self) -> Seq {
        self.applied
    }

    /// The next stretch of the record. False if there is nothing more to read: it is at its end, or leads nowhere.
    pub fn page(&mut self, first: Seq, ops: &[LoggedOp]) -> bool {
        if ops.is_empty() {
            return false;
        }
        if first != self.applied.next() {
            let applied = self.applied;
            self.violations.add(Kind::Gap, || format!("after {applied} the record goes on at {first}"));
            return false;
        }
        ops.iter().for_each(|op| self.op(op));
        true
    }

    fn op(&mut self, op: &LoggedOp) {
        self.applied = self.applied.next();
        let seq = self.applied;
        self.replica.apply(seq, op.author, &op.op);
        self.compare();
        if op.client == ClientId::ROOM {
            return self.own(op);
        }
        if let Op::AddStroke(stroke) = &op.op {
            self.finished.insert(stroke.element.clone());
        }
        let name = (op.client, op.op_id);
        if !self.found.insert(name) {
            self.violations
                .add(Kind::Doubled, || format!("op {} of {} stands again at {seq}", name.1, name.0));
        }
        if let Some(promised) = self.promised.get(&name).filter(|promised| **promised != seq) {
            self.violations.add(Kind::WrongSeq, || {
                format!("op {} of {}: accepted at {promised}, stands at {seq}", name.1, name.0)
            });
        }
    }

    /// The room adds what is left of an abandoned stroke, never what its author had finished.
    fn own(&mut self, op: &LoggedOp) {
        if let Op::AddStroke(stroke) = &op.op
            && self.finished.contains(&stroke.element)
        {
            let (seq, element) = (self.applied, &stroke.element);
            self.violations
                .add(Kind::Overwritten, || format!("at {seq} the room replaced the finished {element}"));
        }
    }

    fn compare(&mut self) {
        let Some((seq, shown)) = self.shown.filter(|(seq, _)| *seq == self.applied) else { return };
        self.shown = None;
        let made = self.replica.hash();
        if shown != made {
            self.violations
                .add(Kind::Snapshot, || format!("the board at {seq} is {shown}, but the ops make {made}"));
        }
    }

    #[must_use]
    pub fn finish(mut self) -> Findings {
        for ((client, op_id), seq) in &self.promised {
            if !self.found.contains(&(*client, *op_id)) {
                self.violations.add(Kind::LostOp, || {
                    format!("op {op_id} of {client} was accepted at {seq} and is not there")
                });
            }
        }
        if let Some((seq, _)) = self.shown {
            let applied = self.applied;
            self.violations
                .add(Kind::Snapshot, || format!("the board is at {seq}, the record ends at {applied}"));
        }
        Findings {
            ops: self.applied.0,
            acknowledged: self.promised.len(),
            state_hash: self.replica.hash(),
            violations: self.violations,
        }
    }
}

#[cfg(test)]
mod tests {
    use enfilade_proto::UserId;
    use enfilade_proto::board::AllElements;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    const CLIENT: ClientId = ClientId(Uuid::from_u128(9));

    fn record(count: u64) -> Vec<LoggedOp> {
        let op = |n: u64| {
            let data = json!({"element":format!("e{n}"),"color":"#000000","width":1,"from":[0,0],"to":[n,1]});
            let op: Op = serde_json::from_value(json!({"type":"add_line","data":data})).unwrap();
            LoggedOp { author: UserId(Uuid::from_u128(1)), client: CLIENT, op_id: OpId(n), at: 0, op }
        };
        (1..=count).map(op).collect()
    }

    fn shown(record: &[LoggedOp]) -> Snapshot {
        let mut replica = Replica::default();
        for (i, op) in record.iter().enumerate() {
            replica.apply(Seq(i as u64 + 1), op.author, &op.op);
        }
        let elements = replica.pile().into_iter().cloned().collect();
        Snapshot { seq: Seq(record.len() as u64), elements: Some(AllElements(elements)) }
    }

    fn promises(record: &[LoggedOp]) -> Vec<(ClientId, OpId, Seq)> {
        record.iter().enumerate().map(|(i, op)| (op.client, op.op_id, Seq(i as u64 + 1))).collect()
    }

    fn findings(
        record: &[LoggedOp],
        promised: Vec<(ClientId, OpId, Seq)>,
        shown: &Snapshot,
    ) -> Vec<(Kind, u64)> {
        let mut audit = Audit::new(promised, shown);
        for page in record.chunks(3) {
            assert!(audit.page(audit.applied().next(), page));
        }
        assert!(!audit.page(audit.applied().next(), &[]));
        audit.finish().violations.counts.into_iter().collect()
    }

    #[test]
    fn a_true_record_is_found_true() {
        let record = record(10);
        assert_eq!(findings(&record, promises(&record), &shown(&record)), []);
        assert_eq!(
            findings(&record, promises(&record[..4]), &shown(&record[..7])),
            [],
            "read while it grows"
        );
        assert_eq!(findings(&[], vec![], &shown(&[])), []);
    }

    #[test]
    fn what_was_promised_and_is_missing_is_found() {
        let record = record(10);
        assert_eq!(findings(&record[..9], promises(&record), &shown(&record[..9])), [(Kind::LostOp, 1)]);
    }

    #[test]
    fn what_stands_elsewhere_or_twice_is_found() {
        let mut record = record(10);
        let promised = promises(&record);
        record.swap(3, 7);
        assert_eq!(findings(&record, promised.clone(), &shown(&record)), [(Kind::WrongSeq, 2)]);
        record.swap(3, 7);
        record.push(record[2].clone());
        assert_eq!(findings(&record, promised, &shown(&record)), [(Kind::Doubled, 1), (Kind::WrongSeq, 1)]);
    }

    #[test]
    fn two_answers_to_one_op_are_found() {
        let record = record(2);
        let mut promised = promises(&record);
        promised.push((CLIENT, OpId(2), Seq(5)));
        assert!(findings(&record, promised, &shown(&record)).contains(&(Kind::WrongSeq, 2)));
    }

    #[test]
    fn a_board_that_the_record_does_not_make_is_found() {
        let record = record(4);
        let mut board = shown(&record);
        board.elements.as_mut().unwrap().0.pop();
        assert_eq!(findings(&record, promises(&record), &board), [(Kind::Snapshot, 1)]);
        let ahead = Snapshot { seq: Seq(5), ..shown(&record) };
        assert_eq!(findings(&record, promises(&record), &ahead), [(Kind::Snapshot, 1)]);
    }

    #[test]
    fn a_room_that_replaced_a_finished_stroke_is_found() {
        let data = json!({"element":"s","color":"#000000","width":1,"points":[[0,0],[9,9]]});
        let op: Op = serde_json::from_value(json!({"type":"add_stroke","data":data})).unwrap();
        let finished = LoggedOp { op, ..record(1)[0].clone() };
        let own = LoggedOp { client: ClientId::ROOM, op_id: OpId(0), ..finished.clone() };
        let record = [own.clone(), finished, own];
        assert_eq!(
            findings(&record, vec![], &shown(&record)),
            [(Kind::Overwritten, 1)],
            "only the second is wrong"
        );
    }

    #[test]
    fn a_gap_in_the_record_is_found() {
        let record = record(4);
        let mut audit = Audit::new([], &shown(&record));
        assert!(!audit.page(Seq(2), &record[1..]));
        assert_eq!(audit.finish().violations.count(Kind::Gap), 1);
    }
}
