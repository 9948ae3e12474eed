//! Working memory of one call, cut out of two reused buffers.

use super::request::Sizes;
use super::spec::{Mvm, Reads};
use crate::error::Result;
use crate::scratch;

/// Elements of input and output that one block holds; keeps a block within the second-level cache.
const BLOCK_ELEMENTS: usize = 1 << 19;
/// Fewest rows of a block: each block reads all weights.
const BLOCK_ROWS: usize = 256;

/// Matrices of one block of rows; empty where the parameters do not use them.
pub(super) struct Workspace<'a> {
    /// Line voltages `[rows, n_in]`.
    pub prepared: &'a mut [f32],
    /// Inverse scale of each row, negative where the row is zero by definition.
    pub scales: &'a mut [f32],
    /// Line voltages of one sign `[rows, n_in]`.
    pub half: &'a mut [f32],
    /// Outputs of the other sign `[rows, n_out]`.
    pub other: &'a mut [f32],
    /// Functions of the line voltages `[rows, n_in]`.
    pub derived: &'a mut [f32],
    /// Their products with the weights, `[rows, n_out]` each.
    pub current: &'a mut [f32],
    pub placed: &'a mut [f32],
    pub power: &'a mut [f32],
    /// Weights seen by negative inputs.
    pub negative: &'a mut [f32],
    /// Absolute values of the weights.
    pub positive: &'a mut [f32],
    /// Whether each row clipped.
    pub failed: &'a mut [u64],
}

/// Memory of the repeated samples of one block.
pub(super) struct Repeated<'a> {
    /// Their outputs `[rows, n_out]`; empty where nothing is repeated.
    pub outputs: &'a mut [f32],
    /// Their numbers.
    pub samples: &'a mut [u64],
}

impl Mvm {
    /// Rows of one block: a function of the sizes only.
    pub(super) fn block_rows(&self, sizes: &Sizes) -> usize {
        (BLOCK_ELEMENTS / (sizes.n_in + sizes.n_out)).max(BLOCK_ROWS).min(sizes.samples)
    }

    /// Runs `f` with memory for blocks of `rows` rows.
    ///
    /// # Errors
    /// [`Error::Memory`](crate::Error::Memory), or what `f` returns.
    pub(super) fn with_workspace<R>(
        &self,
        sizes: &Sizes,
        rows: usize,
        f: impl FnOnce(Workspace<'_>, Repeated<'_>) -> Result<R>,
    ) -> Result<R> {
        let lens = self.lens(sizes, rows);
        scratch::floats(lens.iter().sum(), |floats| {
            scratch::words(2 * rows, |words| {
                let (failed, samples) = words.split_at_mut(rows);
                let mut rest = floats;
                let mut parts = lens.map(|len| take(&mut rest, len)).into_iter();
                let mut next = || parts.next().unwrap_or_default();
                let outputs = next();
                let workspace = Workspace {
                    prepared: next(),
                    scales: next(),
                    half: next(),
                    other: next(),
                    derived: next(),
                    current: next(),
                    placed: next(),
                    power: next(),
                    negative: next(),
                    positive: next(),
                    failed,
                };
                f(workspace, Repeated { outputs, samples })
            })
        })
    }

    /// Lengths of the outputs of repeated rows and of the float matrices in the order of the fields.
    fn lens(&self, sizes: &Sizes, rows: usize) -> [usize; 11] {
        let (inputs, outputs) = (rows * sizes.n_in, rows * sizes.n_out);
        let weights = self.d_size * self.x_size;
        let split = usize::from(self.reads != Reads::Both);
        let wires = usize::from(self.array.wires());
        let power = usize::from(self.array.power_noise());
        let derived = wires.max(power);
        [
            usize::from(self.repeats.again(0)) * outputs,
            inputs,
            rows,
            split * inputs,
            split * outputs,
            derived * inputs,
            wires * outputs,
            wires * outputs,
            power * outputs,
            usize::from(self.read_asymmetry) * weights,
            derived * weights,
        ]
    }
}

/// Cuts `len` elements off the front.
fn take<'a>(rest: &mut &'a mut [f32], len: usize) -> &'a mut [f32] {
    let (head, tail) = std::mem::take(rest).split_at_mut(len);
    *rest = tail;
    head
}
