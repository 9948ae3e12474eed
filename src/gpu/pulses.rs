//! The pulsed update on the graphics processor: trains, then one thread per crosspoint that walks
//! through samples and slots in order.

use std::ops::Range;
use std::sync::Arc;

use super::buffers::Step;
use super::kernels::{EXACT, PULSE, TRAINS};
use super::shaders::{Constant, compose, flags};
use super::state::{Numbers, cell_grid};
use super::tile::GpuTile;
use crate::config::PulseType;
use crate::devices::{DeviceConfig, Kernel, Response};
use crate::error::Result;
use crate::memory;
use crate::par::{self, Par};
use crate::pulse::positions::{Kind, Positions};
use crate::pulse::scale::Scaling;
use crate::pulse::trains::{SLICE_BLOCKS, Side, Slice, Thresholds};
use crate::pulse::{Update, counted};
use crate::rng::Key;
use crate::simd;

/// One update of a tile; fields as in [`Update`].
#[derive(Debug)]
pub struct GpuUpdate<'a> {
    /// Inputs, `[samples, x_size]`, without the last column when `bias` is given.
    pub x: &'a [f32],
    /// Input of the last column, equal for all samples.
    pub bias: Option<f32>,
    /// Errors, `[samples, d_size]`.
    pub d: &'a [f32],
    /// Learning rate; the target is `w -= learning_rate d x`.
    pub learning_rate: f64,
    /// Key of this call.
    pub key: Key,
    /// Coincidences, `[2, d_size, x_size]`: those down (`x d > 0`), then those up; added to.
    pub counts: Option<&'a mut [i64]>,
}

/// Numbers of the kinds of pulses in `pulse.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mode {
    Stochastic = 0,
    MeanCount = 1,
    Implicit = 2,
}

/// Samples of one dispatch with deterministic pulses or exact steps. Their lines must fit one buffer,
/// and some systems end what takes a card two seconds.
const GROUP: usize = 256;

/// What an update consists of, one submission each.
enum Parts {
    /// Samples with exact steps.
    Exact(Vec<Range<usize>>),
    /// Samples with deterministic pulses.
    Counted(Mode, Vec<Vec<(usize, Scaling)>>),
    /// Slices of stochastic trains.
    Trains(Vec<Vec<Slice>>),
}

impl Parts {
    fn of(batch: &Update<'_>) -> Result<Self> {
        let source = batch.source();
        let samples = source.samples();
        let mode = match batch.device.update().pulse_type {
            _ if !batch.device.is_pulsed() => None,
            PulseType::None | PulseType::NoneWithDevice => None,
            PulseType::MeanCount => Some(Mode::MeanCount),
            PulseType::DeterministicImplicit => Some(Mode::Implicit),
            PulseType::Stochastic | PulseType::StochasticCompressed => Some(Mode::Stochastic),
        };
        let Some(mode) = mode else {
            let group = |first| first..samples.min(first + GROUP);
            return Ok(Self::Exact((0..samples).step_by(GROUP).map(group).collect()));
        };
        if mode == Mode::Stochastic {
            let (mut chunks, mut parts) = (source.chunks((0..samples).into()), Vec::new());
            while let Some(slices) = chunks.advance()? {
                memory::push(&mut parts, memory::copied(slices)?)?;
            }
            return Ok(Self::Trains(parts));
        }
        let scaled = memory::collected(source.scalings((0..samples).into()))?;
        Ok(Self::Counted(mode, scaled.chunks(GROUP).map(<[_]>::to_vec).collect()))
    }

    fn len(&self) -> usize {
        match self {
            Self::Exact(parts) => parts.len(),
            Self::Counted(_, parts) => parts.len(),
            Self::Trains(parts) => parts.len(),
        }
    }
}

/// Every composition of the kernels, for checks.
pub(super) fn sources() -> Vec<(String, String)> {
    let mut all = vec![("trains".to_owned(), compose(&TRAINS, &[], &[]))];
    for bits in 0..4 {
        let mut constants = flags(&["BOUNDED", "WRITES"], bits);
        constants.push(Constant::Word("STORED", 0b1111));
        all.push((format!("exact {constants:?}"), compose(&EXACT, &constants, &[])));
    }
    for name in DeviceConfig::PULSED {
        let response = DeviceConfig::pulsed_default(name).and_then(|device| device.response());
        all.extend(response.iter().flat_map(|response| pulse_sources(name, response)));
    }
    all
}

