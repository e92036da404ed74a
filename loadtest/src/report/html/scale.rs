//! From values to places between 0 and 1, with ticks at round numbers.

/// Where a value lies on an axis, and which values are worth a label.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scale {
    Linear {
        from: f64,
        to: f64,
        step: f64,
    },
    /// Each factor of ten is as long as any other.
    Log {
        from: f64,
        to: f64,
    },
    /// Of shares below 1: each nine is as long as any other. `nines` of them fit.
    Nines {
        nines: f64,
    },
}

/// The steps of clocks, in seconds.
const TIMES: [f64; 17] = [
    0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0,
];

impl Scale {
    /// From 0 to the next tick above `max`.
    pub(crate) fn from_zero(max: f64, ticks: usize) -> Self {
        let max = if max.is_finite() && max > 0.0 { max } else { 1.0 };
        let step = round_up(max / ticks.max(1) as f64);
        Self::Linear { from: 0.0, to: (max / step - 1e-9).ceil().max(1.0) * step, step }
    }

    /// Exactly so long, with ticks as on a clock.
    pub(crate) fn time(seconds: f64, ticks: usize) -> Self {
        let seconds = if seconds.is_finite() && seconds > 0.0 { seconds } else { 1.0 };
        let least = seconds / ticks.max(1) as f64;
        let step = TIMES
            .into_iter()
            .find(|step| *step >= least)
            .unwrap_or_else(|| round_up(least / 3600.0) * 3600.0);
        Self::Linear { from: 0.0, to: seconds, step }
    }

    /// Both ends at 1, 2 or 5 times a power of ten.
    pub(crate) fn log(min: f64, max: f64) -> Self {
        let max = if max.is_finite() && max > 0.0 { max } else { 1.0 };
        let min = if min > 0.0 && min < max { min } else { max / 10.0 };
        Self::Log { from: round_down(min), to: round_up(max * (1.0 - 1e-9)) }
    }

    /// As many nines as so many values can tell of.
    pub(crate) fn nines(count: u64) -> Self {
        Self::Nines { nines: (count.max(1) as f64).log10().ceil().clamp(2.0, 5.0) }
    }

    /// 0 to 1; beyond the ends at the ends.
    pub(crate) fn place(&self, value: f64) -> f64 {
        let place = match *self {
            Self::Linear { from, to, .. } => (value - from) / (to - from),
            Self::Log { from, to } => (value.max(from) / from).log10() / (to / from).log10(),
            Self::Nines { nines } => -(1.0 - value.min(1.0)).max(1e-12).log10() / nines,
        };
        if place.is_finite() { place.clamp(0.0, 1.0) } else { 0.0 }
    }

    pub(crate) fn ticks(&self) -> Vec<f64> {
        match *self {
            Self::Linear { from, to, step } => {
                let last = ((to - from) / step + 1e-9).floor() as u32;
                (0..=last).map(|n| from + f64::from(n) * step).collect()
            }
            Self::Log { from, to } => log_ticks(from, to),
            Self::Nines { nines } => {
                let shares = (1..=nines as i32).map(|n| 1.0 - 10f64.powi(-n));
                std::iter::once(0.5).chain(shares).collect()
            }
        }
    }
}

/// All of 1, 2, 5 where there is room, otherwise powers of ten.
fn log_ticks(from: f64, to: f64) -> Vec<f64> {
    let factors: &[f64] = if to / from > 150.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let (first, last) = (from.log10().floor() as i32 - 1, to.log10().ceil() as i32);
    let all = (first..=last).flat_map(|decade| factors.iter().map(move |factor| factor * 10f64.powi(decade)));
    all.filter(|tick| (from * 0.999..=to * 1.001).contains(tick)).collect()
}

/// The next of 1, 2, 5 times a power of ten.
fn round_up(value: f64) -> f64 {
    let decade = 10f64.powi(value.log10().floor() as i32);
    let step = [1.0, 2.0, 5.0].into_iter().find(|step| step * decade >= value * (1.0 - 1e-9));
    step.unwrap_or(10.0) * decade
}

fn round_down(value: f64) -> f64 {
    let decade = 10f64.powi(value.log10().floor() as i32);
    let step = [5.0, 2.0].into_iter().find(|step| step * decade <= value * (1.0 + 1e-9));
    step.unwrap_or(1.0) * decade
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn near(ticks: &[f64], expected: &[f64]) {
        let same = ticks.len() == expected.len()
            && ticks.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9 * b.max(1.0));
        assert!(same, "{ticks:?} {expected:?}");
    }

    #[test]
    fn ticks_are_at_round_numbers() {
        near(&Scale::from_zero(87.0, 4).ticks(), &[0.0, 50.0, 100.0]);
        near(&Scale::from_zero(0.37, 4).ticks(), &[0.0, 0.1, 0.2, 0.3, 0.4]);
        near(&Scale::time(47.0, 6).ticks(), &[0.0, 10.0, 20.0, 30.0, 40.0]);
        near(&Scale::time(200.0, 6).ticks(), &[0.0, 60.0, 120.0, 180.0]);
        near(&Scale::log(0.3, 17.0).ticks(), &[0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0]);
        near(&Scale::log(0.03, 1700.0).ticks(), &[0.1, 1.0, 10.0, 100.0, 1000.0]);
        near(&Scale::nines(40_000).ticks(), &[0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999]);
    }

    #[test]
    fn places_are_where_they_are_expected() {
        assert!((Scale::time(10.0, 5).place(2.5) - 0.25).abs() < 1e-9);
        assert!((Scale::log(1.0, 100.0).place(10.0) - 0.5).abs() < 1e-9);
        assert!((Scale::nines(100).place(0.9) - 0.5).abs() < 1e-9);
        assert_eq!((Scale::nines(100).place(1.0), Scale::log(1.0, 100.0).place(0.0)), (1.0, 0.0));
    }

    proptest! {
        #[test]
        fn every_scale_has_ticks_and_keeps_the_order(a in 1e-6..1e12f64, b in 1e-6..1e12f64, count in any::<u64>()) {
            let (low, high) = (a.min(b), a.max(b));
            for scale in [Scale::from_zero(high, 4), Scale::time(high, 6), Scale::log(low, high), Scale::nines(count)] {
                let ticks = scale.ticks();
                prop_assert!((1..=40).contains(&ticks.len()), "{scale:?} {ticks:?}");
                prop_assert!(scale.place(low) <= scale.place(high));
                prop_assert!(ticks.windows(2).all(|pair| scale.place(pair[0]) < scale.place(pair[1])));
            }
        }
    }
}
