//! One update as a transaction: blocks of rows that kernels change, and the copies that put them back.

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
    f: impl FnOnce(&mut [Tracked<'_>]) -> Result<()>,
) -> Result<()> {
    let rows: usize = states.iter().map(State::rows).sum();
    let counts: usize = states.iter().map(State::counted).sum();
    let copies = states.iter().map(State::copied).sum();
    scratch::halves(rows + counts, |words| {
        let (begun, counts) = words.split_at_mut(rows);
        begun.fill(0);
        scratch::floats(copies, |copies| {
            let mut rest = (begun, counts, copies);
            let tracked = states.into_iter().map(|state| Ok(Tracked::new(state, &mut rest)));
            let mut tracked = memory::collected(tracked)?;
            let result = par::guard(|| {
                f(&mut tracked)?;
                // Whoever asks to stop before the end finds nothing changed.
                par::check_interrupt()
            });
            if result.is_err() {
                tracked.iter_mut().for_each(Tracked::restore);
            }
            result
        })
    })
}

/// Memory for marks of rows, for copies of counts and for copies of weights.
type Memory<'a> = (&'a mut [u32], &'a mut [u32], &'a mut [f32]);

/// A state with copies of the rows that have changed.
///
/// A row is copied right before its first change, by the thread that changes it.
#[derive(Debug)]
pub(crate) struct Tracked<'a> {
    state: State<'a>,
    weights: &'a mut [f32],
    persistent: &'a mut [f32],
    /// Lower halves of the counts, which tell the whole: a call adds less than 2^32 to each.
    counts: &'a mut [u32],
    /// 1 for rows that have been copied.
    begun: &'a mut [u32],
}

/// Most that one call adds to a count.
pub(crate) const MOST_PULSES: i64 = u32::MAX as i64;

impl<'a> Tracked<'a> {
    /// Takes room for its copies off the front of `rest`.
    fn new(state: State<'a>, (begun, counts, copies): &mut Memory<'a>) -> Self {
        let begun = take(begun, state.rows());
        let counts = take(counts, state.counted());
        let weights = take(copies, state.weights.len());
        let persistent = take(copies, state.copied() - state.weights.len());
        Self { state, weights, persistent, counts, begun }
    }

    /// The visible weights.
    pub(crate) fn weights(&self) -> &[f32] {
        self.state.weights
    }

    /// Puts back what has been copied.
    fn restore(&mut self) {
        let columns = self.state.columns;
        let begun = &*self.begun;
        let restore = |state: &mut [f32], saved: &[f32]| {
            let rows = state.chunks_mut(columns).zip(saved.chunks(columns)).zip(begun);
            for ((state, saved), _) in rows.filter(|(_, begun)| **begun == 1) {
                state.copy_from_slice(saved);
            }
        };
        restore(self.state.weights, self.weights);
        if let Some(values) = self.state.persistent.as_deref_mut() {
            restore(values, self.persistent);
        }
        let Some(counts) = self.state.counts.as_deref_mut() else { return };
        let half = counts.len() / 2;
        for (counts, saved) in counts.chunks_mut(half).zip(self.counts.chunks(half)) {
            let rows = counts.chunks_mut(columns).zip(saved.chunks(columns)).zip(begun);
            for ((counts, saved), _) in rows.filter(|(_, begun)| **begun == 1) {
                for (count, saved) in counts.iter_mut().zip(saved) {
                    *count -= i64::from((*count as u32).wrapping_sub(*saved));
                }
            }
        }
    }
}

/// Cuts `len` elements off the front.
fn take<'a, T>(rest: &mut &'a mut [T], len: usize) -> &'a mut [T] {
    let (head, tail) = std::mem::take(rest).split_at_mut(len);
    *rest = tail;
    head
}

/// The copies of some rows.
#[derive(Debug)]
struct SavedRows<'a> {
    state: &'a mut [f32],
    visible: Option<&'a mut [f32]>,
    counts: Option<[&'a mut [u32]; 2]>,
    begun: &'a mut [u32],
}

/// Some rows of the state.
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

impl Rows<'_> {
    /// Copies a row before its first change; every kernel calls this before it changes a row.
    pub(crate) fn save(&mut self, local: usize) {
        let saved = &mut self.saved;
        let columns = self.state.len() / saved.begun.len();
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
}

impl Rows<'_> {
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

impl Tracked<'_> {
    /// Cuts the state into blocks of `height` rows.
    ///
    /// # Errors
    /// [`Error::Memory`](crate::Error::Memory).
    pub(crate) fn split(&mut self, height: usize) -> Result<Vec<Rows<'_>>> {
        let State { weights, persistent, counts, columns } = &mut self.state;
        let len = height * *columns;
        let (saved, begun) = (self.weights.chunks_mut(len), self.begun.chunks_mut(height));
        let weights = weights.chunks_mut(len).zip(saved);
        let (mut saved, mut persistent) =
            (self.persistent.chunks_mut(len), persistent.as_deref_mut().map(|p| p.chunks_mut(len)));
        let mut counts = counts.as_deref_mut().map(|counts| {
            let half = counts.len() / 2;
            let ((down, up), (saved_down, saved_up)) =
                (counts.split_at_mut(half), self.counts.split_at_mut(half));
            let saved = saved_down.chunks_mut(len).zip(saved_up.chunks_mut(len));
            down.chunks_mut(len).zip(up.chunks_mut(len)).zip(saved)
        });
        let rows = weights.zip(begun).enumerate().map(|(at, (weights, begun))| {
            let persistent = persistent.as_mut().and_then(Iterator::next).zip(saved.next());
            let (state, visible) = match persistent {
                Some(persistent) => (persistent, Some(weights)),
                None => (weights, None),
            };
            let (visible, saved_visible) = visible.unzip();
            let (counts, saved_counts) = counts
                .as_mut()
                .and_then(Iterator::next)
                .map(|(counts, saved)| (<[_; 2]>::from(counts), <[_; 2]>::from(saved)))
                .unzip();
            let saved =
                SavedRows { state: state.1, visible: saved_visible, counts: saved_counts, begun };
            Ok(Rows { first: at * height, state: state.0, visible, counts, saved })
        });
        memory::collected(rows)
    }
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
    fn change(states: &mut [Tracked<'_>]) {
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