/// Every composition of the kernel of pulses with the response of one device, as
/// [`sources`](super::sources) has them for all.
#[must_use]
pub fn pulse_sources(name: &str, response: &Response) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for bits in 0..16 {
        for mode in [Mode::Stochastic, Mode::MeanCount, Mode::Implicit] {
            let constants =
                constants(mode, flags(&["NOISY", "WRITES", "COUNTS", "CONSTANT"], bits));
            let constants = [constants, vec![Constant::Word("STORED", 0b1100_1111)]].concat();
            let source = compose(&PULSE, &constants, response.parts);
            all.push((format!("pulse {name} {constants:?}"), source));
        }
    }
    all
}

fn constants(mode: Mode, mut constants: Vec<Constant>) -> Vec<Constant> {
    constants.push(Constant::Word("MODE", mode as u32));
    constants
}

/// What a group of slices brings to the pulse kernel.
struct Group {
    /// Per slice: slots of its sample, first block of its draws, what stands above the column in
    /// draws of single pulses and of sums.
    slices: Vec<[u32; 4]>,
    mode: Mode,
}

impl GpuTile {
    /// Applies an update. Numbers of pulses are those of [`crate::pulse::update`]; deterministic ones
    /// that lie within 2e-7 of a tie may be rounded the other way. Their noise has the distribution of
    /// one pulse after another, from draws of its own: pulses go one after another here, unless their
    /// steps do not depend on the weight.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) and [`Error::Argument`](crate::Error::Argument) for bad
    /// arguments, [`Error::Interrupted`](crate::Error::Interrupted), [`Error::State`](crate::Error::State) without hidden parameters; the tile is then as before.
    /// [`Error::Backend`](crate::Error::Backend) when the device fails.
    pub fn update(&mut self, update: GpuUpdate<'_>) -> Result<()> {
        let spec = self.spec.clone();
        let device = spec.device();
        let GpuUpdate { x, bias, d, learning_rate, key, counts } = update;
        let mut batch = Update {
            device,
            weights: &mut [],
            planes: &[],
            persistent: None,
            x,
            bias,
            d,
            learning_rate,
            key,
            counts,
        };
        batch.check()?;
        if learning_rate == 0.0 || d.is_empty() {
            return Ok(());
        }
        par::check_interrupt()?;
        // Refuses before anything changes.
        self.state.parameters(device, key, &Numbers::default())?;
        let (parts, counts) = (Parts::of(&batch)?, batch.counts.take());
        // One submission happens or it does not, but what comes after it may fail.
        if parts.len() <= 1 && counts.is_none() {
            return self.run_update(&batch, &parts, false);
        }
        self.restoring(|tile| {
            tile.clear_counts(counts.is_some())?;
            tile.run_update(&batch, &parts, counts.is_some())?;
            counts.map_or(Ok(()), |counts| tile.add_counts(counts))
        })
    }

    fn run_update(&mut self, batch: &Update<'_>, parts: &Parts, counted: bool) -> Result<()> {
        for at in 0..parts.len() {
            par::check_interrupt()?;
            match parts {
                Parts::Exact(parts) => self.exact(batch, &parts[at])?,
                Parts::Counted(mode, parts) => self.counted(batch, &parts[at], *mode, counted)?,
                Parts::Trains(parts) => self.stochastic(batch, at, &parts[at], counted)?,
            }
        }
        Ok(())
    }

