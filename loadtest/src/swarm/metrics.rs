//! What a node counts itself, as its `/metrics` tells it in Prometheus' text.
//!
//! Pure.

use std::collections::BTreeMap;

/// Counters by name; those that differ in labels alone are added up.
pub type Counters = BTreeMap<String, f64>;

/// Reads the counters of the project (`enfilade_…_total`); everything else is skipped.
#[must_use]
pub fn counters(text: &str) -> Counters {
    let mut counters = Counters::new();
    for line in text.lines().filter(|line| line.starts_with("enfilade_")) {
        let name_end = line.find(['{', ' ']).unwrap_or(line.len());
        let Some(name) = line[..name_end].strip_suffix("_total") else { continue };
        // Values of labels may hold anything, a count holds no space.
        let Some(value) = line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()) else {
            continue;
        };
        let name = name.strip_prefix("enfilade_").unwrap_or(name);
        *counters.entry(name.to_owned()).or_default() += value;
    }
    counters
}

/// By how much they grew.
#[must_use]
pub fn grown(before: &Counters, after: &Counters) -> Counters {
    let grown = |(name, value): (&String, &f64)| {
        let by = value - before.get(name).copied().unwrap_or(0.0);
        (by > 0.0).then(|| (name.clone(), by))
    };
    after.iter().filter_map(grown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# TYPE enfilade_slow_total counter\n\
        enfilade_slow_total{step=\"reset\"} 2\n\
        enfilade_slow_total{step=\"a b\"} 3\n\
        enfilade_received_bytes_total 1e3\n\
        enfilade_connections 7\n\
        other_total 9\n";

    #[test]
    fn counters_are_added_up_over_their_labels() {
        let counters = counters(TEXT);
        assert_eq!(counters["slow"], 5.0);
        assert_eq!(counters["received_bytes"], 1_000.0);
        assert_eq!(counters.len(), 2);
    }

    #[test]
    fn only_what_grew_is_told() {
        let before = counters("enfilade_slow_total 1\nenfilade_received_bytes_total 1000\n");
        assert_eq!(grown(&before, &counters(TEXT)), Counters::from([("slow".to_owned(), 4.0)]));
    }
}
