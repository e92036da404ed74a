//! A recorded session again and again, as long as it is wanted: each time with elements of its own.

use enfilade_loadtest::clock::{MILLISECOND, Micros, SECOND};
use enfilade_loadtest::session::{Event, Recorded, What};
use enfilade_proto::Op;
use serde_json::Value;

/// Between the end of the session and its next beginning.
const PAUSE: Micros = 100 * MILLISECOND;

#[derive(Debug, thiserror::Error)]
pub enum RepeatError {
    #[error("a session with a scene cannot be repeated: what is there before would be there twice")]
    Scene,
    #[error("the session has no ops")]
    Empty,
    #[error("an op cannot be written: {0}")]
    Op(#[from] serde_json::Error),
}

/// The session's events, repeated until so much time is filled.
///
/// # Errors
/// When the session has a scene, or nothing that can be repeated.
pub fn repeat(session: &Recorded, seconds: f64) -> Result<Vec<Event>, RepeatError> {
    let end = (seconds * SECOND as f64) as Micros;
    let length = session.events.last().map_or(0, |event| event.at) + PAUSE;
    let ops = session.events.iter().filter(|event| event.what.op().is_some()).count() as u64;
    if ops == 0 {
        return Err(RepeatError::Empty);
    }
    let mut present = vec![false; session.header.people as usize];
    let mut events = Vec::new();
    for round in 0.. {
        for event in &session.events {
            let at = round * length + event.at;
            if at > end {
                return Ok(events);
            }
            // Who is still there from the round before does not come in again.
            let what = match &event.what {
                What::Scene(_) => return Err(RepeatError::Scene),
                What::Join { person, .. } if std::mem::replace(&mut present[*person as usize], true) => {
                    continue;
                }
                What::Leave { person } if !std::mem::replace(&mut present[*person as usize], false) => {
                    continue;
                }
                What::Op { person, op } => What::Op { person: *person, op: rename(op, round, ops)? },
                What::Signal { person, key, body } => {
                    let mut body = body.clone();
                    walk(&mut body, round, ops);
                    What::Signal { person: *person, key: key.clone(), body }
                }
                other => other.clone(),
            };
            events.push(Event { at, what });
        }
    }
    Ok(events)
}

fn rename(op: &Op, round: u64, ops: u64) -> Result<Op, serde_json::Error> {
    let mut value = serde_json::to_value(op)?;
    walk(&mut value, round, ops);
    serde_json::from_value(value)
}

/// Elements get the round's names; numbers of ops are those of the round.
fn walk(value: &mut Value, round: u64, ops: u64) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), value) {
                    ("element", Value::String(element)) => *element = format!("{element}r{round}"),
                    ("elements", Value::Array(elements)) => {
                        for element in elements {
                            if let Value::String(element) = element {
                                *element = format!("{element}r{round}");
                            }
                        }
                    }
                    ("deleted_by", number) => {
                        *number = number.as_u64().map_or(Value::Null, |number| (number + round * ops).into());
                    }
                    (_, value) => walk(value, round, ops),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| walk(value, round, ops)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use enfilade_loadtest::session::read_session;

    use super::*;

    const SESSION: &str = r##"{"enfilade_session":1,"kind":"board","people":2,"duration":1}
[0,"join",0,{"name":"Ada"}]
[0,"join",1,{"name":"Bob"}]
[0.1,"signal",0,{"key":"stroke.0","body":{"element":"a","points":[80,80]}}]
[0.2,"op",0,{"type":"add_stroke","data":{"element":"a","color":"#1a1a1a","width":4,"points":[[10,10],[11.5,12]]}}]
[0.2,"op",1,{"type":"delete","data":{"elements":["a"]}}]
[0.3,"op",1,{"type":"restore","data":{"deleted_by":2}}]
[0.2,"leave",1]
"##;

    fn json(what: &What) -> Value {
        match what {
            What::Op { op, .. } => serde_json::to_value(op).unwrap()["data"].clone(),
            What::Signal { body, .. } => body.clone(),
            _ => Value::Null,
        }
    }

    #[test]
    fn every_round_has_elements_and_op_numbers_of_its_own() {
        let session = read_session(SESSION.as_bytes()).unwrap();
        let events = repeat(&session, 2.15).unwrap();
        // Ada stays for the second round; Bob went and comes again.
        assert_eq!(events.len(), 7 + 6);
        let second = &events[7..];
        assert!(matches!(second[0].what, What::Join { person: 1, .. }));
        assert_eq!(second[0].at, 1_100 * MILLISECOND);
        assert_eq!(json(&second[1].what)["element"], "ar1");
        assert_eq!(json(&second[2].what)["element"], "ar1");
        assert_eq!(json(&second[3].what)["elements"][0], "ar1");
        assert_eq!(json(&second[4].what)["deleted_by"], 5);
        assert_eq!(json(&events[3].what)["element"], "ar0");
    }

    #[test]
    fn what_cannot_be_repeated_is_refused() {
        let scene = SESSION
            .replace("[0,\"join\",0", "[0,\"scene\",null,{\"type\":\"clear\",\"data\":{}}]\n[0,\"join\",0");
        let scene = read_session(scene.as_bytes()).unwrap();
        assert!(matches!(repeat(&scene, 1.0), Err(RepeatError::Scene)));
        let empty = SESSION.lines().take(2).collect::<Vec<_>>().join("\n");
        assert!(matches!(repeat(&read_session(empty.as_bytes()).unwrap(), 1.0), Err(RepeatError::Empty)));
    }
}
