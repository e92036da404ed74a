//! A token bucket: how many requests of a kind a connection may send.

use crate::rate::Rate;

/// So many a second, and so many at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    pub(crate) per_second: u32,
    pub(crate) burst: u32,
}

impl From<Allowance> for Rate {
    fn from(Allowance { per_second, burst }: Allowance) -> Self {
        Self::per_second(per_second).with_burst(burst)
    }
}

impl Allowance {
    fn per_second_at_least_one(self) -> u64 {
        u64::from(self.per_second.max(1))
    }
}

/// What is used up of an allowance. It is full at first and small always: every connection has some.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// In thousandths of a request.
    used: u64,
    at_ms: u64,
}

impl Meter {
    /// Takes one, or says how long to wait for it, in milliseconds. Times are milliseconds on any clock that does not go backwards.
    pub(crate) fn take(&mut self, allowance: Allowance, now_ms: u64) -> Result<(), u64> {
        let per_second = allowance.per_second_at_least_one();
        self.used = self.used_at(allowance, now_ms);
        self.at_ms = self.at_ms.max(now_ms);
        let room = (u64::from(allowance.burst) * 1_000).saturating_sub(self.used);
        if room < 1_000 {
            return Err((1_000 - room).div_ceil(per_second));
        }
        self.used += 1_000;
        Ok(())
    }

    /// Whether everything that was taken has come back.
    pub(crate) fn is_unused(&self, allowance: Allowance, now_ms: u64) -> bool {
        self.used_at(allowance, now_ms) == 0
    }

    fn used_at(&self, allowance: Allowance, now_ms: u64) -> u64 {
        let earned = now_ms.saturating_sub(self.at_ms).saturating_mul(allowance.per_second_at_least_one());
        self.used.saturating_sub(earned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut meter = Meter::default();
        let mut take = |now_ms| meter.take(Allowance { per_second: 10, burst: 3 }, now_ms);
        assert_eq!([take(0), take(0), take(0)], [Ok(()); 3]);
        assert_eq!(take(0), Err(100));
        assert_eq!(take(99), Err(1));
        assert_eq!(take(100), Ok(()));
        assert_eq!(take(100), Err(100));
        assert_eq!(take(1_000_000), Ok(()));
        assert_eq!(take(1_000_000), Ok(()));
    }

    #[test]
    fn what_was_taken_comes_back() {
        let (mut meter, allowance) = (Meter::default(), Allowance { per_second: 10, burst: 3 });
        assert!(meter.is_unused(allowance, 0));
        assert_eq!([meter.take(allowance, 0), meter.take(allowance, 50)], [Ok(()); 2]);
        assert_eq!([199, 200].map(|now_ms| meter.is_unused(allowance, now_ms)), [false, true]);
    }
}
