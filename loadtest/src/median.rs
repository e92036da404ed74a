//! The median: what several runs say together.

/// The middle one, or the mean of the two in the middle; 0 of nothing.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n.is_multiple_of(2) => f64::midpoint(values[n / 2 - 1], values[n / 2]),
        n => values[n / 2],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_lie_between() {
        let medians = [vec![4.0, 1.0, 3.0, 2.0], vec![3.0, 1.0, 2.0], vec![]].map(median);
        assert_eq!(medians, [2.5, 2.0, 0.0]);
    }
}
