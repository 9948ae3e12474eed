//! A tile whose weights and devices live in the memory of the graphics processor.

use std::sync::Arc;

use super::buffers::{Reused, Step};
use super::context::{Context, Pick};
use super::state::State;
use crate::devices::{Device, DriftParameters};
use crate::error::{Error, Result};
use crate::mvm::{Direction, Lines, Mvm};
use crate::tile::TileSpec;

/// Options that this backend refuses when a tile is built, and why.
pub const UNSUPPORTED: &[(&str, &str)] = &[(
    "device.drift",
    "the drift of pulsed devices runs on the CPU only; set nu and w_noise_std to 0",
)];

/// Frozen values of one direction.
#[derive(Debug)]
pub(super) struct Side {
    /// Per output line: noise, voltage offset, strength of the compression, nothing.
    pub lines: wgpu::Buffer,
    /// Factors on the weights for negative inputs.
    pub asymmetry: Option<wgpu::Buffer>,
    /// Factor that calibrates the output compression.
    pub factor: f32,
    /// Whether the values are there.
    pub known: bool,
}

/// Working memory, reused from call to call.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub x: Reused,
    pub prepared: Reused,
    pub rows: Reused,
    pub sums: Reused,
    pub state: Reused,
    pub y: Reused,
    pub parameters: Reused,
    /// Of the input and of the error lines.
    pub thresholds: [Reused; 2],
    pub trains: [Reused; 2],
    /// Slices as the trains and as the pulses read them.
    pub slices: [Reused; 3],
    pub counts: Reused,
    /// Weights before an update, and those under the write noise.
    pub kept: [Reused; 2],
    pub staging: Reused,
}

/// A tile on the graphics processor. Weights and hidden parameters stay there between calls; inputs
/// and outputs of a call are slices of the host.
#[derive(Debug)]
pub struct GpuTile {
    pub(super) context: Arc<Context>,
    pub(super) spec: TileSpec,
    pub(super) state: State,
    pub(super) forward: Side,
    pub(super) backward: Side,
    pub(super) scratch: Scratch,
}

impl GpuTile {
    /// A tile of `spec` on the picked adapter, with weights of zero. Frozen values, where the options
    /// have some, are written with [`GpuTile::set_lines`] before the first product.
    ///
    /// # Errors
    /// [`Error::Backend`] without such an adapter or with too little memory, [`Error::Unsupported`]
    /// for an option in [`UNSUPPORTED`].
    pub fn new(spec: TileSpec, pick: &Pick) -> Result<Self> {
        refuse(spec.device())?;
        let context = Context::shared(pick)?;
        let shared = Arc::clone(&context);
        context.guard("building a tile", || {
            let cells = spec.d_size() * spec.x_size();
            let state = State::new(&shared, spec.device())?;
            let forward = Side::new(&shared, spec.mvm(Direction::Forward), cells)?;
            let backward = Side::new(&shared, spec.mvm(Direction::Backward), cells)?;
            let scratch = Scratch::default();
            Ok(Self { context: shared, spec, state, forward, backward, scratch })
        })
    }

    /// Whether a tile of `spec` can be built; opens no adapter.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for an option in [`UNSUPPORTED`].
    pub fn check(spec: &TileSpec) -> Result<()> {
        refuse(spec.device())
    }

    /// The opened adapter.
    #[must_use]
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// The parsed configuration.
    #[must_use]
    pub fn spec(&self) -> &TileSpec {
        &self.spec
    }

    /// Writes the weights, `[d_size, x_size]`, as they are.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Backend`].
    pub fn set_weights(&mut self, weights: &[f32]) -> Result<()> {
        Error::check_len("weights", weights.len(), self.spec.d_size() * self.spec.x_size())?;
        self.context.guard("writing weights", || {
            self.context.write(&self.state.weights, 0, weights);
            Ok(())
        })
    }

    /// Reads the weights, `[d_size, x_size]`.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Backend`].
    pub fn weights(&mut self, weights: &mut [f32]) -> Result<()> {
        Error::check_len("weights", weights.len(), self.spec.d_size() * self.spec.x_size())?;
        self.read(&self.state.weights.clone(), weights)
    }

    /// Writes the weights under the write noise as they are, for devices that have it.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Backend`].
    pub fn set_persistent(&mut self, values: &[f32]) -> Result<()> {
        let count = self.persistent_count();
        Error::check_len("persistent_weights", values.len(), count)?;
        let Some(buffer) = &self.state.persistent else { return Ok(()) };
        self.context.guard("writing weights", || {
            self.context.write(buffer, 0, values);
            Ok(())
        })
    }

    /// Reads the weights under the write noise.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Backend`].
    pub fn persistent(&mut self, values: &mut [f32]) -> Result<()> {
        let count = self.persistent_count();
        Error::check_len("persistent_weights", values.len(), count)?;
        let Some(buffer) = self.state.persistent.clone() else { return Ok(()) };
        self.read(&buffer, values)
    }

