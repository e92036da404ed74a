//! What the load tester is asked to do, as data.
//!
//! Pure.

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    Node,
    /// One thread, one `write` for each message and member.
    Floor,
    /// The same, but one `write` for all that came in one round of epoll.
    Coalescing,
}

/// A server, and whether it has a core of its own, and the load tester another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    pub server: Server,
    pub pinned: bool,
}

/// The core of a pinned server, and that of its load tester.
pub const SERVERS_CORE: usize = 0;
pub const TESTERS_CORE: usize = 1;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verb {
    Run,
    /// For the highest rate that holds, from this one on.
    Search {
        start: f64,
    },
}

/// One command of the load tester.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    pub verb: Verb,
    /// The kind of scenario.
    pub kind: &'static str,
    pub rooms: u32,
    pub members: u32,
    /// Messages a second; None: as many as is usual.
    pub rate: Option<f64>,
    pub warm_up_seconds: u32,
    pub measure_seconds: u32,
    /// People who are signed in, instead of guests.
    pub signed_in: bool,
    pub flags: Vec<&'static str>,
}

/// How near a search comes.
const PRECISION: &str = "0.1";
/// Where a search begins, beside what the last one found. Below it, so that it holds most likely; and no step of a search
/// away, or it would try the same rates again and find the same, however much what holds has wandered between them.
const BELOW: f64 = 0.87;

impl Load {
    #[must_use]
    pub fn run(kind: &'static str, rooms: u32, members: u32) -> Self {
        Self {
            verb: Verb::Run,
            kind,
            rooms,
            members,
            rate: None,
            warm_up_seconds: 1,
            measure_seconds: 6,
            signed_in: false,
            flags: Vec::new(),
        }
    }

    #[must_use]
    pub fn search(kind: &'static str, rooms: u32, members: u32, start: f64) -> Self {
        Self { verb: Verb::Search { start }, measure_seconds: 3, ..Self::run(kind, rooms, members) }
    }

    #[must_use]
    pub fn rate(self, rate: f64) -> Self {
        Self { rate: Some(rate), ..self }
    }

    #[must_use]
    pub fn seconds(self, measure_seconds: u32) -> Self {
        Self { measure_seconds, ..self }
    }

    #[must_use]
    pub fn flags(self, flags: &[&'static str]) -> Self {
        Self { flags: flags.to_vec(), ..self }
    }

    #[must_use]
    pub fn signed_in(self) -> Self {
        Self { signed_in: true, ..self }
    }

    /// The same for a search that found something the last time; a run is what it is.
    #[must_use]
    pub fn after(self, found: f64) -> Self {
        let verb = match self.verb {
            Verb::Search { .. } => Verb::Search { start: found * BELOW },
            Verb::Run => Verb::Run,
        };
        Self { verb, ..self }
    }

    /// As little of the same as shows that it works.
    #[must_use]
    pub fn quick(self) -> Self {
        Self {
            rooms: self.rooms.min(4),
            members: self.members.min(20),
            rate: self.rate.map(|rate| rate.min(50.0)),
            warm_up_seconds: self.warm_up_seconds.min(1),
            measure_seconds: self.measure_seconds.min(2),
            ..self
        }
    }

    /// How often somebody comes into a room.
    #[must_use]
    pub fn joins(&self) -> u64 {
        self.connections() * if self.kind == "storm" { 2 } else { 1 }
    }

    #[must_use]
    pub fn connections(&self) -> u64 {
        u64::from(self.rooms) * u64::from(self.members)
    }

    /// What is typed, without where the server is and where the result goes.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let verb = if self.verb == Verb::Run { "run" } else { "search" };
        let mut arguments = vec![verb.to_owned(), self.kind.to_owned()];
        let mut set = |name: &str, value: String| arguments.extend([format!("--{name}"), value]);
        set("rooms", self.rooms.to_string());
        set("members", self.members.to_string());
        if let Some(rate) = self.rate {
            set("rate", digits(rate));
        }
        set("warm-up", format!("{}s", self.warm_up_seconds));
        set("measure", format!("{}s", self.measure_seconds));
        if let Verb::Search { start } = self.verb {
            set("start", digits(start));
            set("precision", PRECISION.to_owned());
            set("confirm", "1".to_owned());
        }
        arguments.extend(self.flags.iter().map(|flag| (*flag).to_owned()));
        arguments
    }
}

fn digits(rate: f64) -> String {
    format!("{:.0}", rate.max(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(load: &Load) -> String {
        load.arguments().join(" ")
    }

    #[test]
    fn a_load_is_a_command() {
        let run = Load::run("rooms", 1_000, 10).rate(5_000.0).seconds(5).flags(&["--speech", "ops"]);
        assert_eq!(
            line(&run),
            "run rooms --rooms 1000 --members 10 --rate 5000 --warm-up 1s --measure 5s --speech ops"
        );
        assert_eq!(run.clone().after(7.0), run);
        let search = Load::search("fanout", 1, 1_000, 500.0).after(1_000.0);
        assert_eq!(
            line(&search),
            "search fanout --rooms 1 --members 1000 --warm-up 1s --measure 3s --start 870 --precision 0.1 --confirm 1"
        );
    }

    #[test]
    fn a_quick_one_is_the_same_and_small() {
        let quick = Load::run("fanout", 1, 10_000).rate(500.0).signed_in().quick();
        assert_eq!((quick.connections(), quick.rate, quick.signed_in), (20, Some(50.0), true));
        assert_eq!(Load::run("idle", 1_500, 10).quick().joins(), 40);
        assert_eq!(Load::run("storm", 1_500, 10).quick().joins(), 80);
    }
}
