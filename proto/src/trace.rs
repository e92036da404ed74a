//! By what the parts of one op's way are put together: the ids of W3C Trace Context.

use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Names a trace, and in an error that error: 32 hexadecimal digits, not all of them 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId(NonZeroU128);

/// Names a step of a trace: 16 hexadecimal digits, not all of them 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanId(NonZeroU64);

/// A trace and the step of it that came before: what travels as `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    pub trace: TraceId,
    pub span: SpanId,
    /// Whether the trace is to be recorded.
    pub sampled: bool,
}

/// A text is no id, or no `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no trace context of W3C")]
pub struct InvalidTrace;

const SAMPLED: u8 = 1;

impl TraceId {
    /// Of any number; 0, which is none, counts as 1.
    #[must_use]
    pub const fn new(number: u128) -> Self {
        match NonZeroU128::new(number) {
            Some(number) => Self(number),
            None => Self(NonZeroU128::MIN),
        }
    }

    #[must_use]
    pub fn number(self) -> u128 {
        self.0.get()
    }
}

impl SpanId {
    /// Of any number; 0, which is none, counts as 1.
    #[must_use]
    pub fn new(number: u64) -> Self {
        Self(NonZeroU64::new(number).unwrap_or(NonZeroU64::MIN))
    }

    #[must_use]
    pub fn number(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceId({self})")
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpanId({self})")
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, if self.sampled { SAMPLED } else { 0 })
    }
}

impl FromStr for TraceId {
    type Err = InvalidTrace;

    fn from_str(text: &str) -> Result<Self, InvalidTrace> {
        let digits = hex(text, 32)?;
        let number = u128::from_str_radix(digits, 16).map_err(|_| InvalidTrace)?;
        NonZeroU128::new(number).map(Self).ok_or(InvalidTrace)
    }
}

impl FromStr for TraceParent {
    type Err = InvalidTrace;

    /// A later version may have more after the fields that this one knows.
    fn from_str(text: &str) -> Result<Self, InvalidTrace> {
        let mut fields = text.splitn(5, '-');
        let mut next = |len| hex(fields.next().ok_or(InvalidTrace)?, len);
        let (version, trace, span, flags) = (next(2)?, next(32)?, next(16)?, next(2)?);
        if version == "ff" || (version == "00" && fields.next().is_some()) {
            return Err(InvalidTrace);
        }
        let span = u64::from_str_radix(span, 16).map_err(|_| InvalidTrace)?;
        let flags = u8::from_str_radix(flags, 16).map_err(|_| InvalidTrace)?;
        Ok(Self {
            trace: trace.parse()?,
            span: NonZeroU64::new(span).map(SpanId).ok_or(InvalidTrace)?,
            sampled: flags & SAMPLED != 0,
        })
    }
}

/// Exactly so many hexadecimal digits, none of them a capital.
fn hex(text: &str, len: usize) -> Result<&str, InvalidTrace> {
    let plain = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if plain && text.len() == len { Ok(text) } else { Err(InvalidTrace) }
}

impl Serialize for TraceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TraceId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn parsed(text: &str) -> Option<TraceParent> {
        text.parse().ok()
    }

    #[test]
    fn the_example_of_the_recommendation_is_understood() {
        let trace = TraceId::new(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        let span = SpanId::new(0x00f0_67aa_0ba9_02b7);
        assert_eq!(parsed(EXAMPLE), Some(TraceParent { trace, span, sampled: true }));
        let unsampled = EXAMPLE.replace("-01", "-00");
        assert_eq!(parsed(&unsampled), Some(TraceParent { trace, span, sampled: false }));
        // Flags that this version does not know say nothing.
        assert_eq!(parsed(&EXAMPLE.replace("-01", "-fe")).map(|it| it.sampled), Some(false));
    }

    #[test]
    fn a_later_version_may_say_more_and_this_one_may_not() {
        let later = EXAMPLE.replacen("00", "cc", 1);
        assert_eq!(parsed(&later), parsed(EXAMPLE));
        assert_eq!(parsed(&format!("{later}-what-the-future-will-be-like")), parsed(EXAMPLE));
        assert_eq!(parsed(&format!("{EXAMPLE}-more")), None);
        assert_eq!(parsed(&format!("{later}.more")), None);
        assert_eq!(parsed(&EXAMPLE.replacen("00", "ff", 1)), None);
    }

    #[test]
    fn what_is_no_context_is_none() {
        for wrong in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01",
            " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(parsed(wrong), None, "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(trace: u128, span: u64, sampled: bool) {
            let parent = TraceParent { trace: TraceId::new(trace), span: SpanId::new(span), sampled };
            prop_assert_eq!(parent.to_string().len(), EXAMPLE.len());
            prop_assert_eq!(parsed(&parent.to_string()), Some(parent));
        }

        #[test]
        fn any_text_is_a_context_or_none(text in "[0-9a-fA-F-]{0,60}|\\PC{0,60}") {
            if let Some(parent) = parsed(&text) {
                prop_assert_eq!(&parent.to_string()[2..53], &text[2..53]);
            }
        }
    }
}
