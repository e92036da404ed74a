//! Faults of a result, from what their tormentor wrote down beside it (marks of faults, see `FORMAT.md`).

use std::io::{self, BufRead};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Fault, RunResult};
use crate::journal::{Fault as Mark, Phase};

#[derive(Debug, thiserror::Error)]
pub enum MarksError {
    #[error("the marks cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("line {line} of the marks: {source}")]
    Line { line: usize, source: serde_json::Error },
    #[error("when the run started is not known: {0}")]
    Started(#[from] humantime::TimestampError),
}

/// What may stand in a file of marks. Samples of bounds are the checker's.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Line {
    Fault(Mark),
    Sample {
        #[serde(rename = "metric")]
        _metric: IgnoredAny,
    },
}

impl RunResult {
    /// Draws what was done to the cluster meanwhile. What nobody healed lasts until the end.
    ///
    /// # Errors
    /// When the marks are none, or the result does not say when it started.
    pub fn mark_faults(&mut self, marks: impl BufRead) -> Result<(), MarksError> {
        let started = humantime::parse_rfc3339(&self.started)?;
        let started = milliseconds(started);
        for (i, line) in marks.lines().enumerate() {
            let line = line?;
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            match serde_json::from_str(&line) {
                Ok(Line::Fault(mark)) => self.mark_fault(&mark, (mark.at - started) / 1e3),
                Ok(Line::Sample { .. }) => {}
                Err(source) => return Err(MarksError::Line { line: i + 1, source }),
            }
        }
        Ok(())
    }

    fn mark_fault(&mut self, mark: &Mark, at: f64) {
        let at = at.clamp(0.0, self.seconds);
        if mark.phase == Phase::Inject {
            self.faults.push(Fault { from: at, to: self.seconds, label: mark.fault.clone() });
        } else if let Some(fault) = self.faults.iter_mut().rev().find(|fault| fault.label == mark.fault) {
            fault.to = at;
        }
    }
}

fn milliseconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_injected_lasts_until_it_is_healed() {
        let mut result =
            RunResult { started: "1970-01-01T00:01:00Z".into(), seconds: 30.0, ..RunResult::default() };
        let marks = "# marks\n{\"at\":61000,\"metric\":\"queue\",\"value\":1,\"bound\":2}\n{\"at\":65000,\"fault\":\"kill\",\"phase\":\"inject\",\"limit_ms\":2000}\n\n\
                     {\"at\":68500,\"fault\":\"kill\",\"phase\":\"heal\"}\n\
                     {\"at\":70000,\"fault\":\"lag\",\"phase\":\"inject\"}\n";
        result.mark_faults(marks.as_bytes()).unwrap();
        let drawn: Vec<_> =
            result.faults.iter().map(|fault| (fault.label.as_str(), fault.from, fault.to)).collect();
        assert_eq!(drawn, [("kill", 5.0, 8.5), ("lag", 10.0, 30.0)]);
    }

    #[test]
    fn what_are_no_marks_is_told() {
        let mut result = RunResult { started: "1970-01-01T00:01:00Z".into(), ..RunResult::default() };
        assert!(
            result.mark_faults("{}\n".as_bytes()).unwrap_err().to_string().starts_with("line 1 of the marks")
        );
        assert!(matches!(RunResult::default().mark_faults("".as_bytes()), Err(MarksError::Started(_))));
    }
}
