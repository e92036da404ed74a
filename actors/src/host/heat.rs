//! How much is going on in a room.

/// Within this time what was counted fades to a third (to 1/e).
const MEMORY_MS: f32 = 10_000.0;

/// Ops per second, lately: an average whose weights fade with time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Heat {
    per_second: f32,
    at_ms: u64,
}

impl Heat {
    /// There was an op. Times are milliseconds on any clock.
    pub(super) fn count(&mut self, now_ms: u64) {
        *self = Self { per_second: self.at(now_ms) + 1_000.0 / MEMORY_MS, at_ms: now_ms };
    }

    pub(super) fn at(self, now_ms: u64) -> f32 {
        self.per_second * (-(now_ms.saturating_sub(self.at_ms) as f32) / MEMORY_MS).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_steadily_has_its_rate_and_what_ended_fades() {
        let mut heat = Heat::default();
        assert!(heat.at(5_000) < f32::EPSILON);
        for op in 0..3_000 {
            heat.count(1_000 + op * 20);
        }
        let now_ms = 1_000 + 3_000 * 20;
        assert!((heat.at(now_ms) - 50.0).abs() < 1.0, "{}", heat.at(now_ms));
        assert!(heat.at(now_ms + 60_000) < 0.2);
        assert!(heat.at(0) < 51.0, "a clock that went back makes nothing hotter");
    }
}
