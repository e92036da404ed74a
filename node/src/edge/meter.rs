//! A token bucket: how many requests of a kind a connection may send.

/// `rate` a second, and `burst` at once. Times are milliseconds on any clock that does not go backwards.
#[derive(Debug)]
pub(crate) struct Meter {
    rate: u32,
    burst: u32,
    /// In thousandths of a request.
    left: u64,
    at_ms: u64,
}

impl Meter {
    pub(crate) fn new(rate: u32, burst: u32, now_ms: u64) -> Self {
        Self { rate, burst, left: u64::from(burst) * 1_000, at_ms: now_ms }
    }

    /// Takes one, or says how long to wait for it, in milliseconds.
    pub(crate) fn take(&mut self, now_ms: u64) -> Result<(), u64> {
        let earned = now_ms.saturating_sub(self.at_ms).saturating_mul(u64::from(self.rate));
        self.left = self.left.saturating_add(earned).min(u64::from(self.burst) * 1_000);
        self.at_ms = self.at_ms.max(now_ms);
        match self.left.checked_sub(1_000) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err((1_000 - self.left).div_ceil(u64::from(self.rate.max(1)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut meter = Meter::new(10, 3, 0);
        assert_eq!([meter.take(0), meter.take(0), meter.take(0)], [Ok(()); 3]);
        assert_eq!(meter.take(0), Err(100));
        assert_eq!(meter.take(99), Err(1));
        assert_eq!(meter.take(100), Ok(()));
        assert_eq!(meter.take(100), Err(100));
        assert_eq!(meter.take(1_000_000), Ok(()));
        assert_eq!(meter.take(1_000_000), Ok(()));
    }
}
