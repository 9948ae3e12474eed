//! Comparisons of samples.

/// Mean and unbiased variance.
pub fn moments(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    (mean, squares / (values.len() as f64 - 1.0))
}

/// Largest distance of two empirical distributions in units of its 1e-6 quantile.
pub fn smirnov(a: &mut [f64], b: &mut [f64]) -> f64 {
    a.sort_by(f64::total_cmp);
    b.sort_by(f64::total_cmp);
    let (mut i, mut j, mut largest) = (0, 0, 0.0f64);
    while i < a.len() && j < b.len() {
        let value = a[i].min(b[j]);
        while i < a.len() && a[i] <= value {
            i += 1;
        }
        while j < b.len() && b[j] <= value {
            j += 1;
        }
        largest = largest.max((i as f64 / a.len() as f64 - j as f64 / b.len() as f64).abs());
    }
    let (n, m) = (a.len() as f64, b.len() as f64);
    // P(D > c sqrt((n + m) / (n m))) = 2 exp(-2 c^2), which is 1e-6 at c = 2.69.
    largest / (2.69 * ((n + m) / (n * m)).sqrt())
}
