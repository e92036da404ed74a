//! A session that measures how long rooms stand still: in every room one writer who submits an op at a steady rate, and
//! people who look on. The writer replaces one line again and again, so that the board stays small however long it takes.

use std::time::Duration;

use enfilade_proto::{DisplayName, Op, RoomKind};
use serde_json::json;

use crate::clock::{Micros, SECOND, micros};
use crate::session::{Event, Header, MAX_EVENTS, Recorded, VERSION, What};

#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// Ops per second and room. A standstill is known to within the time between two of them.
    pub rate: f64,
    pub duration: Duration,
    /// Who only look on, per room.
    pub watchers: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProbe {
    #[error("a probe has 0.1 to 100 ops per second: a connection may not send more")]
    Rate,
    #[error("that would be more than {MAX_EVENTS} ops")]
    TooLong,
    #[error("that is not a line: {0}")]
    Line(&'static str),
}

impl Probe {
    /// # Errors
    /// When it cannot be played.
    pub fn session(&self) -> Result<Recorded, InvalidProbe> {
        if !(0.1..=100.0).contains(&self.rate) {
            return Err(InvalidProbe::Rate);
        }
        let length = micros(self.duration);
        let count = (length as f64 / SECOND as f64 * self.rate) as u64;
        if count + u64::from(self.watchers) >= MAX_EVENTS as u64 {
            return Err(InvalidProbe::TooLong);
        }
        let people = self.watchers + 1;
        let join = |person| {
            let name = if person == 0 { "Probe".to_owned() } else { format!("Watcher {person}") };
            let name = DisplayName::new(&name).map_err(|_| InvalidProbe::Line("a name"))?;
            Ok(Event { at: 0, what: What::Join { person, name } })
        };
        let op = |n: u64| {
            let at = (n as f64 / self.rate * SECOND as f64) as Micros;
            Ok(Event { at, what: What::Op { person: 0, op: line(n)? } })
        };
        let events = (0..people).map(join).chain((0..count).map(op)).collect::<Result<_, InvalidProbe>>()?;
        let header = Header {
            version: VERSION,
            kind: RoomKind::Board,
            title: Some("A probe".into()),
            people,
            duration: self.duration.as_secs_f64(),
            final_hash: None,
            licence: None,
            source: None,
        };
        Ok(Recorded { header, events, skipped: 0 })
    }
}

fn line(n: u64) -> Result<Op, InvalidProbe> {
    let data = json!({"element":"probe","color":"#1a1a1a","width":2,"from":[0,0],"to":[n % 1000,1]});
    serde_json::from_value(json!({"type":"add_line","data":data})).map_err(|_| InvalidProbe::Line("an op"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROBE: Probe = Probe { rate: 50.0, duration: Duration::from_secs(2), watchers: 2 };

    #[test]
    fn a_probe_writes_at_a_steady_rate() {
        let session = PROBE.session().unwrap();
        let ops: Vec<Micros> =
            session.events.iter().filter(|e| matches!(e.what, What::Op { .. })).map(|e| e.at).collect();
        assert_eq!((session.header.people, session.events.len(), ops.len()), (3, 103, 100));
        assert!(ops.windows(2).all(|pair| pair[1] - pair[0] == 20_000), "{ops:?}");
    }

    #[test]
    fn what_no_server_takes_is_refused() {
        let too_fast = Probe { rate: 1_000.0, ..PROBE };
        assert_eq!(too_fast.session().map(|_| ()), Err(InvalidProbe::Rate));
        let too_long = Probe { rate: 100.0, duration: Duration::from_secs(500_000), ..PROBE };
        assert_eq!(too_long.session().map(|_| ()), Err(InvalidProbe::TooLong));
    }
}
