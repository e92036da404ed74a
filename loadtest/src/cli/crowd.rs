//! What `replay` plays, and how its crowd comes, stays and goes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use enfilade_loadtest::clock::micros;
use enfilade_loadtest::crowd::{Arrival, Crowd};
use enfilade_loadtest::mix::Mix;
use enfilade_loadtest::session::{Recorded, read_session};
use enfilade_loadtest::time::duration;

use super::files;

#[derive(Debug, Args)]
pub(super) struct CrowdArgs {
    /// How often each of several sessions is played, in the order of the files; else all the same
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', help_heading = "Mix")]
    weights: Vec<u32>,
    /// Play for so long: again and again if the sessions are shorter, no further if they are longer
    #[arg(long = "for", value_parser = duration, value_name = "TIME", help_heading = "Mix")]
    length: Option<Duration>,
    /// Go on with the next session of the mix, not with the same one again
    #[arg(long, requires = "length", help_heading = "Mix")]
    splice: bool,
    /// Come in during the run, evenly within this time (0: all at once), not before it
    #[arg(long, value_parser = duration, value_name = "TIME", help_heading = "Crowd")]
    arrive: Option<Duration>,
    /// So many clones vanish a minute (`5/min`), and somebody else comes in the place of each
    #[arg(long, default_value = "0", value_parser = rate, value_name = "RATE", help_heading = "Crowd")]
    churn: f64,
    /// The share of clones that read slowly (`5%`)
    #[arg(long, default_value = "0", value_parser = share, value_name = "SHARE", help_heading = "Crowd")]
    slow: f64,
    /// The share of clones whose connection drops now and then (`10%`)
    #[arg(long, default_value = "0", value_parser = share, value_name = "SHARE", help_heading = "Crowd")]
    mobile: f64,
    /// How long mobile clones are away
    #[arg(long, default_value = "30s", value_parser = duration, value_name = "TIME", help_heading = "Crowd")]
    away: Duration,
}

impl CrowdArgs {
    pub(super) fn crowd(&self) -> Crowd {
        Crowd {
            length: self.length.map(micros),
            splice: self.splice,
            arrival: self.arrive.map_or(Arrival::Gathered, |time| Arrival::Within(micros(time))),
            churn: self.churn,
            slow: self.slow,
            mobile: self.mobile,
            away: micros(self.away),
        }
    }

    pub(super) fn mix(&self, sessions: &[PathBuf]) -> anyhow::Result<Mix> {
        let recorded = sessions.iter().map(|path| load(path)).collect::<anyhow::Result<_>>()?;
        Ok(Mix::new(recorded, &self.weights)?)
    }
}

fn load(path: &Path) -> anyhow::Result<Recorded> {
    let session = read_session(files::open(path)?).with_context(|| path.display().to_string())?;
    if session.skipped > 0 {
        eprintln!("{} events of unknown kinds skipped", session.skipped);
    }
    Ok(session)
}

/// `5%` or `0.05`.
fn share(text: &str) -> Result<f64, String> {
    let (digits, whole) = text.strip_suffix('%').map_or((text, 1.0), |digits| (digits, 100.0));
    let share = digits.parse::<f64>().map_err(|_| format!("{digits:?} is no number"))? / whole;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("a share is 0 % to 100 %".into()) }
}

/// `5/min`, `2/s`, `100/h`, or a number a minute.
fn rate(text: &str) -> Result<f64, String> {
    let (digits, unit) = text.split_once('/').unwrap_or((text, "min"));
    let a_minute = match unit {
        "s" => 60.0,
        "m" | "min" => 1.0,
        "h" => 1.0 / 60.0,
        other => return Err(format!("{other:?} is no unit of time; take s, min or h")),
    };
    let number = digits.parse::<f64>().map_err(|_| format!("{digits:?} is no number"))?;
    if number.is_finite() && number >= 0.0 {
        Ok(number * a_minute)
    } else {
        Err("a rate is not negative".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_rates_have_units() {
        assert_eq!([share("5%"), share("0.05"), share("100%")], [Ok(0.05), Ok(0.05), Ok(1.0)]);
        assert_eq!(
            [rate("5/min"), rate("2/s"), rate("120/h"), rate("7")],
            [Ok(5.0), Ok(120.0), Ok(2.0), Ok(7.0)]
        );
        assert!(["", "%", "101%", "-1%", "NaN"].into_iter().all(|text| share(text).is_err()));
        assert!(["", "/s", "5/year", "-1/s", "inf"].into_iter().all(|text| rate(text).is_err()));
    }
}