    /// Runs `f` and returns what it reports to the device as an error. Working memory is then made
    /// anew: a buffer that could not be made, or that is still mapped, would let all later calls fail.
    pub(super) fn guarded<R>(
        &mut self,
        what: &str,
        f: impl FnOnce(&mut Self) -> Result<R>,
    ) -> Result<R> {
        let context = Arc::clone(&self.context);
        let result = context.guard(what, || f(self));
        if result.is_err() {
            self.scratch = Scratch::default();
        }
        result
    }

    /// Runs `steps` in one submission. What they need has been prepared in a guard of its own: after a
    /// write that failed they would compute with the numbers of an earlier call.
    pub(super) fn submit(&mut self, what: &str, steps: &[Step]) -> Result<()> {
        self.guarded(what, |tile| {
            tile.context.submit(steps, None, &[]);
            Ok(())
        })
    }

    /// Copies the first numbers of `buffer` to `out`.
    pub(super) fn read<T: bytemuck::Pod>(
        &mut self,
        buffer: &wgpu::Buffer,
        out: &mut [T],
    ) -> Result<()> {
        let context = Arc::clone(&self.context);
        self.guarded("reading back", |tile| {
            context.download(buffer, &mut tile.scratch.staging, out)
        })
    }

    fn persistent_count(&self) -> usize {
        let cells = self.spec.d_size() * self.spec.x_size();
        if self.state.persistent.is_some() { cells } else { 0 }
    }

    /// Writes the frozen values of one direction.
    ///
    /// # Errors
    /// [`Error::Shape`] when a slice that the options use does not fit. [`Error::Backend`]; products
    /// of that direction are then refused until the values are written.
    pub fn set_lines(&mut self, direction: Direction, lines: &Lines<'_>) -> Result<()> {
        let mvm = self.spec.mvm(direction);
        let packed = pack(mvm, lines)?;
        let context = Arc::clone(&self.context);
        let side = match direction {
            Direction::Forward => &mut self.forward,
            Direction::Backward => &mut self.backward,
        };
        if side.asymmetry.is_some() {
            let cells = self.spec.d_size() * self.spec.x_size();
            Error::check_len("w_asymmetry", lines.w_asymmetry.len(), cells)?;
        }
        // One of the two without the other would be values of no one.
        side.known = false;
        context.guard("writing frozen values", || {
            if let Some(buffer) = &side.asymmetry {
                context.write(buffer, 0, lines.w_asymmetry);
            }
            context.write(&side.lines, 0, &packed);
            Ok(())
        })?;
        side.factor = lines.out_nonlinearity_factor;
        side.known = true;
        Ok(())
    }

    /// The frozen values of a direction.
    pub(super) fn side(&self, direction: Direction) -> Result<&Side> {
        let side = match direction {
            Direction::Forward => &self.forward,
            Direction::Backward => &self.backward,
        };
        if side.known {
            return Ok(side);
        }
        let why = format!("the frozen values of the {} pass are not written", direction.name());
        Err(Error::State { why })
    }
}

fn refuse(device: &Device) -> Result<()> {
    let drifts = |drift: &DriftParameters| drift.nu > 0.0 || drift.w_noise_std > 0.0;
    if device.config().pulsed().is_some_and(|pulsed| drifts(&pulsed.drift)) {
        let [(feature, why)] = UNSUPPORTED else { return Ok(()) };
        return Err(Error::unsupported(*feature, *why));
    }
    Ok(())
}

impl Side {
    fn new(context: &Context, mvm: &Mvm, cells: usize) -> Result<Self> {
        let lines = context.storage("frozen values", 4 * mvm.n_out())?;
        let used = mvm.read_asymmetry && !mvm.perfect;
        let asymmetry = used.then(|| context.storage("read asymmetry", cells)).transpose()?;
        let mut side = Self { lines, asymmetry, factor: 1.0, known: false };
        if let (Ok(packed), None) = (pack(mvm, &Lines::default()), &side.asymmetry) {
            context.write(&side.lines, 0, &packed);
            side.known = true;
        }
        Ok(side)
    }
}

/// The frozen values per output line that the kernels read.
fn pack(mvm: &Mvm, lines: &Lines<'_>) -> Result<Vec<f32>> {
    let n_out = mvm.n_out();
    let used = |name: &'static str, used: bool, values: &[f32]| {
        if used && !mvm.perfect { Error::check_len(name, values.len(), n_out) } else { Ok(()) }
    };
    used("out_noise_values", mvm.output.line_noise, lines.out_noise_values)?;
    used("v_offset", mvm.array.offsets(), lines.v_offset)?;
    used("out_nonlinearity", mvm.output.nonlinear, lines.out_nonlinearity)?;
    let noise = |at: usize| {
        if mvm.output.line_noise { lines.out_noise_values[at] } else { mvm.output.noise }
    };
    let value = |values: &[f32], at: usize| values.get(at).copied().unwrap_or(0.0);
    Ok((0..n_out)
        .flat_map(|at| {
            let noise = if mvm.perfect { 0.0 } else { noise(at) };
            [noise, value(lines.v_offset, at), value(lines.out_nonlinearity, at), 0.0]
        })
        .collect())
}
