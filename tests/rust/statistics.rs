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

/// Variance of the square of the deviation from the mean.
pub fn variance_error(values: &[f64]) -> f64 {
    let mean = moments(values).0;
    let squares: Vec<_> = values.iter().map(|v| (v - mean).powi(2)).collect();
    moments(&squares).1
}

/// Skewness, and the variance of what a value contributes to it: by its influence function
/// `z^3 - 3 z - 3/2 g (z^2 - 1) - g` at the standardised value `z`, with the skewness `g`.
pub fn skewness(values: &[f64]) -> (f64, f64) {
    let (mean, variance) = moments(values);
    let scaled: Vec<_> = values.iter().map(|v| (v - mean) / variance.sqrt()).collect();
    let skewness = scaled.iter().map(|z| z.powi(3)).sum::<f64>() / values.len() as f64;
    let influence = |z: &f64| z.powi(3) - 3.0 * z - 1.5 * skewness * (z * z - 1.0) - skewness;
    let influences: Vec<_> = scaled.iter().map(influence).collect();
    (skewness, moments(&influences).1)
}
