//! Between slices and [`LANES`] values side by side.

use crate::rng::LANES;

/// Loads `count` of [`LANES`] values from `at` on; the others are 0.
#[inline(always)]
pub(crate) fn load(values: &[f32], at: usize, count: usize) -> [f32; LANES] {
    let values = &values[at..at + count];
    if let Some(all) = values.first_chunk::<LANES>() {
        return *all;
    }
    let mut out = [0.0; LANES];
    for (out, value) in out.iter_mut().zip(values) {
        *out = *value;
    }
    out
}

/// Copies up to `N` values; a fixed number takes no call.
#[inline(always)]
pub(crate) fn copy<const N: usize>(values: &[f32], out: &mut [f32; N]) {
    match values.first_chunk() {
        Some(all) => *out = *all,
        None => out[..values.len()].copy_from_slice(values),
    }
}

/// Writes the values of up to [`LANES`] cells.
#[inline(always)]
pub(crate) fn store(values: &[f32; LANES], out: &mut [f32]) {
    if let Some(all) = out.first_chunk_mut::<LANES>() {
        *all = *values;
        return;
    }
    // A loop, for a copy would be joined with that above to one of any length, which is a call.
    for (out, value) in out.iter_mut().zip(values) {
        *out = *value;
    }
}
