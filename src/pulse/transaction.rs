//! One update as a transaction: blocks of rows that kernels change, and the copies that put them back.

use std::slice::ChunksMut;

use crate::devices::WriteNoise;
use crate::error::Result;
use crate::memory;
use crate::par::{self, Par};
use crate::rng::{CHUNK, Draw, Key, LANES, Stream};
use crate::scratch;
use crate::simd::{self, Work};

/// Values that pulses change: those of a device, or a buffer.
#[derive(Debug)]
pub(crate) struct State<'a> {
    /// Visible weights, row by row.
    pub(crate) weights: &'a mut [f32],
    /// Weights under the write noise, where there is some.
    pub(crate) persistent: Option<&'a mut [f32]>,
    /// Coincidence counts, those down before those up.
    pub(crate) counts: Option<&'a mut [i64]>,
    /// Number of columns.
    pub(crate) columns: usize,
}

impl State<'_> {
    fn rows(&self) -> usize {
        self.weights.len() / self.columns
    }

    /// Number of counts.
    fn counted(&self) -> usize {
        self.counts.as_ref().map_or(0, |counts| counts.len())
    }

    /// Length of the copies of all rows.
    fn copied(&self) -> usize {
        self.weights.len() + self.persistent.as_ref().map_or(0, |values| values.len())
    }
}

