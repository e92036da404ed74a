//! Plots as inline SVG that is as wide as its place: curves stretch, strokes and text do not.
//!
//! Places are shares of the plot, so that one drawing serves a desk, a phone and paper.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::scale::Scale;
use crate::report::units;

/// What the inner drawing is drawn in; any large number does.
const UNITS: f64 = 1000.0;

#[derive(Clone, Debug)]
pub(crate) struct Axis {
    pub(crate) scale: Scale,
    pub(crate) label: fn(f64) -> String,
}

/// Something that lasted, drawn over the whole height.
#[derive(Clone, Debug)]
pub(crate) struct Bar<'a> {
    pub(crate) from: f64,
    pub(crate) to: f64,
    pub(crate) label: &'a str,
    /// In which line above the plot it is named, so that names do not run into each other: on a desk, on a phone.
    pub(crate) rows: [u32; 2],
}

/// One plot. `x` and `y` are in the axes' own values.
#[derive(Debug)]
pub(crate) struct Chart<'a> {
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    /// In pixels.
    pub(crate) height: u32,
    /// What it shows, for those who cannot see it.
    pub(crate) description: String,
    pub(crate) bars: Vec<Bar<'a>>,
    pub(crate) layers: Vec<Layer>,
    pub(crate) marks: Vec<Mark>,
    pub(crate) hover: Option<Hover>,
}

/// A curve or an area; `class` is the style's.
#[derive(Clone, Debug)]
pub(crate) enum Layer {
    /// A gap in the values is a gap in the line.
    Line { class: &'static str, points: Vec<Option<(f64, f64)>> },
    /// Between two curves: `(x, low, high)`.
    Band { class: &'static str, points: Vec<Option<(f64, f64, f64)>> },
}

/// A point that is worth a word.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) text: String,
}

/// What is said about the place under the pointer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hover {
    pub(crate) x: Vec<f64>,
    pub(crate) text: Vec<String>,
}

impl Chart<'_> {
    pub(crate) fn draw(&self) -> Markup {
        html! {
            div.plot style=(format!("height:{}px", self.height)) data-hover=[self.hover_data()] {
                svg width="100%" height="100%" role="img" aria-label=(self.description) {
                    (self.draw_bars())
                    (self.draw_grid())
                    svg viewBox="0 0 1000 1000" preserveAspectRatio="none" width="100%" height="100%" {
                        @for layer in &self.layers { (self.draw_layer(layer)) }
                        @for mark in &self.marks {
                            path.dot d=(format!("M{} {}h0", self.across(mark.x), self.down(mark.y))) {}
                        }
                    }
                    (self.draw_marks())
                }
            }
        }
    }

    fn across(&self, x: f64) -> String {
        short(self.x.scale.place(x) * UNITS)
    }

    fn down(&self, y: f64) -> String {
        short((1.0 - self.y.scale.place(y)) * UNITS)
    }

    fn draw_grid(&self) -> Markup {
        html! {
            @for tick in self.y.scale.ticks() {
                @let y = percent(1.0 - self.y.scale.place(tick));
                line.grid x1="0" x2="100%" y1=(y) y2=(y) {}
                text.tick x="0" y=(y) dx="-8" dy="0.33em" text-anchor="end" { (units::round(&(self.y.label)(tick))) }
            }
            @for tick in self.x.scale.ticks() {
                @let (x, place) = (percent(self.x.scale.place(tick)), self.x.scale.place(tick));
                line.grid.upright x1=(x) x2=(x) y1="0" y2="100%" {}
                text.tick.below x=(x) y="100%" dy="1.5em" text-anchor=(self.anchor(place)) { (units::round(&(self.x.label)(tick))) }
            }
        }
    }

    /// Labels at the ends stay within the plot, but for those of nines, which are short and many.
    fn anchor(&self, place: f64) -> &'static str {
        match (self.x.scale, place) {
            (Scale::Nines { .. }, _) => "middle",
            (_, x) if x < 0.02 => "start",
            (_, x) if x > 0.97 => "end",
            _ => "middle",
        }
    }

    fn draw_bars(&self) -> Markup {
        html! {
            @for bar in &self.bars {
                @let (from, to) = (self.x.scale.place(bar.from), self.x.scale.place(bar.to));
                // A moment is seen, too.
                @let width = (to - from).max(0.003);
                rect.fault x=(percent(from)) y="0" width=(percent(width)) height="100%" {
                    title { (bar.label) }
                }
                line.fault-edge x1=(percent(from)) x2=(percent(from)) y1="0" y2="100%" {}
                @let (x, end) = if from > 0.6 { (from + width, "end") } else { (from, "start") };
                text.fault-label x=(percent(x)) y="0" dy="-6" text-anchor=(end) style=(rows_style(bar.rows)) { (bar.label) }
            }
        }
    }

    fn draw_layer(&self, layer: &Layer) -> Markup {
        match layer {
            Layer::Line { class, points } => html! {
                path class=(class) d=(self.line(points)) {}
                // A value between two gaps is a dot.
                @for (x, y) in points.split(Option::is_none).filter(|run| run.len() == 1).flatten().flatten() {
                    path class=(format!("{class} lone")) d=(format!("M{} {}h0", self.across(*x), self.down(*y))) {}
                }
            },
            Layer::Band { class, points } => html! { path class=(class) d=(self.band(points)) {} },
        }
    }

    fn line(&self, points: &[Option<(f64, f64)>]) -> String {
        let mut d = String::new();
        for run in points.split(Option::is_none) {
            for (i, (x, y)) in run.iter().flatten().enumerate() {
                let _ = write!(d, "{}{} {}", if i == 0 { "M" } else { "L" }, self.across(*x), self.down(*y));
            }
        }
        d
    }

    fn band(&self, points: &[Option<(f64, f64, f64)>]) -> String {
        let mut d = String::new();
        for run in points.split(Option::is_none).filter(|run| !run.is_empty()) {
            for (i, (x, _, high)) in run.iter().flatten().enumerate() {
                let _ =
                    write!(d, "{}{} {}", if i == 0 { "M" } else { "L" }, self.across(*x), self.down(*high));
            }
            for (x, low, _) in run.iter().rev().flatten() {
                let _ = write!(d, "L{} {}", self.across(*x), self.down(*low));
            }
            d.push('Z');
        }
        d
    }

    /// Where a rising curve leaves room: below it to the right, or above it to the left at the far end.
    fn draw_marks(&self) -> Markup {
        html! {
            @for mark in &self.marks {
                @let (x, y) = (self.x.scale.place(mark.x), 1.0 - self.y.scale.place(mark.y));
                @let (dx, dy, end) = match (x, y) {
                    (x, _) if x > 0.75 => ("-7", "-0.6em", "end"),
                    (_, y) if y > 0.85 => ("0", "-0.9em", "start"),
                    _ => ("7", "1.2em", "start"),
                };
                text.mark x=(percent(x)) y=(percent(y)) dx=(dx) dy=(dy) text-anchor=(end) { (mark.text) }
            }
        }
    }

    fn hover_data(&self) -> Option<String> {
        let hover = self.hover.as_ref()?;
        let at: Vec<String> = hover.x.iter().map(|x| percent(self.x.scale.place(*x))).collect();
        serde_json::to_string(&(at, &hover.text)).ok()
    }
}