    /// Applies the slices of chunk number `at`.
    fn stochastic(
        &mut self,
        batch: &Update<'_>,
        at: usize,
        slices: &[Slice],
        counted: bool,
    ) -> Result<()> {
        let positions = Positions::new(at, SLICE_BLOCKS * slices.len())?;
        let [high, sums] = [Kind::Pulses, Kind::CellSums].map(|kind| positions.column(kind, 0));
        let place = |(at, slice): (usize, &Slice)| {
            [slice.slots, positions.block(SLICE_BLOCKS * at), high, sums]
        };
        let slots = slices.iter().enumerate().map(place).collect();
        let group = Group { slices: slots, mode: Mode::Stochastic };
        let steps = self.guarded("writing probabilities", |tile| {
            let mut steps = Vec::with_capacity(3);
            for side in batch.source().sides() {
                steps.push(tile.trains(batch, side, slices, 1 + usize::from(side.is_d))?);
            }
            steps.push(tile.pulse(batch, &group, counted)?);
            Ok(steps)
        })?;
        self.submit("drawing and applying pulses", &steps)
    }

    /// Draws the trains of one side.
    fn trains(
        &mut self,
        batch: &Update<'_>,
        side: Side<'_>,
        slices: &[Slice],
        parameters: usize,
    ) -> Result<Step> {
        let context = Arc::clone(&self.context);
        let (lines, is_d) = (side.count(), side.is_d);
        let (rows, samples) = rows_of(slices)?;
        let thresholds = thresholds(side, &samples, batch.key)?;
        let which = usize::from(is_d);
        let scratch = &mut self.scratch;
        let table =
            scratch.thresholds[which].get(&context, "probabilities", 2 * lines * samples.len())?;
        context.write(&table, 0, &thresholds);
        let buffer = scratch.slices[which].get(&context, "slices", 4 * rows.len())?;
        context.write(&buffer, 0, &rows);
        let trains = scratch.trains[which].get(&context, "trains", lines * rows.len())?;
        let numbers = Numbers { lines, is_d, ..Numbers::default() };
        let (words, _) = self.state.parameters(batch.device, batch.key, &numbers)?;
        let uniform = scratch.parameters.parameters(&context, 4);
        context.write(&uniform, parameters * words.0.len(), &words.0);
        let pipeline = context.pipeline(&TRAINS, &[], &[])?;
        let group = context.bind(&pipeline, &uniform, &[&buffer, &table, &trains]);
        let grid = [lines.div_ceil(64) as u32, rows.len() as u32, 1];
        Ok(Step { pipeline, group, parameters, grid })
    }

    fn counted(
        &mut self,
        batch: &Update<'_>,
        samples: &[(usize, Scaling)],
        mode: Mode,
        counted: bool,
    ) -> Result<()> {
        let step = self.guarded("writing pulses of lines", |tile| {
            let group = tile.write_lines(batch, samples, mode)?;
            tile.pulse(batch, &group, counted)
        })?;
        self.submit("applying pulses", &[step])
    }

    /// Writes the signed pulses of the lines of some samples.
    fn write_lines(
        &mut self,
        batch: &Update<'_>,
        samples: &[(usize, Scaling)],
        mode: Mode,
    ) -> Result<Group> {
        let context = Arc::clone(&self.context);
        let sizes = [batch.device.x_size(), batch.device.d_size()];
        let [x_size, d_size] = sizes;
        let (mut x, mut d) = (memory::filled(0.0, x_size)?, memory::filled(0.0, d_size)?);
        let mut all =
            [memory::room(x_size * samples.len())?, memory::room(d_size * samples.len())?];
        let mut slices = memory::room(samples.len())?;
        for (sample, scaling) in samples {
            counted::lines(&batch.source(), *sample, scaling, &mut x, &mut d);
            all[0].extend(x.iter().map(|value| *value as f32));
            all[1].extend(d.iter().map(|value| *value as f32));
            let positions = Positions::new(*sample, counted::blocks(scaling))?;
            let [high, sums] = [Kind::Pulses, Kind::CellSums].map(|kind| positions.column(kind, 0));
            slices.push([scaling.slots, positions.block(0), high, sums]);
        }
        for (which, values) in all.iter().enumerate() {
            let buffer =
                self.scratch.trains[which].get(&context, "pulses of lines", values.len())?;
            context.write(&buffer, 0, values);
        }
        Ok(Group { slices, mode })
    }

