//! Logs and metrics.

mod catalogue;
mod vitals;

use std::io::IsTerminal as _;
use std::time::Duration;

use anyhow::Context as _;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

pub(crate) use self::vitals::Vitals;
use crate::config::LogFormat;

/// Logs to standard error: for people on a terminal, as JSON for machines.
///
/// # Errors
/// When the filter makes no sense.
pub(crate) fn log(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    let filter =
        EnvFilter::try_new(filter).with_context(|| format!("understand the log setting {filter:?}"))?;
    let pretty = match format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if pretty {
        builder.compact().init();
    } else {
        builder.json().flatten_event(true).init();
    }
    Ok(())
}

/// Bounds of histograms of seconds: from a commit on a fast disk to a request that hangs.
const SECONDS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
const COUNTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// How often what was measured is sorted into the histograms. Until then, or until somebody reads the metrics, every single
/// measurement is kept.
const UPKEEP: Duration = Duration::from_secs(5);

/// Starts to collect metrics for the whole process, on a runtime.
///
/// # Errors
/// When something else collects them already.
pub(crate) fn metrics() -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)
        .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_batches".to_owned()), COUNTS))
        .context("set up metrics")?
        .install_recorder()
        .context("start metrics")?;
    catalogue::register();
    metrics_process::Collector::default().describe();
    let kept = handle.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            kept.run_upkeep();
        }
    });
    Ok(handle)
}
