//! A tile of cells on a graphics processor.

use std::sync::Arc;

use super::super::batch::Batch;
use super::super::counters::Counters;
use super::super::spec::CellSpec;
use super::super::state::{CellState, lines_of};
use super::super::tile::CellTileSpec;
use super::super::update::plan;
use super::engine::Engine;
use super::resident::{Resident, read_of};
use crate::config::check_factor;
use crate::devices::WeightClip;
use crate::error::{Error, Result};
use crate::gpu::devices::Devices;
use crate::gpu::product::Array;
use crate::gpu::scratch::Scratch;
use crate::gpu::side::Side;
use crate::gpu::state::Numbers;
use crate::gpu::tile::refuse;
use crate::gpu::transaction::Kept;
use crate::gpu::{Context, Pick, Product};
use crate::memory;
use crate::mvm::{Direction, Lines};
use crate::par;
use crate::rng::Key;

/// A tile of cells on a graphics processor. Whatever is a matrix stays there between calls, the visible
/// weights among it; counters and signs are those of the caller, who lends them to every call.
#[derive(Debug)]
pub struct GpuCellTile {
    spec: CellTileSpec,
    resident: Resident,
    forward: Side,
    backward: Side,
}

impl GpuCellTile {
    /// A tile of `spec` on the picked adapter. Its state is written with [`GpuCellTile::write_weights`],
    /// [`GpuCellTile::write_parameters`] and [`GpuCellTile::write_reads`]; frozen values of products, where the
    /// options have some, with [`GpuCellTile::write_lines`].
    ///
    /// # Errors
    /// [`Error::Backend`] without such an adapter or with too little memory, and as
    /// [`GpuCellTile::check`].
    pub fn new(spec: CellTileSpec, pick: &Pick) -> Result<Self> {
        Self::check(&spec)?;
        let context = Context::shared(pick)?;
        context.guard("building a tile", || {
            let resident = Resident::new(&context, spec.cells())?;
            let forward = Side::new(&context, spec.mvm(Direction::Forward))?;
            let backward = Side::new(&context, spec.mvm(Direction::Backward))?;
            Ok(Self { spec, resident, forward, backward })
        })
    }

    /// Whether a tile of `spec` can be built; opens no adapter.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for devices with an option in [`UNSUPPORTED`](crate::gpu::UNSUPPORTED).
    pub fn check(spec: &CellTileSpec) -> Result<()> {
        spec.cells().leaves.iter().try_for_each(|leaf| refuse(&leaf.device))
    }

    /// The opened adapter.
    #[must_use]
    pub fn context(&self) -> &Arc<Context> {
        &self.resident.context
    }

    /// The parsed configuration.
    #[must_use]
    pub fn spec(&self) -> &CellTileSpec {
        &self.spec
    }

    /// Writes weights of all devices and cells, and buffers, as they are.
    ///
    /// # Errors
    /// [`Error::Backend`].
    pub fn write_weights(&mut self, state: &CellState<'_>) -> Result<()> {
        let Resident { context, matrices, leaves, buffers, .. } = &self.resident;
        context.guard("writing weights", || {
            for (buffer, values) in matrices.iter().zip(&state.matrices) {
                context.write(buffer, 0, values);
            }
            for (leaf, values) in leaves.iter().zip(&state.persistent) {
                if let (Some(buffer), Some(values)) = (&leaf.persistent, values) {
                    context.write(buffer, 0, values);
                }
            }
            for (buffer, values) in buffers.iter().zip(&state.buffers) {
                context.write(buffer, 0, values);
            }
            Ok(())
        })
    }

    /// Reads what [`GpuCellTile::write_weights`] writes.
    ///
    /// # Errors
    /// [`Error::Backend`], [`Error::Memory`]; the state is then as before.
    pub fn read_weights(&mut self, state: &mut CellState<'_>) -> Result<()> {
        let cells = self.spec.cells().cells();
        let live = self.resident.live();
        let mut all = memory::collected((0..live.len()).map(|_| memory::filled(0.0f32, cells)))?;
        let Resident { context, scratch, .. } = &mut self.resident;
        for (buffer, values) in live.iter().zip(&mut all) {
            let read = context.download(buffer, &mut scratch.staging, values);
            if read.is_err() {
                *scratch = Scratch::default();
            }
            read?;
        }
        let persistent = state.persistent.iter_mut().flatten();
        let targets = state.matrices.iter_mut().chain(persistent).chain(&mut state.buffers);
        targets.zip(&all).for_each(|(target, values)| target.copy_from_slice(values));
        Ok(())
    }

