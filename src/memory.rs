//! Memory whose size a caller decides: where the system has no more of it, these give an error, while
//! the containers of the standard library would end the process.
//!
//! What is small whatever the caller does (names, messages, one entry per device or thread) is
//! allocated as usual.

use crate::error::{Error, Result};

/// Makes room for `len` values behind those of `values`, and no more.
pub(crate) fn reserve<T>(values: &mut Vec<T>, len: usize) -> Result<()> {
    values.try_reserve_exact(len).map_err(|_| missing::<T>(len))
}

/// Nothing yet, with room for `len` values.
pub(crate) fn room<T>(len: usize) -> Result<Vec<T>> {
    let mut values = Vec::new();
    reserve(&mut values, len)?;
    Ok(values)
}

/// `len` times `value`.
pub(crate) fn filled<T: Clone>(value: T, len: usize) -> Result<Vec<T>> {
    let mut values = room(len)?;
    values.resize(len, value);
    Ok(values)
}

/// A copy.
pub fn copied<T: Copy>(values: &[T]) -> Result<Vec<T>> {
    let mut copy = room(values.len())?;
    copy.extend_from_slice(values);
    Ok(copy)
}

/// All values of an iterator that may fail.
pub(crate) fn collected<T>(values: impl Iterator<Item = Result<T>>) -> Result<Vec<T>> {
    let mut all = room(values.size_hint().0)?;
    for value in values {
        push(&mut all, value?)?;
    }
    Ok(all)
}

/// Appends a value; from time to time that takes room for as many again.
#[inline(always)]
pub(crate) fn push<T>(values: &mut Vec<T>, value: T) -> Result<()> {
    if values.len() == values.capacity() {
        grow(values)?;
    }
    values.push(value);
    Ok(())
}

/// Room that the first value takes.
const SMALLEST: usize = 16;

#[cold]
fn grow<T>(values: &mut Vec<T>) -> Result<()> {
    reserve(values, values.capacity().max(SMALLEST))
}

fn missing<T>(len: usize) -> Error {
    Error::Memory { bytes: len.saturating_mul(size_of::<T>()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn too_much_is_an_error() {
        let bytes = usize::MAX / 8 * 4;
        assert_eq!(filled(0.0f32, usize::MAX / 8), Err(Error::Memory { bytes }));
        assert_eq!(room::<u64>(usize::MAX), Err(Error::Memory { bytes: usize::MAX }));
    }

    #[test]
    fn values() {
        assert_eq!(filled(2, 3).unwrap(), [2, 2, 2]);
        assert_eq!(copied(&[1, 2]).unwrap(), [1, 2]);
        assert_eq!(collected([1, 2, 3].into_iter().map(Ok)).unwrap(), [1, 2, 3]);
        let failing = [Ok(1), Err(Error::Interrupted)];
        assert_eq!(collected(failing.into_iter()), Err(Error::Interrupted));
    }
}
