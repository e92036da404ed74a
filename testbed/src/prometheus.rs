//! A Prometheus that reads the nodes' metrics and judges them by the chart's own alerts, in a world in which time flies: for it a minute is
//! a second, in all that the rules say, so that an alert that comes after five minutes comes after five seconds.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::admin;
use crate::ports::{self, loopback};
use crate::process::{Launch, Process, ProcessError};

/// The rules that the chart installs.
const RULES: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../helm/enfilade/files/alerts.yaml"));
/// How many times as fast time flies.
pub const FASTER: u32 = 60;
/// How often metrics are read and rules are judged: as where the chart is installed, every 15 s of that time.
const ROUND_MS: u32 = 15_000 / FASTER;
const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum PrometheusError {
    #[error("Prometheus is missing: install the package `prometheus`, or name the program in $PROMETHEUS")]
    Missing,
    #[error("its configuration cannot be written: {0}")]
    Write(#[from] io::Error),
    #[error(transparent)]
    Process(#[from] ProcessError),
}

/// A running Prometheus.
#[derive(Debug)]
pub struct Prometheus {
    process: Process,
    pub address: SocketAddr,
}

/// `$PROMETHEUS`, or the one on the path.
#[must_use]
pub fn program() -> Option<PathBuf> {
    crate::program::find("PROMETHEUS", "prometheus", &[])
}

impl Prometheus {
    /// Starts one that watches nodes, by their names and operators' ports.
    ///
    /// # Errors
    /// When it is not installed or does not start.
    pub async fn start(
        folder: &Path,
        logs: &Path,
        nodes: &[(String, SocketAddr)],
    ) -> Result<Self, PrometheusError> {
        let program = program().ok_or(PrometheusError::Missing)?;
        let (configuration, rules) = (folder.join("prometheus.yml"), folder.join("alerts.yml"));
        std::fs::write(&rules, hasten(RULES))?;
        std::fs::write(&configuration, configure(&rules, nodes))?;
        let address = loopback(ports::free()?);
        let mut process = Launch::new("prometheus", program)
            .args([format!("--config.file={}", configuration.display())])
            .args([format!("--storage.tsdb.path={}", folder.join("prometheus").display())])
            .args([format!("--web.listen-address={address}")])
            .start(logs)?;
        process.wait_until("ready", START, async || is_ready(address).await).await?;
        Ok(Self { process, address })
    }

    pub async fn stop(&mut self) {
        self.process.stop(STOP).await;
    }
}

async fn is_ready(address: SocketAddr) -> bool {
    admin::get(address, "/-/ready").await.is_ok_and(|answer| answer.status == 200)
}

/// The alerts that fire at present.
///
/// # Errors
/// When it does not answer, or with something else.
pub async fn firing(address: SocketAddr) -> io::Result<BTreeSet<String>> {
    let answer: serde_json::Value = admin::get(address, "/api/v1/alerts").await?.json()?;
    let alerts =
        answer["data"]["alerts"].as_array().ok_or_else(|| io::Error::other("no alerts were told"))?;
    let fires = alerts.iter().filter(|alert| alert["state"] == "firing");
    Ok(fires.filter_map(|alert| Some(alert["labels"]["alertname"].as_str()?.to_owned())).collect())
}

/// The labels are those that the chart's monitors give.
fn configure(rules: &Path, nodes: &[(String, SocketAddr)]) -> String {
    let mut text = format!(
        "global: {{scrape_interval: {ROUND_MS}ms, scrape_timeout: {ROUND_MS}ms, evaluation_interval: {ROUND_MS}ms}}\n\
         rule_files: ['{}']\n\
         scrape_configs:\n  - job_name: enfilade\n    static_configs:\n",
        rules.display()
    );
    for (name, admin) in nodes {
        let labels = format!("{{namespace: faults, release: faults, pod: {name}}}");
        // Text grows as long as there is memory.
        let _ = writeln!(text, "      - {{targets: ['{admin}'], labels: {labels}}}");
    }
    text
}

/// All times that rules say, as they are where time flies.
fn hasten(rules: &str) -> String {
    let mut hastened = String::with_capacity(rules.len());
    let mut number = String::new();
    let mut before = ' ';
    let mut letters = rules.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter.is_ascii_digit() && !before.is_alphanumeric()
            || letter.is_ascii_digit() && !number.is_empty()
        {
            number.push(letter);
        } else {
            let unit = match letter {
                's' => Some(1_000),
                'm' => Some(60_000),
                'h' => Some(3_600_000),
                _ => None,
            };
            let ends = letters.peek().is_none_or(|next| !next.is_alphanumeric());
            match (number.parse::<u64>(), unit.filter(|_| ends)) {
                (Ok(count), Some(ms)) => {
                    let _ = write!(hastened, "{}ms", count * ms / u64::from(FASTER));
                }
                _ => {
                    hastened.push_str(&number);
                    hastened.push(letter);
                }
            }
            number.clear();
        }
        before = letter;
    }
    hastened + &number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_rules_fly_and_everything_else_stays() {
        let rule = "expr: rate(a_total[5m]) > 14.4 * 0.01 and b[1h] offset 30s\nfor: 2m\nsummary: 10 more than 250 ms, 4,096 m2";
        let hastened = "expr: rate(a_total[5000ms]) > 14.4 * 0.01 and b[60000ms] offset 500ms\nfor: 2000ms\nsummary: 10 more than 250 ms, 4,096 m2";
        assert_eq!(hasten(rule), hastened);
        assert!(!hasten(RULES).contains("for: 5m"));
    }

    #[tokio::test]
    async fn a_node_that_nobody_finds_is_an_alert_within_seconds() {
        let folder = tempfile::tempdir().unwrap();
        let nowhere = loopback(ports::free().unwrap());
        let nodes = [("node-1".to_owned(), nowhere)];
        let mut prometheus = match Prometheus::start(folder.path(), folder.path(), &nodes).await {
            Ok(prometheus) => prometheus,
            Err(PrometheusError::Missing) => return eprintln!("skipped: {}", PrometheusError::Missing),
            Err(error) => panic!("{error}"),
        };
        let expected: BTreeSet<String> = ["EnfiladeMetricsAbsent", "EnfiladeNodeDown"].map(Into::into).into();
        let found = async {
            while firing(prometheus.address).await.unwrap() != expected {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), found).await.unwrap();
        prometheus.stop().await;
    }
}
