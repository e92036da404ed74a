//! Real drawings made into a session: raw Quick, Draw! lines in, several people on one board out.
//!
//! Every person draws one drawing after another, at the speed of the hand that drew it, each in a place of its own.
//! While the pen is up the cursor travels. The same drawings, options and seed make the same session.

use std::io::{self, BufRead, Read};

use enfilade_proto::board::{Color, Width};
use enfilade_proto::limits::COORDINATE;
use enfilade_proto::{Coord, DisplayName, Point};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::Deserialize;

use super::draft::{Draft, LeftOut, TooMuch};
use super::pen::{self, Hand, Ink, PIECE};
use crate::clock::{Micros, SECOND};
use crate::session::{Event, MAX_PEOPLE};

/// Whoever stopped to think thinks no longer than this in a session.
const LONGEST_PAUSE: Micros = 5 * SECOND;
/// A drawing of the game takes at most 20 s; this is an accident.
const LONGEST_DRAWING: Micros = 600 * SECOND;
const LINE_BYTES: u64 = 4 * 1024 * 1024;
/// How much of its cell a drawing may fill.
const FILL: f64 = 0.9;

#[derive(Clone, Debug)]
pub struct Options {
    pub people: u32,
    /// How far apart the drawings lie, in units.
    pub spread: f64,
    pub seed: u64,
    /// Take no more drawings than this.
    pub limit: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("cannot read the drawings: {0}")]
    Io(#[from] io::Error),
    #[error("there is no drawing to import; {0}")]
    Nothing(String),
    #[error("{0}; take fewer drawings with --limit")]
    TooMuch(#[from] TooMuch),
    #[error("{0}")]
    Options(&'static str),
}

/// One drawing: its strokes in time, from its own upper left corner and its own first moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawing {
    strokes: Vec<Vec<Sample>>,
    size: [f64; 2],
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Sample {
    at: Micros,
    at_point: [f64; 2],
}

/// What was read, and what was not and why.
#[derive(Debug, Default)]
pub struct Drawings {
    pub drawings: Vec<Drawing>,
    pub skipped: u64,
    /// Why the first few were skipped.
    pub reasons: Vec<String>,
    /// More were there than [`Options::limit`] allows.
    pub cut: bool,
}

impl Drawings {
    const REASONS: usize = 5;

    /// Reads drawings, one a line. What is not a raw drawing is skipped and counted.
    ///
    /// # Errors
    /// When the input cannot be read.
    pub fn read(&mut self, name: &str, mut input: impl BufRead, limit: usize) -> io::Result<()> {
        let mut buffer = Vec::new();
        for line in 1u64.. {
            buffer.clear();
            if input.by_ref().take(LINE_BYTES).read_until(b'\n', &mut buffer)? == 0 {
                break;
            }
            if buffer.len() as u64 == LINE_BYTES && buffer.last() != Some(&b'\n') {
                input.skip_until(b'\n')?;
                self.skip(format!("{name}:{line}: the line is longer than {LINE_BYTES} bytes"));
                continue;
            }
            if buffer.trim_ascii().is_empty() {
                continue;
            }
            if self.drawings.len() >= limit {
                self.cut = true;
                break;
            }
            match Drawing::parse(&buffer) {
                Ok(drawing) => self.drawings.push(drawing),
                Err(reason) => self.skip(format!("{name}:{line}: {reason}")),
            }
        }
        Ok(())
    }

    fn skip(&mut self, reason: String) {
        self.skipped += 1;
        if self.reasons.len() < Self::REASONS {
            self.reasons.push(reason);
        }
    }
}

impl Drawing {
    /// # Errors
    /// When the line is not a raw drawing; the text says why.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Line {
            drawing: Vec<Vec<Vec<f64>>>,
        }
        let line: Line = serde_json::from_slice(line).map_err(|e| format!("not a drawing: {e}"))?;
        let mut now = 0;
        let mut last = None;
        let strokes: Result<Vec<_>, String> =
            line.drawing.iter().map(|stroke| read_stroke(stroke, &mut now, &mut last)).collect();
        let mut strokes = strokes?;
        if strokes.is_empty() {
            return Err("the drawing has no strokes".into());
        }
        if now > LONGEST_DRAWING {
            return Err("the drawing takes longer than ten minutes".into());
        }
        let size = to_corner(&mut strokes)?;
        Ok(Self { strokes, size })
    }

    #[must_use]
    pub fn strokes(&self) -> usize {
        self.strokes.len()
    }
}