/// Runs `f`, and puts all states back if it fails or panics: `f` may change them as often as it
/// likes, in any order.
pub(crate) fn run(
    states: Vec<State<'_>>,
    f: impl FnOnce(&mut [Rows<'_>]) -> Result<()>,
) -> Result<()> {
    let rows: usize = states.iter().map(State::rows).sum();
    let counts: usize = states.iter().map(State::counted).sum();
    let copies = states.iter().map(State::copied).sum();
    scratch::halves(rows + counts, |words| {
        let (begun, counts) = words.split_at_mut(rows);
        begun.fill(0);
        scratch::floats(copies, |copies| {
            let mut rest = (begun, counts, copies);
            let states = states.into_iter().map(|state| Ok(Rows::new(state, &mut rest)));
            let mut states = memory::collected(states)?;
            let result = par::guard(|| {
                f(&mut states)?;
                // Whoever asks to stop before the end finds nothing changed.
                par::check_interrupt()
            });
            if result.is_err() {
                states.iter_mut().for_each(Rows::restore);
            }
            result
        })
    })
}

/// Memory for marks of rows, for copies of counts and for copies of weights.
type Memory<'a> = (&'a mut [u32], &'a mut [u32], &'a mut [f32]);

/// Most that one call adds to a count.
pub(crate) const MOST_PULSES: i64 = u32::MAX as i64;

/// The copies of some rows.
#[derive(Debug)]
struct SavedRows<'a> {
    state: &'a mut [f32],
    visible: Option<&'a mut [f32]>,
    /// Lower halves of the counts, which tell the whole: a call adds less than 2^32 to each.
    counts: Option<[&'a mut [u32]; 2]>,
    /// 1 for rows that have been copied.
    begun: &'a mut [u32],
}

/// All rows of a state or some of them, with copies of those that have changed.
///
/// A row is copied right before its first change, by the thread that changes it.
#[derive(Debug)]
pub(crate) struct Rows<'a> {
    /// Number of the first row.
    pub(crate) first: usize,
    /// What pulses act on: the persistent weights where there are some, else the weights.
    pub(crate) state: &'a mut [f32],
    /// Visible weights, where they differ from `state`.
    pub(crate) visible: Option<&'a mut [f32]>,
    /// Coincidence counts, down and up.
    pub(crate) counts: Option<[&'a mut [i64]; 2]>,
    saved: SavedRows<'a>,
}

impl<'a> Rows<'a> {
    /// All rows of a state; takes room for their copies off the front of `rest`.
    fn new(state: State<'a>, (begun, counts, copies): &mut Memory<'a>) -> Self {
        let begun = take(begun, state.rows());
        let half = state.counted() / 2;
        let saved_counts = state.counts.is_some().then(|| [take(counts, half), take(counts, half)]);
        let saved_state = take(copies, state.weights.len());
        let counts = state.counts.map(|counts| <[_; 2]>::from(counts.split_at_mut(half)));
        let (state, visible) = match state.persistent {
            Some(persistent) => (persistent, Some(state.weights)),
            None => (state.weights, None),
        };
        let saved_visible = visible.as_ref().map(|visible| take(copies, visible.len()));
        let saved =
            SavedRows { state: saved_state, visible: saved_visible, counts: saved_counts, begun };
        Self { first: 0, state, visible, counts, saved }
    }

    /// The visible weights.
    pub(crate) fn weights(&self) -> &[f32] {
        self.visible.as_deref().unwrap_or(self.state)
    }

    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        self.saved.begun.len()
    }

    /// Number of columns.
    fn columns(&self) -> usize {
        self.state.len() / self.len()
    }

    /// Puts back what has been copied.
    fn restore(&mut self) {
        let columns = self.columns();
        let saved = &mut self.saved;
        let begun = saved.begun.iter().enumerate().filter(|(_, begun)| **begun == 1);
        for row in begun.map(|(row, _)| row * columns..(row + 1) * columns) {
            self.state[row.clone()].copy_from_slice(&saved.state[row.clone()]);
            if let (Some(visible), Some(copy)) = (&mut self.visible, &saved.visible) {
                visible[row.clone()].copy_from_slice(&copy[row.clone()]);
            }
            if let (Some(counts), Some(copies)) = (&mut self.counts, &saved.counts) {
                for (counts, copy) in counts.iter_mut().zip(copies) {
                    for (count, copy) in counts[row.clone()].iter_mut().zip(&copy[row.clone()]) {
                        *count -= i64::from((*count as u32).wrapping_sub(*copy));
                    }
                }
            }
        }
    }

    /// Copies a row before its first change; every kernel calls this before it changes a row.
    pub(crate) fn save(&mut self, local: usize) {
        let columns = self.columns();
        let saved = &mut self.saved;
        let row = local * columns..(local + 1) * columns;
        if std::mem::replace(&mut saved.begun[local], 1) == 0 {
            saved.state[row.clone()].copy_from_slice(&self.state[row.clone()]);
            if let (Some(copy), Some(visible)) = (&mut saved.visible, &self.visible) {
                copy[row.clone()].copy_from_slice(&visible[row.clone()]);
            }
            if let (Some(copies), Some(counts)) = (&mut saved.counts, &self.counts) {
                for (copy, counts) in copies.iter_mut().zip(counts) {
                    for (copy, count) in copy[row.clone()].iter_mut().zip(&counts[row.clone()]) {
                        *copy = *count as u32;
                    }
                }
            }
        }
    }

    /// Cuts the rows into blocks of `height`.
    ///
    /// # Errors
    /// [`Error::Memory`](crate::Error::Memory).
    pub(crate) fn split(&mut self, height: usize) -> Result<Vec<Rows<'_>>> {
        let len = height * self.columns();
        let Self { first, state, visible, counts, saved } = self;
        let mut visible = cut(visible.as_deref_mut(), len);
        let mut saved_visible = cut(saved.visible.as_deref_mut(), len);
        let mut counts = cut_both(counts.as_mut(), len);
        let mut saved_counts = cut_both(saved.counts.as_mut(), len);
        let states = state.chunks_mut(len).zip(saved.state.chunks_mut(len));
        let rows = states.zip(saved.begun.chunks_mut(height)).enumerate();
        memory::collected(rows.map(|(at, ((state, saved_state), begun))| {
            let saved = SavedRows {
                state: saved_state,
                visible: saved_visible.as_mut().and_then(Iterator::next),
                counts: next_of_both(&mut saved_counts),
                begun,
            };
            Ok(Rows {
                first: *first + at * height,
                state,
                visible: visible.as_mut().and_then(Iterator::next),
                counts: next_of_both(&mut counts),
                saved,
            })
        }))
    }

    /// Adds pulses down and up of the cells from `at` on to the counts, where there are some.
    #[inline(always)]
    pub(crate) fn count(&mut self, at: usize, lanes: usize, pulses: [&[f32; LANES]; 2]) {
        if let Some(counts) = self.counts.as_mut() {
            for (counts, pulses) in counts.iter_mut().zip(pulses) {
                for lane in 0..lanes {
                    counts[at + lane] += pulses[lane] as i64;
                }
            }
        }
    }

    /// Redraws the noise of the visible weights of a row that `touched` marks, where there is some.
    pub(crate) fn refresh(
        &mut self,
        local: usize,
        touched: &[bool],
        noise: Option<WriteNoise>,
        key: Key,
    ) {
        if let (Some(noise), Some(visible)) = (noise, self.visible.as_mut()) {
            let part = local * touched.len()..(local + 1) * touched.len();
            let row = self.first + local;
            simd::run(Refresh {
                state: &self.state[part.clone()],
                visible: &mut visible[part],
                touched,
                std: noise.std,
                draw: key.stream(Stream::WriteNoise),
                row: row as u32,
            });
        }
    }
}

/// Cuts `len` elements off the front.
fn take<'a, T>(rest: &mut &'a mut [T], len: usize) -> &'a mut [T] {
    let (head, tail) = std::mem::take(rest).split_at_mut(len);
    *rest = tail;
    head
}

