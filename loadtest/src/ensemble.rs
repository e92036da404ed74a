//! Who plays with whom: the clones of each room form ensembles, each of which plays a recording of the mix, and then
//! perhaps another, in a place of the board of its own.
//!
//! A recording that an ensemble plays has a *generation*, a number that is unique in the room. An ensemble that is
//! short of people leaves out what builds on the absent ones.

use std::sync::Arc;

use enfilade_proto::limits::COORDINATE;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::clock::{Micros, SECOND};
use crate::clones::Part;
use crate::crowd::Crowd;
use crate::mix::Mix;
use crate::score::{Extent, Score};

/// How the clones are laid out.
#[derive(Clone, Debug)]
pub struct Layout {
    pub clones: usize,
    pub rooms: usize,
    pub speed: f64,
    /// Clones start up to this much late, so that they do not move in step.
    pub jitter: Micros,
    pub seed: u64,
    /// Tells the elements of this run from those of others.
    pub nonce: String,
    pub crowd: Crowd,
}

/// Between two recordings that an ensemble plays.
const BETWEEN: Micros = SECOND;
/// From the arrival of an ensemble's last member to its beginning.
const LEAD_IN: Micros = SECOND;

/// What the members of an ensemble have in common.
#[derive(Debug)]
pub(crate) struct Ensemble {
    mix: Arc<Mix>,
    /// Its first turn in the mix.
    turn: usize,
    /// Which of its room's it is, and of how many.
    pub(crate) number: u32,
    neighbours: u32,
    pub(crate) size: u32,
    pub(crate) speed: f64,
    until: Option<Micros>,
    splice: bool,
    place: [i64; 2],
    pub(crate) nonce: String,
}

/// A recording as an ensemble plays it: the first, the second, …
#[derive(Clone, Debug)]
pub(crate) struct Lap {
    number: u32,
    pub(crate) score: Arc<Score>,
    pub(crate) generation: u32,
    pub(crate) begins: Micros,
    pub(crate) offset: [i64; 2],
}

impl Ensemble {
    pub(crate) fn lap(&self, number: u32, begins: Micros) -> Lap {
        let turn = self.turn + if self.splice { number as usize } else { 0 };
        let score = self.mix.turn(turn).clone();
        let generation = number.saturating_mul(self.neighbours).saturating_add(self.number);
        let first = self.mix.scores()[0].extent();
        let offset = offset(self.place, first, score.extent());
        Lap { number, score, generation, begins, offset }
    }

    /// What comes after it, if there is time for more.
    pub(crate) fn after(&self, lap: &Lap) -> Option<Lap> {
        let begins = lap.begins + (lap.score.duration as f64 / self.speed) as Micros + BETWEEN;
        (begins < self.until?).then(|| self.lap(lap.number + 1, begins))
    }

    /// When it is over, but for the clones' jitter.
    pub(crate) fn ends(&self, first: &Lap) -> Micros {
        let natural = first.begins + (first.score.duration as f64 / self.speed) as Micros;
        self.until.unwrap_or(natural)
    }

    /// Nothing is begun from then on.
    pub(crate) fn until(&self) -> Micros {
        self.until.unwrap_or(Micros::MAX)
    }
}

/// Lays the clones out over the rooms, in turn.
#[must_use]
pub fn cast(mix: &Arc<Mix>, layout: &Layout) -> Vec<Part> {
    let mut rng = StdRng::seed_from_u64(layout.seed);
    let jitters: Vec<Micros> = (0..layout.clones).map(|_| rng.random_range(0..=layout.jitter)).collect();
    let mut rooms: Vec<_> = (0..layout.rooms).map(|room| cast_room(mix, layout, room).into_iter()).collect();
    let parts = (0..layout.clones).filter_map(|clone| rooms[clone % layout.rooms].next());
    parts.zip(jitters).map(|(part, jitter)| part.late(jitter)).collect()
}

/// The parts of one room, ensemble by ensemble.
fn cast_room(mix: &Arc<Mix>, layout: &Layout, room: usize) -> Vec<Part> {
    let clones = (layout.clones - room).div_ceil(layout.rooms);
    let mut sizes = Vec::new();
    let mut left = clones;
    while left > 0 {
        let people = mix.turn(sizes.len() * layout.rooms + room).people();
        sizes.push(left.min(people));
        left -= left.min(people);
    }
    let places = Places::new(mix, sizes.len());
    let mut parts = Vec::with_capacity(clones);
    for (number, size) in sizes.iter().enumerate() {
        let ensemble = Arc::new(Ensemble {
            mix: mix.clone(),
            turn: number * layout.rooms + room,
            number: number as u32,
            neighbours: sizes.len() as u32,
            size: *size as u32,
            speed: layout.speed,
            until: layout.crowd.length,
            splice: layout.crowd.splice,
            place: places.of(number),
            nonce: layout.nonce.clone(),
        });
        let arrives = |person: usize| {
            let clone = (parts.len() + person) * layout.rooms + room;
            layout.crowd.arrives(clone, layout.clones)
        };
        let begins = arrives(size - 1).map_or(0, |last| last + LEAD_IN);
        let arrivals: Vec<_> = (0..*size).map(arrives).collect();
        let part = |(person, arrives)| Part::new(&ensemble, room, person, arrives, begins);
        parts.extend(arrivals.into_iter().enumerate().map(part));
    }
    parts
}

/// A square of places.
struct Places {
    columns: usize,
    step: [i64; 2],
}

impl Places {
    const GAP: i64 = 200 * 4;

