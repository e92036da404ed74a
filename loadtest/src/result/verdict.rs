//! How a run ends, and the code it exits with.

use serde::{Deserialize, Serialize};

/// From the best to the worst. Broken promises weigh more than figures that mean nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    #[default]
    Held,
    /// Delivery was faultless, but a threshold was missed, or ops were refused for good.
    Threshold,
    /// The generator was late: its figures mean nothing.
    Invalid,
    /// The oracle found a violation.
    Violated,
}

/// Exit codes that no verdict has.
pub const EXIT_UNREACHABLE: u8 = 4;
pub const EXIT_USAGE: u8 = 5;

impl Verdict {
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Held => 0,
            Self::Threshold => 1,
            Self::Violated => 2,
            Self::Invalid => 3,
        }
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Held => "HELD",
            Self::Threshold => "THRESHOLD",
            Self::Violated => "VIOLATED",
            Self::Invalid => "INVALID",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_has_a_code_of_its_own() {
        let all = [Verdict::Held, Verdict::Threshold, Verdict::Violated, Verdict::Invalid];
        assert_eq!(all.map(Verdict::exit_code), [0, 1, 2, 3]);
        assert_eq!(serde_json::to_string(&all).unwrap(), r#"["held","threshold","violated","invalid"]"#);
        assert!(Verdict::Violated > Verdict::Invalid && Verdict::Invalid > Verdict::Threshold);
    }
}
