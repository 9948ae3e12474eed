//! Pulses and their noise for devices whose steps are computed in Python.

use super::error::PyResult;
use pyo3::prelude::*;

use super::array::Borrowed;
use super::gil::enter;
use super::spec::PyTileSpec;
use super::stream::key;
use mho_core::pulse::counts::{self, Sample};
use mho_core::rng::{Key, Stream};
use mho_core::{Error, Result};

/// Writes the pulses of sample `at` of a batch into `counts`; up is positive.
#[pyfunction]
#[pyo3(signature = (spec, x, d, learning_rate, seed, call, at, counts, bias=None))]
#[allow(clippy::too_many_arguments, reason = "mirrors the arguments of an update")]
pub(super) fn pulse_counts(
    py: Python<'_>,
    spec: &Bound<'_, PyTileSpec>,
    x: &Bound<'_, PyAny>,
    d: &Bound<'_, PyAny>,
    learning_rate: f64,
    seed: &Bound<'_, PyAny>,
    call: i64,
    at: usize,
    counts: &Bound<'_, PyAny>,
    bias: Option<f32>,
) -> PyResult<()> {
    let tile = spec.get();
    let mut borrowed = Borrowed::default();
    let (x, d) = (borrowed.floats("x", x)?, borrowed.floats("d", d)?);
    let mut counts = borrowed.ints_mut("counts", counts)?;
    let key = key(borrowed.int("seed", seed)?, call);
    enter(py, || {
        let device = tile.single("pulse_counts")?;
        let (x, d) = (x.slice(), d.slice());
        let sample = Sample { device, x, bias, d, learning_rate, key, at };
        counts::counts(&sample, counts.slice())
    })
}

/// Bits of the position of a draw within one call.
const INDEX_BITS: u32 = 24;

/// Fills the matrix `out` of rows with `columns` elements with standard normals number `index` of
/// a call.
#[pyfunction]
pub(super) fn pulse_noise(
    py: Python<'_>,
    out: &Bound<'_, PyAny>,
    columns: usize,
    seed: &Bound<'_, PyAny>,
    call: i64,
    index: u32,
) -> PyResult<()> {
    let mut borrowed = Borrowed::default();
    let mut out = borrowed.floats_mut("out", out)?;
    let key = key(borrowed.int("seed", seed)?, call);
    enter(py, || fill(out.slice(), columns, key, index))
}

fn fill(out: &mut [f32], columns: usize, key: Key, index: u32) -> Result<()> {
    if index >> INDEX_BITS != 0 {
        let why = "has too many pulses for one update; split the batch".to_owned();
        return Err(Error::Argument { argument: "x", why });
    }
    let draw = key.stream(Stream::CycleToCycle);
    for (row, out) in out.chunks_mut(columns.max(1)).enumerate() {
        draw.fill_normal(row as u32, index, out);
    }
    Ok(())
}