    fn new(mix: &Mix, ensembles: usize) -> Self {
        let columns = (ensembles as f64).sqrt().ceil().max(1.0) as usize;
        let extents = || mix.scores().iter().filter_map(|score| score.extent());
        let step = [0, 1].map(|axis| {
            extents().map(|extent| extent.most[axis] - extent.least[axis] + Self::GAP).max().unwrap_or(0)
        });
        Self { columns, step }
    }

    fn of(&self, ensemble: usize) -> [i64; 2] {
        let cell = [ensemble % self.columns, ensemble / self.columns];
        [0, 1].map(|axis| self.step[axis].saturating_mul(cell[axis] as i64))
    }
}

/// Brings a recording to its place, counted from where the mix's first one lies. What would leave the board lies where
/// it was recorded.
fn offset(place: [i64; 2], first: Option<Extent>, extent: Option<Extent>) -> [i64; 2] {
    let Some((first, extent)) = first.or(extent).zip(extent) else { return [0; 2] };
    let offset = [0, 1].map(|axis| place[axis].saturating_add(first.least[axis] - extent.least[axis]));
    let edge = (COORDINATE * 4.0) as i64;
    let fits = |axis: usize| {
        extent.most[axis].saturating_add(offset[axis]) <= edge && extent.least[axis] + offset[axis] >= -edge
    };
    if fits(0) && fits(1) { offset } else { [0; 2] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::Arrival;
    use crate::session::{Recorded, read_session};

    /// A line by each of so many people, so wide, within so many seconds.
    fn recording(people: u32, width: u32, seconds: u32) -> Recorded {
        let mut text = format!(
            "{{\"enfilade_session\":1,\"kind\":\"board\",\"title\":\"{people}\",\"people\":{people},\"duration\":1}}\n"
        );
        for person in 0..people {
            text += &format!("[0,\"join\",{person},{{\"name\":\"P{person}\"}}]\n");
        }
        for person in 0..people {
            let data = format!(
                r##"{{"element":"e{person}","color":"#000000","width":1,"from":[0,0],"to":[{width},0]}}"##
            );
            let wait = if person == 0 { seconds } else { 0 };
            text += &format!("[{wait},\"op\",{person},{{\"type\":\"add_line\",\"data\":{data}}}]\n");
        }
        read_session(text.as_bytes()).unwrap()
    }

    fn layout(clones: usize, rooms: usize, crowd: Crowd) -> Layout {
        Layout { clones, rooms, speed: 1.0, jitter: 0, seed: 1, nonce: "run".into(), crowd }
    }

    fn mix(recordings: Vec<Recorded>, weights: &[u32]) -> Arc<Mix> {
        Arc::new(Mix::new(recordings, weights).unwrap())
    }

    #[test]
    fn ensembles_take_recordings_by_their_weights() {
        let mix = mix(vec![recording(2, 10, 1), recording(3, 50, 1)], &[2, 1]);
        let parts = cast(&mix, &layout(9, 1, Crowd::default()));
        let ensembles: Vec<_> = parts
            .iter()
            .map(|part| (part.lap.generation, part.person, part.lap.score.people(), part.ensemble.size))
            .collect();
        assert_eq!(
            ensembles,
            [
                (0, 0, 2, 2),
                (0, 1, 2, 2),
                (1, 0, 3, 3),
                (1, 1, 3, 3),
                (1, 2, 3, 3),
                (2, 0, 2, 2),
                (2, 1, 2, 2),
                (3, 0, 2, 2),
                (3, 1, 2, 2)
            ]
        );
        let widest = 50 * 4 + Places::GAP;
        assert_eq!((parts[2].lap.offset, parts[5].lap.offset), ([widest, 0], [0, Places::GAP]));
    }

    #[test]
    fn rooms_play_different_recordings_of_a_mix() {
        let mix = mix(vec![recording(1, 10, 1), recording(2, 10, 1)], &[]);
        let parts = cast(&mix, &layout(5, 2, Crowd::default()));
        let rooms: Vec<_> =
            parts.iter().map(|part| (part.room, part.person, part.lap.score.people())).collect();
        assert_eq!(rooms, [(0, 0, 1), (1, 0, 2), (0, 0, 1), (1, 1, 2), (0, 0, 1)]);
    }

    #[test]
    fn a_recording_is_played_again_until_the_time_is_up() {
        let mix = mix(vec![recording(1, 10, 9), recording(1, 10, 3)], &[]);
        let laps = |splice| {
            let crowd = Crowd { length: Some(25 * SECOND), splice, ..Crowd::default() };
            let part = cast(&mix, &layout(2, 1, crowd)).swap_remove(0);
            let mut laps = vec![part];
            while let Some(next) = laps[laps.len() - 1].next() {
                laps.push(next);
            }
            let lap = |part: &Part| {
                (part.lap.generation, part.lap.begins / SECOND, part.lap.score.duration / SECOND)
            };
            laps.iter().map(lap).collect::<Vec<_>>()
        };
        assert_eq!(laps(false), [(0, 0, 9), (2, 10, 9), (4, 20, 9)]);
        assert_eq!(laps(true), [(0, 0, 9), (2, 10, 3), (4, 14, 9), (6, 24, 3)]);
    }

    #[test]
    fn an_ensemble_begins_when_its_last_member_has_arrived() {
        let crowd = Crowd { arrival: Arrival::Within(10 * SECOND), ..Crowd::default() };
        let parts = cast(&mix(vec![recording(2, 10, 1)], &[]), &layout(5, 1, crowd));
        let times: Vec<_> =
            parts.iter().map(|part| (part.arrives.unwrap() / SECOND, part.lap.begins / SECOND)).collect();
        assert_eq!(times, [(0, 3), (2, 3), (4, 7), (6, 7), (8, 9)]);
    }
}