/// Style knows how wide the place is, and takes one of the two.
pub(crate) fn rows_style([desk, phone]: [u32; 2]) -> String {
    format!("--desk:{desk};--phone:{phone}")
}

fn percent(share: f64) -> String {
    format!("{}%", short(share * 100.0))
}

fn short(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(layers: Vec<Layer>) -> Chart<'static> {
        Chart {
            x: Axis { scale: Scale::time(10.0, 5), label: |x| format!("{x} s") },
            y: Axis { scale: Scale::from_zero(10.0, 2), label: |y| format!("{y} ms") },
            height: 100,
            description: "a < b".into(),
            bars: vec![Bar { from: 8.0, to: 9.0, label: "kill & restart", rows: [0, 1] }],
            layers,
            marks: vec![Mark { x: 5.0, y: 5.0, text: "p50".into() }],
            hover: Some(Hover { x: vec![5.0], text: vec!["\"5\"".into()] }),
        }
    }

    #[test]
    fn a_gap_in_the_values_is_a_gap_in_the_line() {
        let chart = chart(vec![]);
        assert_eq!(
            chart.line(&[Some((0.0, 0.0)), Some((5.0, 10.0)), None, Some((10.0, 5.0))]),
            "M0 1000L500 0M1000 500"
        );
        assert_eq!(
            chart.band(&[Some((0.0, 0.0, 10.0)), Some((10.0, 5.0, 10.0))]),
            "M0 0L1000 0L1000 500L0 1000Z"
        );
        assert_eq!((chart.line(&[]), chart.band(&[None])), (String::new(), String::new()));
    }

    #[test]
    fn a_value_between_two_gaps_is_a_dot() {
        let lonely = vec![None, Some((10.0, 5.0)), None, Some((1.0, 1.0)), Some((2.0, 1.0))];
        let drawn = chart(vec![Layer::Line { class: "curve", points: lonely }]).draw().into_string();
        assert_eq!(drawn.matches("curve lone").count(), 1);
        assert!(drawn.contains("d=\"M1000 500h0\""), "{drawn}");
    }

    #[test]
    fn what_is_drawn_is_escaped_and_labelled() {
        let drawn =
            chart(vec![Layer::Line { class: "p50", points: vec![Some((1.0, 1.0))] }]).draw().into_string();
        for part in [
            "aria-label=\"a &lt; b\"",
            "kill &amp; restart",
            "class=\"p50\"",
            ">10 ms<",
            ">0 s<",
            ">p50<",
            "data-hover",
        ] {
            assert!(drawn.contains(part), "{part}: {drawn}");
        }
        assert!(drawn.contains("text-anchor=\"end\" style="), "{drawn}");
    }
}
