//! How a crowd comes, stays and goes: when each clone arrives, who reads slowly, whose connection drops, and who is
//! replaced by somebody else. All by seed.

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::clock::{MILLISECOND, Micros, SECOND};

/// What a run's crowd does beyond what the recordings say.
#[derive(Clone, Debug)]
pub struct Crowd {
    /// Play for so long: again and again if the recordings are shorter, and no further if they are longer.
    pub length: Option<Micros>,
    /// Go on with the next recording of the mix, not with the same one.
    pub splice: bool,
    pub arrival: Arrival,
    /// So many clones a minute vanish, each with somebody else in their place a moment later.
    pub churn: f64,
    /// The share of the clones who read slowly.
    pub slow: f64,
    /// The share of the clones whose connection drops now and then.
    pub mobile: f64,
    /// For how long.
    pub away: Micros,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Before the clock starts; nobody measures how.
    Gathered,
    /// One after the other, evenly, from the start of the clock on. In no time: all at once.
    Within(Micros),
}

impl Default for Crowd {
    fn default() -> Self {
        Self {
            length: None,
            splice: false,
            arrival: Arrival::Gathered,
            churn: 0.0,
            slow: 0.0,
            mobile: 0.0,
            away: 30 * SECOND,
        }
    }
}

/// Between two drops of a mobile connection.
const REACHABLE: std::ops::Range<Micros> = 20 * SECOND..60 * SECOND;
/// Until somebody else comes for whoever vanished.
const VACANT: std::ops::Range<Micros> = 500 * MILLISECOND..3 * SECOND;
/// More replacements than this in a run are no churn but a storm.
const MOST_REPLACED: f64 = 1e6;

/// What one clone does of its own accord.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Habits {
    pub slow: bool,
    /// In the order of time.
    pub absences: Vec<Absence>,
}

/// The connection is gone, without a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Absence {
    pub from: Micros,
    pub until: Micros,
    /// Who comes back is somebody else.
    pub for_good: bool,
}

impl Crowd {
    /// What it does beyond what is usual, by the names that parameters have in results.
    #[must_use]
    pub fn parameters(&self) -> Vec<(&'static str, Value)> {
        let seconds = |time: Micros| json!(time as f64 / SECOND as f64);
        let arrival = match self.arrival {
            Arrival::Gathered => None,
            Arrival::Within(time) => Some(time),
        };
        let some = |share: f64| (share > 0.0).then(|| json!(share));
        let parameters = [
            ("length_seconds", self.length.map(seconds)),
            ("splice", self.splice.then_some(json!(true))),
            ("arrive_within_seconds", arrival.map(seconds)),
            ("churn_per_minute", some(self.churn)),
            ("slow", some(self.slow)),
            ("mobile", some(self.mobile)),
            ("away_seconds", (self.mobile > 0.0).then(|| seconds(self.away))),
        ];
        parameters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// # Errors
    /// The text says what makes no sense.
    pub fn check(&self) -> Result<(), &'static str> {
        let shares = [self.slow, self.mobile];
        if !shares.iter().all(|share| (0.0..=1.0).contains(share)) || shares.iter().sum::<f64>() > 1.0 {
            return Err("the slow and the mobile are shares of the clones, together at most 100 %");
        }
        if !(0.0..=60_000.0).contains(&self.churn) {
            return Err("the churn is 0 to 60000 clones a minute");
        }
        if !(SECOND..=600 * SECOND).contains(&self.away) {
            return Err("mobile clones are away for a second to ten minutes");
        }
        match (self.length, self.arrival) {
            (Some(0), _) => Err("a run lasts longer than no time"),
            (Some(length), Arrival::Within(time)) if time >= length => {
                Err("all clones arrive before the run is over")
            }
            _ => Ok(()),
        }
    }

    /// When the clone comes in, after the start of the clock. None: before.
    #[must_use]
    pub fn arrives(&self, clone: usize, clones: usize) -> Option<Micros> {
        match self.arrival {
            Arrival::Gathered => None,
            Arrival::Within(time) => Some((clone as f64 / clones.max(1) as f64 * time as f64) as Micros),
        }
    }

    /// What each clone does during a run of this length.
    #[must_use]
    pub fn habits(&self, clones: usize, length: Micros, seed: u64) -> Vec<Habits> {
        let mut rng = StdRng::seed_from_u64(seed ^ 0x63_726f_7764);
        let mut habits = vec![Habits::default(); clones];
        let mut shuffled: Vec<usize> = (0..clones).collect();
        shuffled.shuffle(&mut rng);
        let count = |share: f64| (share * clones as f64).round() as usize;
        let (slow, mobile) = (count(self.slow), count(self.mobile));
        for clone in shuffled.iter().take(slow) {
            habits[*clone].slow = true;
        }
        for clone in shuffled.iter().skip(slow).take(mobile) {
            habits[*clone].absences = self.outages(length, &mut rng);
        }
        self.replace(&mut habits, length, &mut rng);
        habits
    }

