//! Logs, metrics and traces.

mod catalogue;
mod collector;
mod examples;
mod log_filter;
mod openmetrics;
mod queues;
mod traces;
mod vitals;

use std::io::IsTerminal as _;
use std::time::Duration;

use anyhow::Context as _;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

pub use self::collector::InvalidCollector;
pub(crate) use self::collector::{Collector, CollectorSettings};
pub(crate) use self::log_filter::LogFilter;
pub(crate) use self::queues::{Queues, watch_bus};
pub(crate) use self::traces::Traces;
pub(crate) use self::vitals::Vitals;
use crate::config::{Config, LogFormat};

/// What the process tells of itself.
#[derive(Clone, Debug)]
pub struct Telemetry {
    metrics: PrometheusHandle,
    pub(crate) log: LogFilter,
}

impl Telemetry {
    /// Starts to log and to count for the whole process, on a runtime.
    ///
    /// # Errors
    /// When the filter of the log makes no sense, or something else logs or counts already.
    pub(crate) fn start(config: &Config) -> anyhow::Result<Self> {
        Ok(Self { log: log(&config.log, config.log_format)?, metrics: metrics()? })
    }
}

/// Metrics as somebody wants to read them: their media type and their text.
#[derive(Debug)]
pub(crate) struct Exposition {
    pub(crate) content_type: &'static str,
    pub(crate) text: String,
}

impl Telemetry {
    /// `accept`: the media types that the reader understands.
    pub(crate) fn expose(&self, accept: &str, traces: &Traces) -> Exposition {
        let text = self.metrics.render();
        if openmetrics::is_wanted(accept) {
            let text = openmetrics::render(&text, &traces.examples);
            Exposition { content_type: openmetrics::CONTENT_TYPE, text }
        } else {
            Exposition { content_type: "text/plain; version=0.0.4; charset=utf-8", text }
        }
    }
}

/// Logs to standard error: for people on a terminal, as JSON for machines.
///
/// # Errors
/// When the filter makes no sense.
pub(crate) fn log(filter: &str, format: LogFormat) -> anyhow::Result<LogFilter> {
    let parsed =
        log_filter::parse(filter).with_context(|| format!("understand the log setting {filter:?}"))?;
    let pretty = match format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    let builder = tracing_subscriber::fmt().with_env_filter(parsed).with_writer(std::io::stderr);
    if pretty {
        let builder = builder.compact().with_filter_reloading();
        let handle = builder.reload_handle();
        builder.init();
        Ok(LogFilter::new(filter, move |filter| handle.reload(filter)))
    } else {
        let builder = builder.json().flatten_event(true).with_filter_reloading();
        let handle = builder.reload_handle();
        builder.init();
        Ok(LogFilter::new(filter, move |filter| handle.reload(filter)))
    }
}

/// Bounds of histograms of seconds: from a commit on a fast disk to a request that hangs.
const SECONDS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
const COUNTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// How often what was measured is sorted into the histograms. Until then, or until somebody reads the metrics, every single
/// measurement is kept.
const UPKEEP: Duration = Duration::from_secs(5);

fn metrics() -> anyhow::Result<PrometheusHandle> {
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
