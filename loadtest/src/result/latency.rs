//! A class of times: its percentiles, and the whole histogram behind them, so that runs can be merged and compared.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer};
use hdrhistogram::{AdditionError, Histogram};
use serde::{Deserialize, Serialize};

const MICROS_PER_MS: f64 = 1000.0;

/// In milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Percentiles {
    pub count: u64,
    pub mean: f64,
    pub min: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p99_9: f64,
    pub max: f64,
}

/// One class of times. Corrected ones count from when something was to be sent, raw ones from when it was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LatencyResult {
    pub corrected: Percentiles,
    pub raw: Option<Percentiles>,
    /// HDR V2, deflated, in base64; of the corrected times, in microseconds.
    pub histogram: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub raw_histogram: String,
}

#[derive(Debug, thiserror::Error)]
pub enum HistogramError {
    #[error("a histogram is longer than {MAX_ENCODED} bytes")]
    TooLong,
    #[error("a histogram is not in base64: {0}")]
    Base64(#[from] base64::DecodeError),
    #[error("a histogram cannot be decoded: {0:?}")]
    Format(hdrhistogram::serialization::DeserializeError),
    #[error("histograms do not go together: {0:?}")]
    Merge(AdditionError),
}

/// A histogram of three digits up to an hour takes a twentieth of this at most.
const MAX_ENCODED: usize = 4 << 20;

impl Percentiles {
    /// Of microseconds.
    #[must_use]
    pub fn of(times: &Histogram<u64>) -> Self {
        if times.is_empty() {
            return Self::default();
        }
        let at = |percentile| times.value_at_percentile(percentile) as f64 / MICROS_PER_MS;
        Self {
            count: times.len(),
            mean: times.mean() / MICROS_PER_MS,
            min: times.min() as f64 / MICROS_PER_MS,
            p50: at(50.0),
            p90: at(90.0),
            p99: at(99.0),
            p99_9: at(99.9),
            max: times.max() as f64 / MICROS_PER_MS,
        }
    }
}

impl LatencyResult {
    /// Of microseconds.
    #[must_use]
    pub fn of(corrected: &Histogram<u64>, raw: Option<&Histogram<u64>>) -> Self {
        Self {
            corrected: Percentiles::of(corrected),
            raw: raw.map(Percentiles::of),
            histogram: encode(corrected),
            raw_histogram: raw.map(encode).unwrap_or_default(),
        }
    }

    /// None if the result has only percentiles.
    ///
    /// # Errors
    /// When it is none of ours.
    pub fn corrected_times(&self) -> Result<Option<Histogram<u64>>, HistogramError> {
        decode_some(&self.histogram)
    }

    /// None if the result has only percentiles, or not even these.
    ///
    /// # Errors
    /// When it is none of ours.
    pub fn raw_times(&self) -> Result<Option<Histogram<u64>>, HistogramError> {
        decode_some(&self.raw_histogram)
    }

    /// What several workers, or several runs, measured. Raw times are kept only if all have them.
    ///
    /// # Errors
    /// When a histogram is missing or none of ours.
    pub fn merged<'a>(parts: impl IntoIterator<Item = &'a Self>) -> Result<Self, HistogramError> {
        let mut corrected: Option<Histogram<u64>> = None;
        let mut raw: Option<Histogram<u64>> = None;
        let mut all_raw = true;
        for part in parts {
            add(&mut corrected, part.corrected_times()?)?;
            let part_raw = part.raw_times()?;
            all_raw &= part_raw.is_some();
            add(&mut raw, part_raw)?;
        }
        let raw = raw.filter(|_| all_raw);
        Ok(corrected.map(|corrected| Self::of(&corrected, raw.as_ref())).unwrap_or_default())
    }
}

fn add(sum: &mut Option<Histogram<u64>>, more: Option<Histogram<u64>>) -> Result<(), HistogramError> {
    match (sum, more) {
        (_, None) => Ok(()),
        (sum @ None, more) => {
            *sum = more;
            Ok(())
        }
        (Some(sum), Some(more)) => {
            sum.auto(true);
            sum.add(more).map_err(HistogramError::Merge)
        }
    }
}

/// A histogram as text, as it stands in results and travels between workers.
#[must_use]
pub fn encode(times: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    match V2DeflateSerializer::new().serialize(times, &mut bytes) {
        Ok(_) => BASE64.encode(bytes),
        // Writing into memory does not fail, and no count is beyond what the format holds.
        Err(_) => String::new(),
    }
}

/// # Errors
/// When it is none of ours.
pub fn decode(text: &str) -> Result<Histogram<u64>, HistogramError> {
    if text.len() > MAX_ENCODED {
        return Err(HistogramError::TooLong);
    }
    let bytes = BASE64.decode(text)?;
    Deserializer::new().deserialize(&mut bytes.as_slice()).map_err(HistogramError::Format)
}

fn decode_some(text: &str) -> Result<Option<Histogram<u64>>, HistogramError> {
    if text.is_empty() { Ok(None) } else { decode(text).map(Some) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn histogram(values: &[u64]) -> Histogram<u64> {
        let mut times = Histogram::new_with_bounds(1, 3_600_000_000, 3).unwrap();
        values.iter().for_each(|value| times.record(*value).unwrap());
        times
    }

    #[test]
    fn percentiles_are_in_milliseconds() {
        let of = Percentiles::of(&histogram(&(1..=1000).map(|n| n * 1000).collect::<Vec<_>>()));
        assert_eq!(of.count, 1000);
        for (is, should) in
            [(of.p50, 500.0), (of.p90, 900.0), (of.p99, 990.0), (of.max, 1000.0), (of.mean, 500.5)]
        {
            assert!((is - should).abs() <= should / 500.0, "{is} {should}");
        }
        assert_eq!(Percentiles::of(&histogram(&[])), Percentiles::default());
    }

    #[test]
    fn raw_times_survive_only_if_all_have_them() {
        let (a, b) = (histogram(&[1000]), histogram(&[9000]));
        let merged =
            |x, y| LatencyResult::merged([&LatencyResult::of(&a, x), &LatencyResult::of(&b, y)]).unwrap();
        assert_eq!(merged(Some(&a), Some(&b)).raw.map(|raw| raw.count), Some(2));
        assert_eq!(merged(Some(&a), None).raw, None);
    }

    #[test]
    fn what_is_no_histogram_is_told() {
        assert!(matches!(decode("?"), Err(HistogramError::Base64(_))));
        assert!(matches!(decode("AAAA"), Err(HistogramError::Format(_))));
        assert!(matches!(decode(&"A".repeat(MAX_ENCODED + 1)), Err(HistogramError::TooLong)));
    }

    proptest! {
        #[test]
        fn merging_is_measuring_together(a in prop::collection::vec(1u64..3_600_000_000, 1..50),
                                         b in prop::collection::vec(1u64..3_600_000_000, 1..50)) {
            let parts = [LatencyResult::of(&histogram(&a), None), LatencyResult::of(&histogram(&b), None)];
            let merged = LatencyResult::merged(&parts).unwrap();
            let together = histogram(&[a, b].concat());
            prop_assert_eq!(merged.corrected_times().unwrap().unwrap(), together);
        }

        #[test]
        fn no_text_makes_decoding_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&BASE64.encode(&bytes));
            let mut spoilt = BASE64.decode(encode(&histogram(&[5, 500, 50_000]))).unwrap();
            for (at, byte) in bytes.iter().enumerate().take(3) {
                let at = (at * 31 + usize::from(*byte)) % spoilt.len();
                spoilt[at] ^= byte;
            }
            let _ = decode(&BASE64.encode(&spoilt));
        }
    }
}