/// `now` is the session's time of the last sample, `last` the drawing's own.
fn read_stroke(lists: &[Vec<f64>], now: &mut Micros, last: &mut Option<f64>) -> Result<Vec<Sample>, String> {
    let [xs, ys, ts] = lists else {
        let simplified =
            if lists.len() == 2 { "; this is the simplified format, take the raw one" } else { "" };
        return Err(format!("a stroke has {} lists instead of [xs, ys, ts]{simplified}", lists.len()));
    };
    if xs.len() != ys.len() || xs.len() != ts.len() {
        return Err(format!("the lists of a stroke have {}, {} and {} items", xs.len(), ys.len(), ts.len()));
    }
    if xs.is_empty() {
        return Err("a stroke has no points".into());
    }
    let mut samples = Vec::with_capacity(xs.len());
    for ((&x, &y), &ms) in xs.iter().zip(ys).zip(ts) {
        *now += pause(ms - last.unwrap_or(ms));
        *last = Some(ms);
        samples.push(Sample { at: *now, at_point: [x, y] });
    }
    Ok(samples)
}

/// Clocks jump: back is no time at all, and far ahead is the longest pause.
fn pause(ms: f64) -> Micros {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped; NaN becomes 0")]
    let micros = (ms * 1e3).clamp(0.0, LONGEST_PAUSE as f64) as Micros;
    micros
}

