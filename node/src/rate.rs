//! How often something may be done: so many in a stretch of time, and so many at once.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What either number of a rate may be.
pub(crate) const COUNTS: RangeInclusive<u32> = 1..=1_000_000;

/// So many at once, and then so many each second, minute or hour. As text: `6/minute burst 60`; without a burst as many at once as in a
/// stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    per: Per,
    burst: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Per {
    Second,
    Minute,
    Hour,
}

/// A text that is no rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a rate is like 6/minute or 6/minute burst 60: a second, minute or hour, and numbers from 1 to 1000000"
)]
pub struct InvalidRate;

impl Per {
    const ALL: [Self; 3] = [Self::Second, Self::Minute, Self::Hour];

    fn name(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
        }
    }

    fn seconds(self) -> u32 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
        }
    }
}

impl Rate {
    /// At least one, like the others here.
    #[must_use]
    pub fn per_second(count: u32) -> Self {
        Self::new(count, Per::Second)
    }

    #[must_use]
    pub fn per_minute(count: u32) -> Self {
        Self::new(count, Per::Minute)
    }

    #[must_use]
    pub fn per_hour(count: u32) -> Self {
        Self::new(count, Per::Hour)
    }

    fn new(count: u32, per: Per) -> Self {
        let count = count.clamp(*COUNTS.start(), *COUNTS.end());
        Self { count, per, burst: count }
    }

    /// The same, with so many at once.
    #[must_use]
    pub fn with_burst(self, burst: u32) -> Self {
        Self { burst: burst.clamp(*COUNTS.start(), *COUNTS.end()), ..self }
    }

    /// How many at once.
    #[must_use]
    pub fn burst(self) -> u32 {
        self.burst
    }

    /// Microseconds from one to the next.
    #[must_use]
    pub fn every_us(self) -> u64 {
        u64::from(self.per.seconds()) * 1_000_000 / u64::from(self.count)
    }

    /// How many a second, if that is a whole number.
    #[must_use]
    pub fn each_second(self) -> Option<u32> {
        self.count.is_multiple_of(self.per.seconds()).then_some(self.count / self.per.seconds())
    }
}

impl FromStr for Rate {
    type Err = InvalidRate;

    fn from_str(text: &str) -> Result<Self, InvalidRate> {
        let number = |text: &str| text.parse().ok().filter(|number| COUNTS.contains(number));
        let words: Vec<&str> = text.split_whitespace().collect();
        let (rate, burst) = match words[..] {
            [rate] => (rate, None),
            [rate, "burst", burst] => (rate, Some(number(burst).ok_or(InvalidRate)?)),
            _ => return Err(InvalidRate),
        };
        let (count, per) = rate.split_once('/').ok_or(InvalidRate)?;
        let count = number(count).ok_or(InvalidRate)?;
        let per = Per::ALL.into_iter().find(|it| it.name() == per).ok_or(InvalidRate)?;
        Ok(Self { count, per, burst: burst.unwrap_or(count) })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.per.name())?;
        if self.burst == self.count { Ok(()) } else { write!(f, " burst {}", self.burst) }
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_what_it_says() {
        let cases = [
            ("10/second burst 600", Rate::per_second(10).with_burst(600), 100_000, Some(10)),
            ("60/minute", Rate::per_minute(60), 1_000_000, Some(1)),
            ("90/minute burst 1", Rate::per_minute(90).with_burst(1), 666_666, None),
            ("1000/hour burst 334", Rate::per_hour(1_000).with_burst(334), 3_600_000, None),
            ("1000000/second", Rate::per_second(1_000_000), 1, Some(1_000_000)),
        ];
        for (text, rate, every_us, each_second) in cases {
            assert_eq!(text.parse(), Ok(rate), "{text}");
            assert_eq!(rate.to_string(), text);
            assert_eq!((rate.every_us(), rate.each_second()), (every_us, each_second), "{text}");
        }
        assert_eq!(" 60/minute  burst  60 ".parse(), Ok(Rate::per_minute(60)));
    }

    #[test]
    fn what_is_no_rate_is_refused() {
        let cases = [
            "",
            "60",
            "often",
            "60/fortnight",
            "0/second",
            "-1/second",
            "1.5/second",
            "1000001/second",
            "6/minute burst",
            "6/minute burst 0",
            "6/minute burst many",
            "6/minute 60",
            "6 / minute",
            "6/minute burst 60 more",
        ];
        for text in cases {
            assert_eq!(text.parse::<Rate>(), Err(InvalidRate), "{text:?}");
        }
    }
}