    /// Writes other visible weights than those of the state.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Backend`].
    pub fn write_visible(&mut self, weights: &[f32]) -> Result<()> {
        Error::check_len("weights", weights.len(), self.spec.cells().cells())?;
        let Resident { context, matrices, .. } = &self.resident;
        context.guard("writing weights", || {
            context.write(&matrices[0], 0, weights);
            Ok(())
        })
    }

    /// Writes the hidden parameters of all devices.
    ///
    /// # Errors
    /// [`Error::Backend`]; calls are then refused until it has worked.
    pub fn write_parameters(&mut self, state: &CellState<'_>) -> Result<()> {
        let planes = CellState::planes(&state.parameters);
        let Resident { context, leaves, .. } = &mut self.resident;
        for ((leaf, state), planes) in self.spec.cells().leaves.iter().zip(leaves).zip(&planes) {
            state.set(context, &leaf.device, planes)?;
        }
        Ok(())
    }

    /// Writes the frozen values of the reads of lines.
    ///
    /// # Errors
    /// [`Error::Backend`]; calls that read are then refused until it has worked.
    pub fn write_reads(&mut self, state: &CellState<'_>) -> Result<()> {
        let Resident { context, reads, .. } = &mut self.resident;
        for (node, reads) in reads.iter_mut().enumerate() {
            if let (Some(reads), Some(read)) = (reads, read_of(self.spec.cells(), node)) {
                reads.side.set(context, read.mvm(), &lines_of(&state.lines, node))?;
            }
        }
        Ok(())
    }

    /// Writes the frozen values of the products of one direction.
    ///
    /// # Errors
    /// As for [`GpuTile::set_lines`](crate::gpu::GpuTile::set_lines).
    pub fn write_lines(&mut self, direction: Direction, lines: &Lines<'_>) -> Result<()> {
        let Self { spec, resident, forward, backward } = self;
        let side = match direction {
            Direction::Forward => forward,
            Direction::Backward => backward,
        };
        side.set(&resident.context, spec.mvm(direction), lines)
    }

    /// Computes a product with the visible weights, see
    /// [`GpuTile::product`](crate::gpu::GpuTile::product).
    ///
    /// # Errors
    /// As there.
    pub fn product(&mut self, product: Product<'_>) -> Result<()> {
        let Self { spec, resident, forward, backward } = self;
        let side = match product.direction {
            Direction::Forward => forward,
            Direction::Backward => backward,
        };
        let Resident { context, scratch, matrices, .. } = resident;
        let mvm = spec.mvm(product.direction);
        Array { context, scratch, weights: &matrices[0], mvm, side }.product(product)
    }

    /// Applies a mini-batch, see [`update`](super::super::update()); of `state` only counters and signs are
    /// used. Pulses and what is kept of transferred values are as there; noise of pulses has draws of its
    /// own, and probabilities of pulses that are written are those of f32.
    ///
    /// # Errors
    /// As there, [`Error::State`] without hidden parameters, and [`Error::Backend`] when the device
    /// fails. In all cases state and tile are then as before, unless the device is lost.
    pub fn update(&mut self, state: &mut CellState<'_>, batch: &Batch<'_>, key: Key) -> Result<()> {
        let before = state.counters(self.spec.cells());
        let mut counters = before.clone();
        let Some(plan) = plan(self.spec.cells(), &mut counters, batch, key)? else {
            return Ok(());
        };
        self.restoring(before, key, |engine| engine.run(batch, &plan))?;
        state.store(&counters);
        Ok(())
    }

