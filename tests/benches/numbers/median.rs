//! The median.

/// The median of many numbers, with minimum and maximum.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Median {
    pub(crate) middle: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Median {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        Self { middle: f64::midpoint(low, high), least: sorted[0], most: sorted[sorted.len() - 1] }
    }
}
