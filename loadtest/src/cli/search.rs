//! `search`: the highest rate, or the most members, that hold.

use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use enfilade_loadtest::result::{RunResult, Verdict};
use enfilade_loadtest::scenario::{Scenario, Settings, Span};
use enfilade_loadtest::search::{Found, Search};
use enfilade_loadtest::threshold;

use super::Failure;
use super::subject::{Bench, SubjectArgs, brief};

#[derive(Debug, Args)]
pub(super) struct SearchArgs {
    /// Search for the most members instead of the highest rate
    #[arg(long, help_heading = "Search")]
    most_members: bool,
    /// Where the search begins [default: 500 messages a second, or 100 members]
    #[arg(long, value_name = "N", help_heading = "Search")]
    start: Option<f64>,
    /// How near to what does not hold it ends, as a share
    #[arg(long, default_value_t = 0.05, value_name = "SHARE", help_heading = "Search")]
    precision: f64,
    /// How often what was found must hold again
    #[arg(long, default_value_t = 2, value_name = "N", help_heading = "Search")]
    confirm: u32,
    #[command(flatten)]
    subject: SubjectArgs,
}

pub(super) async fn run(args: SearchArgs) -> Result<u8, Failure> {
    let mut subject = args.subject;
    let usual = Settings {
        warm_up: Some(Span(Duration::from_secs(1))),
        measure: Some(Span(Duration::from_secs(4))),
        min_delivered: Some(0.99),
        may_saturate: Some(true),
        ..Settings::default()
    };
    let settings = subject.take_settings()?.or(usual);
    let sought = Sought { members: args.most_members, settings };
    let start = args.start.unwrap_or(if args.most_members { 100.0 } else { 500.0 });
    if !(start > 0.0 && args.precision > 0.0) {
        return Err(anyhow!("a search begins and ends above 0").into());
    }
    let search = Search::new(start, args.precision, args.confirm);
    let bench = Bench::new(&subject).await?;
    let mut result = sought.find(search.clone(), async |scenario| bench.server(scenario).await).await?;
    if subject.floor {
        let floor = sought.find(search, async |scenario| bench.floor(scenario).await).await?;
        for name in [sought.name(), "deliveries_per_second"] {
            let (Some(ours), Some(floors)) = (result.figures.get(name), floor.figures.get(name)) else {
                continue;
            };
            let (ratio, floors) = (ours / floors, *floors);
            result.figures.insert(format!("floor_{name}"), floors);
            result.figures.insert(format!("{name}_ratio_to_floor"), ratio);
        }
    }
    // Every try was judged by them.
    subject.result.conclude(result, &[])
}

/// What a search looks for.
struct Sought {
    members: bool,
    settings: Settings,
}

impl Sought {
    fn name(&self) -> &'static str {
        if self.members { "most_members" } else { "highest_rate" }
    }

    fn scenario(&self, value: f64) -> anyhow::Result<Scenario> {
        let scenario = if self.members {
            Scenario::with_members(&self.settings, value as u32)
        } else {
            Scenario::at_rate(&self.settings, value)
        };
        Ok(scenario?)
    }

    /// The result of the last run that held.
    async fn find(
        &self,
        mut search: Search,
        measure: impl AsyncFn(&Scenario) -> Result<RunResult, Failure>,
    ) -> Result<RunResult, Failure> {
        let mut best = None;
        while let Some(value) = search.next() {
            let scenario = self.scenario(value)?;
            let mut result = measure(&scenario).await?;
            threshold::judge(&mut result, &scenario.thresholds);
            eprintln!("{value:.0}: {}", brief(&result));
            if result.verdict == Verdict::Violated {
                return Ok(result);
            }
            let held = result.verdict == Verdict::Held;
            search.tell(held);
            if held || best.is_none() {
                best = Some(result);
            }
        }
        let mut best = best.ok_or_else(|| anyhow!("nothing was tried"))?;
        match search.found() {
            Found::Highest(value) => drop(best.figures.insert(self.name().to_owned(), value)),
            Found::AtLeast(value) => {
                best.figures.insert(self.name().to_owned(), value);
                best.reasons.push(format!("The search ended early: the {} is a lower bound.", self.name()));
            }
            Found::Nothing => best.blame(Verdict::Threshold, "Nothing held."),
        }
        Ok(best)
    }
}
