//! A token bucket: how many requests of a kind a connection may send.

/// So many a second, and so many at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    pub(crate) per_second: u32,
    pub(crate) burst: u32,
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
        let per_second = u64::from(allowance.per_second.max(1));
        let earned = now_ms.saturating_sub(self.at_ms).saturating_mul(per_second);
        self.used = self.used.saturating_sub(earned);
        self.at_ms = self.at_ms.max(now_ms);
        let room = (u64::from(allowance.burst) * 1_000).saturating_sub(self.used);
        if room < 1_000 {
            return Err((1_000 - room).div_ceil(per_second));
        }
        self.used += 1_000;
        Ok(())
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
}