/// Pieces of `len` of what may be there.
fn cut<T>(values: Option<&mut [T]>, len: usize) -> Option<ChunksMut<'_, T>> {
    values.map(|values| values.chunks_mut(len))
}

/// Pieces of `len` of two halves that may be there.
fn cut_both<'a, T>(
    halves: Option<&'a mut [&mut [T]; 2]>,
    len: usize,
) -> Option<[ChunksMut<'a, T>; 2]> {
    halves.map(|halves| halves.each_mut().map(|half| half.chunks_mut(len)))
}

/// The next pieces of both halves.
fn next_of_both<'a, T>(halves: &mut Option<[ChunksMut<'a, T>; 2]>) -> Option<[&'a mut [T]; 2]> {
    let [down, up] = halves.as_mut()?;
    Some([down.next()?, up.next()?])
}

/// Applies `f` to all blocks in parallel, with an interrupt check about every 100 ms; `block_ns` is about
/// the time that one block takes.
///
/// # Errors
/// [`Error::Interrupted`](crate::Error::Interrupted), or what `f` returns.
pub(crate) fn for_each(
    rows: &mut [Rows<'_>],
    block_ns: f64,
    f: impl Fn(&mut Rows<'_>) -> Result<()> + Sync,
) -> Result<()> {
    let par = Par::of(block_ns * rows.len() as f64);
    par.for_each_in_rounds(rows.iter_mut(), |rows| {
        f(rows)?;
        par::block_done();
        Ok(())
    })
}

/// Redraws the noise of the visible weights of cells that `touched` marks. Compiled once, not with the
/// kernel of every device.
struct Refresh<'a> {
    visible: &'a mut [f32],
    state: &'a [f32],
    touched: &'a [bool],
    std: f32,
    draw: Draw,
    row: u32,
}

impl Work for Refresh<'_> {
    type Home = Self;

    #[inline(always)]
    fn run(self) {
        let Self { visible, state, touched, std, draw, row } = self;
        let mut normals = [0.0; CHUNK];
        let chunks = visible.chunks_mut(CHUNK).zip(state.chunks(CHUNK)).zip(touched.chunks(CHUNK));
        for (chunk, ((visible, state), touched)) in chunks.enumerate() {
            if !touched.contains(&true) {
                continue;
            }
            draw.fill_normal_from(chunk * CHUNK, row, 0, &mut normals[..visible.len()]);
            for at in 0..visible.len() {
                let noisy = std.mul_add(normals[at], state[at]);
                visible[at] = if touched[at] { noisy } else { visible[at] };
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;
    use crate::error::Error;

    /// Adds 1 to every value of every row.
    fn change(states: &mut [Rows<'_>]) {
        for state in states {
            for mut rows in state.split(2).unwrap() {
                for local in 0..rows.saved.begun.len() {
                    rows.save(local);
                }
                rows.state.iter_mut().for_each(|value| *value += 1.0);
                rows.visible.iter_mut().for_each(|all| all.iter_mut().for_each(|v| *v += 1.0));
                rows.counts
                    .iter_mut()
                    .flatten()
                    .for_each(|all| all.iter_mut().for_each(|n| *n += 1));
            }
        }
    }

    /// A device with everything and a buffer of another shape: all of both comes back, after one
    /// change and after several.
    #[test]
    fn all_states_come_back() {
        for changes in 0..3 {
            for outcome in [Ok(()), Err(Error::Interrupted), Err(Error::Panic("test".to_owned()))] {
                let (mut weights, mut persistent) = (vec![1.0; 15], vec![2.0; 15]);
                // One more changes both halves.
                let start = i64::from(u32::MAX);
                let (mut counts, mut buffer) = (vec![start; 30], vec![4.0; 4]);
                let states = vec![
                    State {
                        weights: &mut weights,
                        persistent: Some(&mut persistent),
                        counts: Some(&mut counts),
                        columns: 3,
                    },
                    State { weights: &mut buffer, persistent: None, counts: None, columns: 4 },
                ];
                let result = run(states, |states| {
                    (0..changes).for_each(|_| change(states));
                    if matches!(outcome, Err(Error::Panic(_))) {
                        panic!("test");
                    }
                    outcome.clone()
                });
                assert_eq!(result, outcome);
                let added = if outcome.is_ok() { changes } else { 0 };
                assert_eq!(weights, [1.0 + added as f32; 15]);
                assert_eq!(persistent, [2.0 + added as f32; 15]);
                assert_eq!(counts, [start + added; 30]);
                assert_eq!(buffer, [4.0 + added as f32; 4]);
            }
        }
    }
}
