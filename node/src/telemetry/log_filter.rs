//! What is logged, which operators may change while the node runs.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::reload;

type Reload = dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync;

/// What operators changed is logged whatever else is.
const AUDIT: &str = "enfilade::audit=warn";

/// # Errors
/// When it makes no sense.
pub(super) fn parse(filter: &str) -> Result<EnvFilter, ParseError> {
    Ok(EnvFilter::try_new(filter)?.add_directive(AUDIT.parse()?))
}

/// The filter of the log, and how to change it.
#[derive(Clone)]
pub(crate) struct LogFilter {
    said: Arc<Mutex<String>>,
    reload: Arc<Reload>,
}

impl LogFilter {
    pub(super) fn new(
        said: &str,
        reload: impl Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync + 'static,
    ) -> Self {
        Self { said: Arc::new(Mutex::new(said.to_owned())), reload: Arc::new(reload) }
    }

    /// As it was set last.
    pub(crate) fn get(&self) -> String {
        self.lock().clone()
    }

    /// # Errors
    /// When the filter makes no sense; then everything is logged as before.
    pub(crate) fn set(&self, filter: &str) -> Result<(), String> {
        let parsed = parse(filter).map_err(|error| error.to_string())?;
        let mut said = self.lock();
        (self.reload)(parsed).map_err(|error| error.to_string())?;
        filter.clone_into(&mut said);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, String> {
        // Nothing under this lock can fail half-way.
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogFilter").field(&self.get()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_changes_nothing() {
        let filter = LogFilter::new("info", |_| Ok(()));
        assert!(filter.set("enfilade_node=loud").is_err());
        assert_eq!(filter.get(), "info");
        filter.set("enfilade_node=debug,warn").unwrap();
        assert_eq!(filter.get(), "enfilade_node=debug,warn");
    }
}
