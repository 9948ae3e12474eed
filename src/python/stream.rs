//! The position of a tile in its random numbers: its seed and the counter of its calls, as tensors.

use super::array::{self, Borrowed, Counter};
use super::error::PyResult;
use mho_core::rng::Key;
use pyo3::prelude::*;

/// Seed and counter of a tile, borrowed with the other tensors of a call.
pub(super) struct Stream {
    seed: i64,
    calls: Counter,
}

impl Stream {
    pub(super) fn new(
        seed: &Bound<'_, PyAny>,
        calls: &Bound<'_, PyAny>,
        borrowed: &mut Borrowed,
    ) -> PyResult<Self> {
        Ok(Self { seed: borrowed.int("seed", seed)?, calls: borrowed.counter("calls", calls)? })
    }

    /// Runs `change` with the key and the number of a new call, see [`array::numbered`].
    pub(super) fn numbered<R>(&self, change: impl FnOnce(Key, i64) -> PyResult<R>) -> PyResult<R> {
        array::numbered(&self.calls, |call| change(key(self.seed, call), call))
    }
}

/// Runs `change` with the keys and the numbers of new calls of several tiles: all of them have one, or none.
pub(super) fn numbered_together<R>(
    streams: &[Stream],
    change: impl FnOnce(&[Key], &[i64]) -> PyResult<R>,
) -> PyResult<R> {
    let calls: Vec<_> = streams.iter().map(|stream| &stream.calls).collect();
    array::numbered_together(&calls, |numbers| {
        let named = streams.iter().zip(numbers);
        let keys: Vec<_> = named.map(|(stream, call)| key(stream.seed, *call)).collect();
        change(&keys, numbers)
    })
}

/// The key of a call.
pub(super) fn key(seed: i64, call: i64) -> Key {
    Key::new(seed as u64, call as u64)
}

/// Advances the call counter and returns the number of this call.
#[pyfunction]
pub(super) fn next_call(calls: &Bound<'_, PyAny>) -> PyResult<i64> {
    array::advance(&Borrowed::default().counter("calls", calls)?)
}
