//! Percentiles out of a histogram that a node counts, as its `/metrics` tells it in Prometheus' text.
//!
//! Pure.

/// The value below which such a share of what was counted lies, in the histogram's unit; between two bounds as if it was
/// spread evenly. None if nothing was counted, or it lies beyond the last bound.
#[must_use]
pub fn quantile(text: &str, name: &str, share: f64) -> Option<f64> {
    let buckets = buckets(text, name);
    let wanted = share * buckets.last()?.1;
    let (mut from, mut below) = (0.0, 0.0);
    for (bound, count) in buckets {
        if count >= wanted && count > below {
            let within = (wanted - below) / (count - below);
            return bound.is_finite().then_some(from + (bound - from) * within);
        }
        (from, below) = (bound, count);
    }
    None
}

/// Upper bounds, and how many lie below each; those that differ in other labels are added up.
fn buckets(text: &str, name: &str) -> Vec<(f64, f64)> {
    let mut buckets: Vec<(f64, f64)> = Vec::new();
    for line in text.lines() {
        let Some(labels) = line.strip_prefix(name).and_then(|rest| rest.strip_prefix("_bucket{")) else {
            continue;
        };
        let bound = labels.split_once("le=\"").and_then(|(_, rest)| rest.split_once('"'));
        let count = line.rsplit(' ').next().and_then(|count| count.parse::<f64>().ok());
        let (Some(Ok(bound)), Some(count)) = (bound.map(|(bound, _)| bound.parse::<f64>()), count) else {
            continue;
        };
        match buckets.iter_mut().find(|(known, _)| *known == bound) {
            Some((_, known)) => *known += count,
            None => buckets.push((bound, count)),
        }
    }
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    buckets
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# TYPE commit_seconds histogram\n\
        commit_seconds_bucket{shard=\"1\",le=\"0.001\"} 40\n\
        commit_seconds_bucket{shard=\"2\",le=\"0.001\"} 40\n\
        commit_seconds_bucket{shard=\"1\",le=\"0.005\"} 100\n\
        commit_seconds_bucket{shard=\"1\",le=\"+Inf\"} 100\n\
        commit_seconds_sum 1\n\
        commit_seconds_count 100\n\
        other_seconds_bucket{le=\"9\"} 7\n";

    #[test]
    fn a_percentile_lies_between_the_bounds_of_its_bucket() {
        let at = |share| quantile(TEXT, "commit_seconds", share).unwrap();
        assert!((at(0.4) - 0.0005).abs() < 1e-9);
        assert!((at(0.9) - 0.003).abs() < 1e-9);
        assert!((at(1.0) - 0.005).abs() < 1e-9);
    }

    #[test]
    fn what_was_not_counted_has_none() {
        assert_eq!(quantile(TEXT, "commit", 0.5), None);
        let beyond = "x_bucket{le=\"1\"} 1\nx_bucket{le=\"+Inf\"} 4\n";
        assert_eq!(quantile(beyond, "x", 0.99), None);
        assert_eq!(quantile("x_bucket{le=\"1\"} 0\n", "x", 0.5), None);
    }
}