    /// The pulse kernel on the trains of `group`.
    fn pulse(&mut self, batch: &Update<'_>, group: &Group, counted: bool) -> Result<Step> {
        let context = Arc::clone(&self.context);
        let device = batch.device;
        let first = device.first_extra();
        let planes = [first, first + 1, first + 2, first + 3];
        let numbers = Numbers { planes: &planes, count: group.slices.len(), ..Numbers::default() };
        let (words, stored) = self.state.parameters(device, batch.key, &numbers)?;
        let scratch = &mut self.scratch;
        let uniform = scratch.parameters.parameters(&context, 4);
        context.write(&uniform, 0, &words.0);
        let slices = scratch.slices[2].get(&context, "slices", 4 * group.slices.len())?;
        context.write(&slices, 0, &group.slices);
        let trains = [
            scratch.trains[0].get(&context, "trains", 4)?,
            scratch.trains[1].get(&context, "trains", 4)?,
        ];
        let unused = self.state.unused.clone();
        let counts = if counted { scratch.counts.get(&context, "counts", 4)? } else { unused };
        let [state, visible] = self.state.pair();
        let added_up = device.kernel() == Some(Kernel::Constant) && !device.update().exact_pulses;
        let (parts, noisy) =
            self.state.response.as_ref().map_or((&[][..], false), |response| {
                (response.parts, response.constants[0] != 0.0)
            });
        let constants = constants(
            group.mode,
            vec![
                Constant::Flag("NOISY", noisy),
                Constant::Flag("WRITES", device.write_noise().is_some()),
                Constant::Flag("COUNTS", counted),
                Constant::Flag("CONSTANT", added_up),
                stored,
            ],
        );
        let pipeline = context.pipeline(&PULSE, &constants, parts)?;
        let [x, d] = &trains;
        let buffers = [&self.state.planes, x, d, &slices, state, visible, &counts];
        let group = context.bind(&pipeline, &uniform, &buffers);
        Ok(Step { pipeline, group, parameters: 0, grid: cell_grid(device) })
    }

    fn clear_counts(&mut self, counted: bool) -> Result<()> {
        if !counted {
            return Ok(());
        }
        let words = 2 * self.spec.d_size() * self.spec.x_size();
        let context = Arc::clone(&self.context);
        self.guarded("counting pulses", |tile| {
            let counts = tile.scratch.counts.get(&context, "counts", words)?;
            context.clear(&counts);
            Ok(())
        })
    }

    fn add_counts(&mut self, counts: &mut [i64]) -> Result<()> {
        let mut found = memory::filled(0u32, counts.len())?;
        let buffer = self.scratch.counts.get(&self.context, "counts", counts.len())?;
        self.read(&buffer, &mut found)?;
        counts.iter_mut().zip(found).for_each(|(count, found)| *count += i64::from(found));
        Ok(())
    }
}

/// Per slice what the trains kernel reads, and one slice for each sample.
fn rows_of(slices: &[Slice]) -> Result<(Vec<[u32; 4]>, Vec<&Slice>)> {
    let mut samples: Vec<&Slice> = memory::room(slices.len())?;
    let mut rows = memory::room(slices.len())?;
    for slice in slices {
        if samples.last().is_none_or(|last| last.sample != slice.sample) {
            samples.push(slice);
        }
        let here = samples.len() as u32 - 1;
        let slots = slice.slots | u32::from(slice.is_all()) << 31;
        rows.push([here, slice.sample as u32, slice.index, slots]);
    }
    Ok((rows, samples))
}

/// Probabilities and signs of all lines of some samples. They are computed here, in double
/// precision, which shaders do not have.
fn thresholds(side: Side<'_>, samples: &[&Slice], key: Key) -> Result<Vec<[u32; 2]>> {
    const LINE_NS: f64 = 1.0;
    let lines = side.count();
    let mut all = memory::filled([0; 2], lines * samples.len())?;
    let par = Par::of(LINE_NS * all.len() as f64);
    par.for_each(all.chunks_mut(lines).zip(samples), |(out, slice)| {
        simd::run(Thresholds { side, key, slice, out });
        Ok(())
    })?;
    Ok(all)
}