    fn outages(&self, length: Micros, rng: &mut StdRng) -> Vec<Absence> {
        let mut outages = Vec::new();
        // Everybody drops out at least once, if there is the time.
        let mut from = rng.random_range(0..=(length / 2).min(REACHABLE.end));
        while from < length {
            let until = from + self.away;
            outages.push(Absence { from, until, for_good: false });
            from = until + rng.random_range(REACHABLE);
        }
        outages
    }

    /// Replaces clones by others at random times, as many a minute as the churn says.
    fn replace(&self, habits: &mut [Habits], length: Micros, rng: &mut StdRng) {
        let expected = self.churn / 60.0 * length as f64 / SECOND as f64;
        if habits.is_empty() || expected <= 0.0 {
            return;
        }
        let between = length as f64 / expected.min(MOST_REPLACED);
        let mut at = 0.0;
        loop {
            // The time to the next is exponential: nobody waits for anybody.
            at -= between * (1.0 - rng.random::<f64>()).ln();
            if at >= length as f64 {
                break;
            }
            let clone = rng.random_range(0..habits.len());
            let from = at as Micros;
            habits[clone].absences.push(Absence {
                from,
                until: from + rng.random_range(VACANT),
                for_good: true,
            });
        }
        for habits in habits {
            habits.absences.sort_by_key(|absence| absence.from);
            // Whoever is away already cannot vanish.
            let mut back = 0;
            habits.absences.retain(|absence| {
                let there = absence.from >= back;
                back = if there { absence.until } else { back };
                there
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Micros = 60 * SECOND;

    #[test]
    fn arrivals_are_even_and_all_at_once_is_no_time() {
        let ramp = Crowd { arrival: Arrival::Within(10 * SECOND), ..Crowd::default() };
        let times: Vec<_> = (0..5).map(|clone| ramp.arrives(clone, 5).unwrap() / SECOND).collect();
        assert_eq!(times, [0, 2, 4, 6, 8]);
        let at_once = Crowd { arrival: Arrival::Within(0), ..Crowd::default() };
        assert_eq!((at_once.arrives(4, 5), Crowd::default().arrives(4, 5)), (Some(0), None));
    }

    #[test]
    fn shares_are_of_different_clones() {
        let crowd = Crowd { slow: 0.05, mobile: 0.25, ..Crowd::default() };
        let habits = crowd.habits(100, 5 * MINUTE, 1);
        assert_eq!(habits.iter().filter(|habits| habits.slow).count(), 5);
        let mobile: Vec<&Habits> = habits.iter().filter(|habits| !habits.absences.is_empty()).collect();
        assert!(mobile.len() == 25 && mobile.iter().all(|habits| !habits.slow));
        assert!(
            mobile
                .iter()
                .flat_map(|habits| &habits.absences)
                .all(|absence| { absence.until - absence.from == 30 * SECOND && !absence.for_good })
        );
    }

    #[test]
    fn churn_is_a_rate_and_comes_from_the_seed() {
        let crowd = Crowd { churn: 120.0, ..Crowd::default() };
        let habits = crowd.habits(50, 10 * MINUTE, 7);
        let replaced: usize = habits.iter().map(|habits| habits.absences.len()).sum();
        assert!((1000..1400).contains(&replaced), "{replaced}");
        assert_eq!(habits, crowd.habits(50, 10 * MINUTE, 7));
        assert_ne!(habits, crowd.habits(50, 10 * MINUTE, 8));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let wrong = [
            Crowd { slow: 0.6, mobile: 0.6, ..Crowd::default() },
            Crowd { slow: f64::NAN, ..Crowd::default() },
            Crowd { churn: -1.0, ..Crowd::default() },
            Crowd { away: 0, ..Crowd::default() },
            Crowd { length: Some(0), ..Crowd::default() },
            Crowd { length: Some(SECOND), arrival: Arrival::Within(SECOND), ..Crowd::default() },
        ];
        assert!(wrong.iter().all(|crowd| crowd.check().is_err()));
        assert!(Crowd::default().check().is_ok());
    }

    proptest! {
        #[test]
        fn nobody_goes_who_is_away(churn in 0.0..500.0, mobile in 0.0..1.0, seed in any::<u64>()) {
            let crowd = Crowd { churn, mobile, away: 5 * SECOND, ..Crowd::default() };
            for habits in crowd.habits(7, 2 * MINUTE, seed) {
                prop_assert!(habits.absences.iter().all(|absence| absence.from < absence.until));
                prop_assert!(habits.absences.windows(2).all(|pair| pair[0].until <= pair[1].from));
            }
        }
    }
}
