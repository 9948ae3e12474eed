//! Trains for devices that take pulses of one direction only.
//!
//! A crosspoint gets pulses up where the signs of input and error differ. Each slice is given twice: once
//! with the positive inputs and once with the negative ones, both with those errors that make the wanted
//! direction with them. What coincides then goes up, and kernels need not know. A row fires in one of
//! the two only, so it is not looked at twice.

use super::source::Turn;
use super::trains::SIGN;
use crate::error::Result;
use crate::rng::LANES;
use crate::scratch;

/// Runs `f` with the wanted part of the trains `x`, `[column block][slice][lane]`, and `d`,
/// `[row][slice]`, with twice as many slices.
///
/// # Errors
/// [`Error::Memory`](crate::Error::Memory), or what `f` returns.
pub(super) fn sliced<R>(
    x: &[u32],
    d: &[u32],
    turn: Turn,
    f: impl FnOnce(&[u32], &[u32]) -> Result<R>,
) -> Result<R> {
    scratch::halves(2 * (x.len() + d.len()), |words| {
        let (halves, rows) = words.split_at_mut(2 * x.len());
        for (halves, x) in halves.chunks_exact_mut(2 * LANES).zip(x.chunks_exact(LANES)) {
            let (positive, negative) = halves.split_at_mut(LANES);
            for lane in 0..LANES {
                let is_negative = 0u32.wrapping_sub(x[lane] >> 31);
                let bits = x[lane] & !SIGN;
                (positive[lane], negative[lane]) = (bits & !is_negative, bits & is_negative);
            }
        }
        for (rows, d) in rows.chunks_exact_mut(2).zip(d) {
            let is_negative = 0u32.wrapping_sub(d >> 31);
            let parts = of_inputs(turn, [d & !SIGN & !is_negative, d & !SIGN & is_negative]);
            for (row, bits) in rows.iter_mut().zip(parts) {
                *row = bits | SIGN;
            }
        }
        f(halves, rows)
    })
}

/// As [`sliced`], with `[column block][word][bits, signs][lane]` and `[row][word][bits, signs]`.
pub(super) fn packed<R>(
    x: &[u64],
    d: &[u64],
    turn: Turn,
    f: impl FnOnce(&[u64], &[u64]) -> Result<R>,
) -> Result<R> {
    scratch::words(2 * (x.len() + d.len()), |words| {
        let (halves, rows) = words.split_at_mut(2 * x.len());
        for (halves, x) in halves.chunks_exact_mut(4 * LANES).zip(x.chunks_exact(2 * LANES)) {
            let (positive, negative) = halves.split_at_mut(2 * LANES);
            for lane in 0..LANES {
                let (bits, signs) = (x[lane], x[LANES + lane]);
                (positive[lane], negative[lane]) = (bits & !signs, bits & signs);
                (positive[LANES + lane], negative[LANES + lane]) = (0, 0);
            }
        }
        for (rows, d) in rows.chunks_exact_mut(4).zip(d.chunks_exact(2)) {
            let parts = of_inputs(turn, [d[0] & !d[1], d[0] & d[1]]);
            for (row, bits) in rows.chunks_exact_mut(2).zip(parts) {
                (row[0], row[1]) = (bits, u64::MAX);
            }
        }
        f(halves, rows)
    })
}

/// Of the positive and the negative errors those that belong to positive and to negative inputs.
fn of_inputs<T>(turn: Turn, [positive, negative]: [T; 2]) -> [T; 2] {
    match turn {
        Turn::OnlyUp => [negative, positive],
        _ => [positive, negative],
    }
}