    /// Sets the weights by the rule of the cell, see [`CellSpec::set_weights`].
    ///
    /// # Errors
    /// As there, and as for [`GpuCellTile::update`].
    pub fn set_weights(
        &mut self,
        state: &mut CellState<'_>,
        weights: &[f32],
        key: Key,
    ) -> Result<()> {
        let spec = self.spec.cells();
        Error::check_len("weights", weights.len(), spec.cells())?;
        Error::check_finite("weights", weights)?;
        let mut counters = spec.new_counters();
        spec.keep_choices(&state.counters(spec), &mut counters);
        let mut values = Vec::new();
        spec.share(0, memory::copied(weights)?, &counters, &mut values)?;
        self.restoring(counters.clone(), key, |engine| {
            for (leaf, weights) in values {
                engine.with_leaf(leaf, |devices, key| devices.set_weights(&weights, key))?;
            }
            engine.clear()?;
            engine.sum_all()
        })?;
        state.store(&counters);
        Ok(())
    }

    /// Decay of all devices by `alpha` calls, see [`CellSpec::decay`].
    ///
    /// # Errors
    /// As there, and as for [`GpuCellTile::update`].
    pub fn decay(&mut self, state: &CellState<'_>, alpha: f64, key: Key) -> Result<()> {
        check_factor("alpha", alpha)?;
        let all = 0..self.spec.cells().leaves.len();
        self.with_leaves(state, all, key, |devices, key| devices.decay(alpha, key))
    }

    /// Diffusion of all devices, see [`CellSpec::diffuse`].
    ///
    /// # Errors
    /// As for [`GpuCellTile::update`].
    pub fn diffuse(&mut self, state: &CellState<'_>, key: Key) -> Result<()> {
        let all = 0..self.spec.cells().leaves.len();
        self.with_leaves(state, all, key, |devices, key| devices.diffuse(key))
    }

    /// Clips the weights of all devices, see [`CellSpec::clip_weights`].
    ///
    /// # Errors
    /// As there, and as for [`GpuCellTile::update`].
    pub fn clip_weights(
        &mut self,
        state: &CellState<'_>,
        clip: WeightClip,
        key: Key,
    ) -> Result<()> {
        let all = 0..self.spec.cells().leaves.len();
        self.with_leaves(state, all, key, |devices, key| devices.clip_weights(clip, key))
    }

    /// Resets columns, see [`CellSpec::reset_columns`].
    ///
    /// # Errors
    /// As there, and as for [`GpuCellTile::update`].
    pub fn reset_columns(
        &mut self,
        state: &CellState<'_>,
        start: usize,
        count: i64,
        probability: f64,
        key: Key,
    ) -> Result<()> {
        let leaves = self.spec.cells().reset_leaves();
        self.with_leaves(state, leaves, key, |devices, key| {
            devices.reset_columns(start, count, probability, key)
        })
    }

    /// Runs an operation on the weights of some leaves, each with draws of its own, and adds them up.
    fn with_leaves(
        &mut self,
        state: &CellState<'_>,
        mut leaves: std::ops::Range<usize>,
        key: Key,
        operation: impl Fn(&mut Devices<'_>, Key) -> Result<()>,
    ) -> Result<()> {
        let counters = state.counters(self.spec.cells());
        self.restoring(counters, key, |engine| {
            leaves.try_for_each(|leaf| engine.with_leaf(leaf, &operation))?;
            engine.sum_all()
        })
    }

    /// Runs `work` on the state. When it fails or panics all of it is put back, unless the device is lost.
    fn restoring(
        &mut self,
        counters: Counters,
        key: Key,
        work: impl FnOnce(&mut Engine<'_>) -> Result<()>,
    ) -> Result<()> {
        let Self { spec, resident, .. } = self;
        let spec: &CellSpec = spec.cells();
        // Refuses before anything changes.
        for (leaf, state) in spec.leaves.iter().zip(&resident.leaves) {
            state.parameters(&leaf.device, key, &Numbers::default())?;
        }
        par::check_interrupt()?;
        let live = resident.live();
        let context = Arc::clone(&resident.context);
        let kept = context
            .guard("keeping weights", || Kept::new(&context, &mut resident.scratch.kept, live));
        if kept.is_err() {
            resident.scratch = Scratch::default();
        }
        let kept = kept?;
        let result = par::guard(|| work(&mut Engine::new(spec, resident, counters, key)?));
        if result.is_err() {
            // The first error tells more than one from here.
            let _ = kept.put_back(&context);
        }
        result
    }
}
