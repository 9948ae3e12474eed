//! Statistics of the generator; the large sample runs with `--ignored`.

use mho_core::Key;
use mho_core::rng::Stream;

/// Standard normal distribution function (Abramowitz and Stegun 7.1.26 is too coarse for tails, so
/// the complementary error function is summed as a continued fraction beyond 2).
fn normal_cdf(z: f64) -> f64 {
    let x = z.abs() / std::f64::consts::SQRT_2;
    let tail = if x < 2.0 {
        let mut term = x;
        let mut sum = x;
        for n in 1..80 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        0.5 - sum / std::f64::consts::PI.sqrt()
    } else {
        let fraction = (1..=60).rev().fold(x, |f, k| x + f64::from(k) / 2.0 / f);
        (-x * x).exp() / (2.0 * std::f64::consts::PI.sqrt() * fraction)
    };
    if z < 0.0 { tail } else { 1.0 - tail }
}

/// Moments, Kolmogorov-Smirnov distance on fine bins and tail counts of `rows * columns` normals.
fn check_normals(rows: u32, columns: usize) {
    const BINS: usize = 16_000;
    let n = f64::from(rows) * columns as f64;
    let draw = Key::new(0x5eed, 3).stream(Stream::OutputNoise);
    let mut histogram = vec![0u64; BINS];
    let mut buffer = vec![0.0f32; columns];
    let (mut sum, mut square, mut fourth, mut largest) = (0.0, 0.0, 0.0, 0.0f64);
    for row in 0..rows {
        draw.fill_normal(row, 0, &mut buffer);
        for value in &buffer {
            let z = f64::from(*value);
            sum += z;
            square += z * z;
            fourth += z * z * z * z;
            largest = largest.max(z.abs());
            histogram[(((z + 8.0) / 16.0) * BINS as f64) as usize] += 1;
        }
    }
    // Standard errors of mean, variance and fourth moment: 1, sqrt 2 and sqrt 96 over sqrt n; five
    // of them give a false alarm once in two million.
    let error = 1.0 / n.sqrt();
    assert!((sum / n).abs() < 5.0 * error, "mean {}", sum / n);
    assert!((square / n - 1.0).abs() < 5.0 * 2f64.sqrt() * error, "variance {}", square / n);
    assert!((fourth / n - 3.0).abs() < 5.0 * 96f64.sqrt() * error, "fourth {}", fourth / n);
    let mut cumulated = 0u64;
    let mut distance = 0.0f64;
    for (bin, count) in histogram.iter().enumerate() {
        cumulated += count;
        let edge = (bin as f64 + 1.0) / BINS as f64 * 16.0 - 8.0;
        distance = distance.max((cumulated as f64 / n - normal_cdf(edge)).abs());
    }
    // P(D > 2.5 / sqrt n) = 2 exp(-12.5) = 7e-6.
    assert!(distance * n.sqrt() < 2.5, "KS {}", distance * n.sqrt());
    for threshold in [3.0, 4.0, 4.5, 5.0] {
        let expected = 2.0 * n * normal_cdf(-threshold);
        let bins = |lo: f64, hi: f64| -> u64 {
            let at = |z: f64| ((z + 8.0) / 16.0 * BINS as f64).round() as usize;
            histogram[at(lo)..at(hi)].iter().sum()
        };
        let found = (bins(-8.0, -threshold) + bins(threshold, 8.0)) as f64;
        // Poisson: five standard deviations, and three counts for small expectations.
        assert!(
            (found - expected).abs() < 5.0 * expected.sqrt() + 3.0,
            "beyond {threshold}: {found} instead of {expected}"
        );
    }
    if n >= 1e8 {
        assert!(largest > 5.2, "largest of {n} draws is only {largest}");
    }
}

#[test]
fn two_million_normals() {
    check_normals(2000, 1000);
}

#[test]
#[ignore = "slow: 1e8 draws; run with --ignored"]
fn hundred_million_normals() {
    check_normals(100_000, 1000);
}

/// Neighbouring columns, rows, blocks and calls are uncorrelated.
#[test]
fn neighbours_are_uncorrelated() {
    const N: usize = 200_000;
    let fill = |seed, call, row, block| {
        let mut out = vec![0.0f32; N + 1];
        Key::new(seed, call).stream(Stream::OutputNoise).fill_normal(row, block, &mut out);
        out
    };
    let base = fill(1, 1, 0, 0);
    let correlation = |other: &[f32]| {
        let dot: f64 = base.iter().zip(other).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        (dot / (N as f64).sqrt()).abs()
    };
    // Each is a standard normal under independence; six comparisons at 5 sigma.
    assert!(correlation(&base[1..]) < 5.0);
    for other in [fill(2, 1, 0, 0), fill(1, 2, 0, 0), fill(1, 1, 1, 0), fill(1, 1, 0, 1)] {
        assert!(correlation(&other) < 5.0);
    }
}