/// Moves a drawing to its own upper left corner.
fn to_corner(strokes: &mut [Vec<Sample>]) -> Result<[f64; 2], String> {
    let mut size = [0.0; 2];
    for (axis, size) in size.iter_mut().enumerate() {
        let all = || strokes.iter().flatten().map(|sample| sample.at_point[axis]);
        let (least, most) = (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
        *size = most - least;
        if !size.is_finite() {
            return Err("the coordinates are too far apart".into());
        }
        strokes.iter_mut().flatten().for_each(|sample| sample.at_point[axis] -= least);
    }
    Ok(size)
}

/// Lays the drawings out in place and time, as the events of a session in order.
///
/// # Errors
/// When there is nothing to lay out, too much, or the options make no sense.
pub fn compose(drawings: &Drawings, options: &Options) -> Result<Vec<Event>, ImportError> {
    if !(1..=MAX_PEOPLE).contains(&options.people) {
        return Err(ImportError::Options("a session has 1 to 10000 people"));
    }
    if !(10.0..=100_000.0).contains(&options.spread) {
        return Err(ImportError::Options("the spread is 10 to 100000 units"));
    }
    if drawings.drawings.is_empty() {
        let why = drawings.reasons.first().map_or("the files have no lines", String::as_str);
        return Err(ImportError::Nothing(why.to_owned()));
    }
    let mut draft = Draft::default();
    let mut people: Vec<Person> =
        (0..options.people).map(|person| Person::new(person, options, &mut draft)).collect();
    let columns = (drawings.drawings.len() as f64).sqrt().ceil() as usize;
    if columns as f64 * options.spread > COORDINATE {
        return Err(ImportError::Options(
            "so many drawings, so far apart, do not fit the board; make the spread smaller",
        ));
    }
    let rounds = drawings.drawings.len().div_ceil(people.len());
    for (i, drawing) in drawings.drawings.iter().enumerate() {
        let (person, round) = (i % people.len(), i / people.len());
        // Neighbouring cells to one person, so that each has a corner of the board.
        let cell = person * rounds + round;
        let place = [(cell % columns) as f64 * options.spread, (cell / columns) as f64 * options.spread];
        people[person].draw(drawing, place, options.spread, &mut draft);
        if draft.is_full() {
            return Err(TooMuch::Events.into());
        }
    }
    for person in people {
        person.finish(&mut draft);
    }
    Ok(draft.finish(&mut LeftOut::default())?)
}

struct Person {
    number: u32,
    hand: Hand,
    ink: Ink,
    rng: StdRng,
    now: Micros,
    cursor: Option<Point>,
}

const NAMES: [&str; 12] =
    ["Ada", "Ben", "Cleo", "Dov", "Eda", "Finn", "Gia", "Hugo", "Ines", "Jon", "Kaya", "Leo"];
const COLORS: [u32; 8] =
    [0x1a1a_1aff, 0xe034_34ff, 0x1e6f_d9ff, 0x2a9d_48ff, 0xf08c_00ff, 0x8e44_adff, 0x0097_a7ff, 0xc218_5bff];
const WIDTHS: [u16; 4] = [2, 3, 4, 6];

impl Person {
    fn new(number: u32, options: &Options, draft: &mut Draft) -> Self {
        // Each person has a source of chance of their own: one more changes nothing for the others.
        let mut rng =
            StdRng::seed_from_u64(options.seed ^ u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let nth = number as usize;
        let name = match nth / NAMES.len() {
            0 => NAMES[nth].to_owned(),
            round => format!("{} {}", NAMES[nth % NAMES.len()], round + 1),
        };
        #[expect(clippy::expect_used, reason = "the names and widths above are valid")]
        let (name, width) = (
            DisplayName::new(&name).expect("a name"),
            Width::from_steps(WIDTHS[rng.random_range(0..WIDTHS.len())] * 64).expect("a width"),
        );
        draft.join(0, number, name);
        Self {
            number,
            hand: Hand::new(number),
            ink: Ink { color: Color::from_rgba(COLORS[nth % COLORS.len()]), width },
            now: rng.random_range(SECOND / 2..5 * SECOND),
            rng,
            cursor: None,
        }
    }

    fn draw(&mut self, drawing: &Drawing, place: [f64; 2], cell: f64, draft: &mut Draft) {
        let scale = (cell * FILL / drawing.size[0].max(drawing.size[1])).min(1.0);
        let point = |sample: &Sample| -> Point {
            [0, 1].map(|axis| {
                Coord::from_units(place[axis] + sample.at_point[axis] * scale).unwrap_or_default()
            })
        };
        if self.cursor.is_some() {
            self.now += self.rng.random_range(SECOND / 2..2 * SECOND);
        }
        let begin = self.now;
        for stroke in &drawing.strokes {
            let samples: Vec<pen::Sample> = stroke.iter().map(|s| (begin + s.at, point(s))).collect();
            self.travel(samples[0], draft);
            self.hand.draw(draft, self.ink, &samples);
            let (last, end) = samples[samples.len() - 1];
            (self.now, self.cursor) = (last, Some(end));
        }
    }

    /// The cursor's way, pen up, to where the next stroke begins.
    fn travel(&mut self, (until, to): pen::Sample, draft: &mut Draft) {
        if let Some(from) = self.cursor {
            let (start, span) = (self.now, until.saturating_sub(self.now));
            for step in 1..=span / PIECE {
                let way = (step * PIECE) as f64 / span as f64;
                let at = [0, 1].map(|axis| {
                    let (from, to) = (from[axis].units(), to[axis].units());
                    Coord::from_units(from + (to - from) * way).unwrap_or_default()
                });
                pen::point(draft, self.number, start + step * PIECE, Some(at));
            }
        }
        self.now = until.max(self.now);
    }

    fn finish(self, draft: &mut Draft) {
        if self.cursor.is_some() {
            pen::point(draft, self.number, self.now + PIECE, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use enfilade_proto::Op;
    use enfilade_proto::board::Stroke;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::session::What;

    const OPTIONS: Options = Options { people: 3, spread: 600.0, seed: 7, limit: 1000 };

    fn drawings(lines: &[&str]) -> Drawings {
        let mut drawings = Drawings::default();
        drawings.read("test", lines.join("\n").as_bytes(), OPTIONS.limit).unwrap();
        drawings
    }

    fn events(lines: &[&str]) -> Vec<Event> {
        compose(&drawings(lines), &OPTIONS).unwrap()
    }

    fn skipped(line: &str) -> String {
        let drawings = drawings(&[line]);
        assert_eq!((drawings.skipped, drawings.drawings.len()), (1, 0), "{line}");
        drawings.reasons[0].clone()
    }

    /// Points per stroke as the live pieces tell them.
    fn live(events: &[Event]) -> HashMap<String, Vec<[i32; 2]>> {
        let mut live: HashMap<String, Vec<[i32; 2]>> = HashMap::new();
        for event in events {
            let What::Signal { key, body, .. } = &event.what else { continue };
            if !key.starts_with("stroke.") {
                continue;
            }
            let points = live.entry(body["element"].as_str().unwrap().into()).or_default();
            assert_eq!(body["at"], points.len());
            let mut last = [0i32; 2];
            for (i, code) in body["points"].as_array().unwrap().iter().enumerate() {
                let code = code.as_u64().unwrap() as u32;
                last[i % 2] += (code >> 1).cast_signed() ^ -(code & 1).cast_signed();
                if i % 2 == 1 {
                    points.push(last);
                }
            }
            assert!(serde_json::to_vec(body).unwrap().len() < 4096);
        }
        live
    }

    #[test]
    fn a_stroke_is_told_in_pieces_and_submitted_when_the_pen_lifts() {
        let line = r#"{"word":"line","drawing":[[[0,10,20,30],[5,5,5,5],[0,30,60,100]],[[7],[7],[900]]]}"#;
        let events = events(&[line]);
        let ops: Vec<&Stroke> = events
            .iter()
            .filter_map(|event| match &event.what {
                What::Op { op: Op::AddStroke(stroke), .. } => Some(stroke),
                _ => None,
            })
            .collect();
        assert_eq!(ops.len(), 2);
        assert_eq!(ops[0].points.decode().len(), 4);
        let pieces: Vec<Micros> = events
            .iter()
            .filter(|e| matches!(&e.what, What::Signal { key, .. } if key.starts_with("stroke.")))
            .map(|e| e.at - events.iter().find(|e| matches!(e.what, What::Signal { .. })).unwrap().at)
            .collect();
        assert_eq!(pieces, [0, 40_000, 80_000]);
        assert_eq!(live(&events)["p0s0"], [[0, 0], [40, 0], [80, 0]]);
        let cursors =
            events.iter().filter(|e| matches!(&e.what, What::Signal { key, .. } if key == "cursor"));
        assert_eq!(cursors.count(), 800 / 40 + 1);
    }

    #[test]
    fn the_same_seed_makes_the_same_session() {
        let lines = [r#"{"drawing":[[[0,90],[0,90],[0,500]]]}"#; 7];
        assert_eq!(events(&lines), events(&lines));
        let other = compose(&drawings(&lines), &Options { seed: 8, ..OPTIONS }).unwrap();
        assert_ne!(events(&lines), other);
    }

    #[test]
    fn what_is_no_raw_drawing_is_skipped_with_a_reason() {
        assert!(skipped("{").contains("test:1: not a drawing"));
        assert!(skipped(r#"{"word":"cat"}"#).contains("missing field `drawing`"));
        assert!(skipped(r#"{"drawing":[]}"#).contains("no strokes"));
        assert!(skipped(r#"{"drawing":[[[1],[1]]]}"#).contains("simplified format"));
        assert!(skipped(r#"{"drawing":[[[1],[1],[1,2]]]}"#).contains("have 1, 1 and 2 items"));
        assert!(skipped(r#"{"drawing":[[[],[],[]]]}"#).contains("no points"));
        assert!(skipped(r#"{"drawing":[[[1e308,-1e308],[0,0],[0,1]]]}"#).contains("too far apart"));
        assert!(skipped(r#"{"drawing":[[[1e999],[0],[0]]]}"#).contains("not a drawing"));
        assert!(skipped(r#"{"drawing":[[["a"],[0],[0]]]}"#).contains("not a drawing"));
        let error = compose(&drawings(&["{}"]), &OPTIONS).unwrap_err().to_string();
        assert!(error.contains("no drawing to import; test:1:"), "{error}");
    }

    #[test]
    fn a_good_drawing_among_bad_ones_is_kept() {
        let good = r#"{"drawing":[[[1],[1],[1]]]}"#;
        let read = drawings(&["{}", good, "", "[]", good]);
        assert_eq!((read.drawings.len(), read.skipped), (2, 2));
    }

    #[test]
    fn enormous_drawings_fit_their_cell_and_pauses_end() {
        let line = r#"{"drawing":[[[0,1e9],[0,-1e9],[0,0]],[[5e8],[3],[9e12]]]}"#;
        let events = events(&[line]);
        for event in &events {
            let What::Op { op: Op::AddStroke(stroke), .. } = &event.what else { continue };
            assert!(stroke.points.decode().iter().flatten().all(|c| (0.0..=540.0).contains(&c.units())));
        }
        assert!(events.last().unwrap().at < 12 * SECOND);
    }

    #[test]
    fn a_long_stroke_becomes_several_that_touch() {
        let list = |f: fn(usize) -> usize| (0..5000).map(|i| f(i).to_string()).collect::<Vec<_>>().join(",");
        let line =
            format!(r#"{{"drawing":[[[{}],[{}],[{}]]]}}"#, list(|i| i % 500), list(|i| i / 10), list(|i| i));
        let events = events(&[&line]);
        let strokes: Vec<Vec<Point>> = events
            .iter()
            .filter_map(|event| match &event.what {
                What::Op { op: Op::AddStroke(stroke), .. } => Some(stroke.points.decode()),
                _ => None,
            })
            .collect();
        assert_eq!(strokes.len(), 3);
        assert!(strokes.windows(2).all(|pair| pair[0].last() == pair[1].first()));
        assert_eq!(strokes.iter().map(Vec::len).sum::<usize>(), 5002);
        live(&events);
    }

    #[test]
    fn a_line_beyond_the_bound_is_skipped_whole() {
        let long = "x".repeat(LINE_BYTES as usize + 100);
        let read = drawings(&[&long, r#"{"drawing":[[[1],[1],[1]]]}"#]);
        assert_eq!((read.drawings.len(), read.skipped), (1, 1));
    }

    #[test]
    fn the_limit_is_kept_and_said() {
        let mut read = Drawings::default();
        read.read("x", [r#"{"drawing":[[[1],[1],[1]]]}"#; 3].join("\n").as_bytes(), 2).unwrap();
        assert_eq!((read.drawings.len(), read.cut), (2, true));
    }

    proptest! {
        #[test]
        fn any_strokes_make_a_session_in_order(
            strokes in prop::collection::vec(
                prop::collection::vec((-1e4..1e4f64, -1e4..1e4f64, -10..2_000i32), 1..60), 1..8),
            people in 1..5u32,
        ) {
            let drawing: Vec<Value> = strokes
                .iter()
                .map(|points| {
                    let list = |f: fn(&(f64, f64, i32)) -> f64| points.iter().map(f).collect::<Vec<_>>();
                    json!([list(|p| p.0), list(|p| p.1), list(|p| f64::from(p.2))])
                })
                .collect();
            let line = json!({ "drawing": drawing }).to_string();
            let options = Options { people, ..OPTIONS };
            let events = compose(&drawings(&[&line, &line]), &options).unwrap();
            prop_assert!(events.windows(2).all(|pair| pair[0].at <= pair[1].at));
            let ops = events.iter().filter(|e| matches!(e.what, What::Op { .. })).count();
            prop_assert_eq!(ops, 2 * strokes.len());
            let live = live(&events);
            for event in &events {
                let What::Op { op: Op::AddStroke(stroke), .. } = &event.what else { continue };
                let told = live.get(stroke.element.as_str()).map_or(0, Vec::len);
                let points: Vec<[i32; 2]> =
                    stroke.points.decode().iter().map(|p| p.map(Coord::quarters)).collect();
                prop_assert_eq!(&points[..told], live.get(stroke.element.as_str()).map_or(&[][..], |l| &l[..]));
            }
        }
    }
}
