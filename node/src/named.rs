//! Every error that somebody is told has a name, under which it is in the log: the id of the trace that it belongs to, or else one of its
//! own.

use std::error::Error as StdError;
use std::iter;

use enfilade_proto::{Error, ErrorCode, TraceId};

/// A name that nothing else has.
pub(crate) fn fresh() -> TraceId {
    TraceId::new(rand::random())
}

/// Gives an error a name and puts it into the log, unless that was done where it broke.
pub(crate) fn name(error: &mut Error, trace: Option<TraceId>) {
    if error.trace_id.is_some() {
        return;
    }
    let trace_id = trace.unwrap_or_else(fresh);
    error.trace_id = Some(trace_id);
    log(trace_id, error.code, &error.message, None);
}

/// Puts an error into the log. What broke on our side is loud: an error, or a warning if it is known to pass, like a database that does
/// not answer. Everything else is quiet, because anybody can be refused as often as they like.
pub(crate) fn log(
    trace_id: TraceId,
    code: ErrorCode,
    message: &str,
    cause: Option<&(dyn StdError + 'static)>,
) {
    let cause = cause.map(chain);
    match (code, cause.as_deref()) {
        (ErrorCode::Internal, cause) => tracing::error!(%trace_id, %code, message, cause, "a request failed"),
        (_, Some(cause)) => tracing::warn!(%trace_id, %code, message, cause, "a request failed"),
        (_, None) => tracing::debug!(%trace_id, %code, message, "a request was refused"),
    }
}

/// A cause and its causes.
fn chain(cause: &(dyn StdError + 'static)) -> String {
    let causes: Vec<_> =
        iter::successors(Some(cause), |&cause| cause.source()).map(ToString::to_string).collect();
    causes.join(": ")
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use enfilade_store::StoreError;
    use serde_json::Value;

    use super::*;
    use crate::people::Refusal;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The one line that is logged meanwhile: its level, the name of the error, and its cause.
    fn logged(work: impl FnOnce()) -> [Value; 3] {
        let log = Log::default();
        let writer = log.clone();
        let logs = tracing_subscriber::fmt().json().with_max_level(tracing::Level::DEBUG);
        tracing::subscriber::with_default(logs.with_writer(move || writer.clone()).finish(), work);
        let line: Value = serde_json::from_slice(&log.0.lock().unwrap()).unwrap();
        [&line["level"], &line["fields"]["trace_id"], &line["fields"]["cause"]].map(Clone::clone)
    }

    #[test]
    fn what_broke_on_our_side_is_loud_and_what_anybody_can_cause_is_not() {
        let away = StoreError::Unavailable("connection refused".into());
        let refusals = [
            (Refusal::internal("a wheel came off"), "ERROR", Some("a wheel came off")),
            (away.into(), "WARN", Some("the database is not available: connection refused")),
            (Refusal::new(ErrorCode::Internal, "something went wrong"), "ERROR", None),
            (Refusal::new(ErrorCode::Busy, "too many ops"), "DEBUG", None),
            (Refusal::new(ErrorCode::Forbidden, "you may not"), "DEBUG", None),
        ];
        for (refusal, level, cause) in refusals {
            let mut told = None;
            let [logged, name, why] = logged(|| told = Error::from(&refusal).trace_id);
            assert_eq!((logged.as_str(), why.as_str()), (Some(level), cause), "{refusal}");
            assert_eq!(name, told.unwrap().to_string());
            // The same over HTTP.
            let [logged, name, why] = self::logged(|| refusal.log(TraceId::new(7)));
            assert_eq!((logged.as_str(), why.as_str()), (Some(level), cause), "{refusal}");
            assert_eq!(name, TraceId::new(7).to_string());
        }
    }
}
