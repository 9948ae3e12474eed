//! The pulsed update on the graphics processor: trains, then one thread per crosspoint that walks
//! through samples and slots in order.

use std::ops::Range;

use super::devices::Devices;
use super::exact::flow_sources;
use super::job::Job;
use super::kernels::{PULSE, TRAINS};
use super::shaders::{self, Constant, compose, flags};
use super::state::{Numbers, Window};
use super::tile::GpuTile;
use crate::config::PulseType;
use crate::devices::{Device, DeviceConfig, Kernel, Response};
use crate::error::Result;
use crate::memory;
use crate::par::{self, Par};
use crate::pulse::positions::{Kind, Positions};
use crate::pulse::samples::Samples;
use crate::pulse::scale::Scaling;
use crate::pulse::source::{Source, Turn};
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
pub(crate) enum Mode {
    Stochastic = 0,
    MeanCount = 1,
    Implicit = 2,
}

impl Mode {
    /// That of a type of pulses; `None` for exact steps.
    pub(crate) fn of(pulse_type: PulseType) -> Option<Self> {
        match pulse_type {
            PulseType::None | PulseType::NoneWithDevice => None,
            PulseType::MeanCount => Some(Self::MeanCount),
            PulseType::DeterministicImplicit => Some(Self::Implicit),
            PulseType::Stochastic | PulseType::StochasticCompressed => Some(Self::Stochastic),
        }
    }
}

/// Samples of one dispatch with deterministic pulses or exact steps. Their lines must fit one buffer,
/// and some systems end what takes a card two seconds.
const GROUP: usize = 256;

/// What pulses consist of, one submission each.
enum Parts {
    /// Samples with exact or infinitely fine steps.
    Exact(Vec<Range<usize>>),
    /// Samples with deterministic pulses.
    Counted(Mode, Vec<Vec<(usize, Scaling)>>),
    /// Slices of stochastic trains.
    Trains(Vec<Vec<Slice>>),
}

impl Parts {
    fn of(source: &Source<'_>, samples: Samples<'_>, device: &Device) -> Result<Self> {
        let has_pulses = device.is_pulsed() && !device.flows();
        let mode = Mode::of(source.parameters.pulse_type).filter(|_| has_pulses);
        let Some(mode) = mode else {
            let groups = match samples {
                Samples::From(Range { start, end }) => {
                    let group = |first| Ok(first..end.min(first + GROUP));
                    memory::collected((start..end).step_by(GROUP).map(group))?
                }
                Samples::Listed(list) => {
                    memory::collected(list.iter().map(|sample| Ok(*sample..*sample + 1)))?
                }
            };
            return Ok(Self::Exact(groups));
        };
        if mode == Mode::Stochastic {
            let (mut chunks, mut parts) = (source.chunks(samples), Vec::new());
            while let Some(slices) = chunks.advance()? {
                memory::push(&mut parts, memory::copied(slices)?)?;
            }
            return Ok(Self::Trains(parts));
        }
        let scaled = memory::collected(source.scalings(samples))?;
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
    for name in DeviceConfig::PULSED {
        let response = DeviceConfig::pulsed_default(name).and_then(|device| device.response());
        all.extend(response.iter().flat_map(|response| pulse_sources(name, response)));
    }
    all
}

/// Every composition of the kernels of pulses and of infinitely fine steps with the response of one device, as
/// [`sources`](super::sources) has them for all.
#[must_use]
pub fn pulse_sources(name: &str, response: &Response) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let modes = [Mode::Stochastic, Mode::MeanCount, Mode::Implicit];
    let turns = [Turn::Both, Turn::OnlyUp, Turn::OnlyDownAsUp];
    for bits in 0..16 {
        for (at, mode) in modes.into_iter().enumerate() {
            // All turns with every mode, and not with every flag.
            let turn = turns[(at + bits as usize) % 3];
            let flags = flags(&["NOISY", "WRITES", "COUNTS", "CONSTANT"], bits);
            let stored = Constant::Word("STORED", 0b1100_1111);
            let constants = [&flags[..], &constants(mode, turn), &[stored]].concat();
            let source = compose(&PULSE, &constants, response.parts);
            all.push((format!("pulse {name} {constants:?}"), source));
        }
    }
    all.extend(flow_sources(name, response));
    all
}

/// Constants of the kernel of pulses beside its flags.
fn constants(mode: Mode, turn: Turn) -> [Constant; 2] {
    [Constant::Word("MODE", mode as u32), shaders::turn(turn)]
}

/// What a group of slices brings to the pulse kernel.
struct Group {
    /// Per slice: slots of its sample, first block of its draws, what stands above the column in
    /// draws of single pulses and of sums.
    slices: Vec<[u32; 4]>,
    mode: Mode,
}

/// Pulses in buffers, as the pulse kernel takes them.
pub(crate) struct Pulses<'a> {
    pub mode: Mode,
    /// Which of them the devices take.
    pub turn: Turn,
    /// Whether steps that do not depend on the weight may be added up.
    pub summed: bool,
    /// Number of slices.
    pub count: usize,
    pub slices: &'a wgpu::Buffer,
    /// Trains or pulses of the input and of the error lines.
    pub trains: [&'a wgpu::Buffer; 2],
    /// Where coincidences are counted.
    pub counts: Option<&'a wgpu::Buffer>,
    /// The cells that may have some, if not all.
    pub window: Option<Window>,
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
        let source = batch.source();
        let parts = Parts::of(&source, (0..source.samples()).into(), device)?;
        let counts = batch.counts.take();
        // One submission happens or it does not, but what comes after it may fail.
        if parts.len() <= 1 && counts.is_none() {
            return self.devices().run_parts(&source, &parts, key, None);
        }
        self.restoring(|devices| {
            let buffer = counts.as_ref().map(|_| devices.clear_counts()).transpose()?;
            devices.run_parts(&source, &parts, key, buffer.as_ref())?;
            match (counts, buffer) {
                (Some(counts), Some(buffer)) => devices.add_counts(&buffer, counts),
                _ => Ok(()),
            }
        })
    }
}

impl Devices<'_> {
    /// Applies the pulses of some samples of `source`, one submission after another; `key` is that of their
    /// noise.
    pub(crate) fn apply(
        &mut self,
        source: &Source<'_>,
        samples: Samples<'_>,
        key: Key,
    ) -> Result<()> {
        let parts = Parts::of(source, samples, self.device)?;
        self.run_parts(source, &parts, key, None)
    }

    fn run_parts(
        &mut self,
        source: &Source<'_>,
        parts: &Parts,
        key: Key,
        counts: Option<&wgpu::Buffer>,
    ) -> Result<()> {
        for at in 0..parts.len() {
            par::check_interrupt()?;
            match parts {
                Parts::Exact(parts) => self.exact(source, &parts[at], key)?,
                Parts::Counted(mode, parts) => {
                    self.counted(source, &parts[at], *mode, key, counts)?;
                }
                Parts::Trains(parts) => self.stochastic(source, at, &parts[at], key, counts)?,
            }
        }
        Ok(())
    }

    /// Applies the slices of chunk number `at`.
    fn stochastic(
        &mut self,
        source: &Source<'_>,
        at: usize,
        slices: &[Slice],
        key: Key,
        counts: Option<&wgpu::Buffer>,
    ) -> Result<()> {
        let positions = Positions::new(at, SLICE_BLOCKS * slices.len())?;
        let [high, sums] = [Kind::Pulses, Kind::CellSums].map(|kind| positions.column(kind, 0));
        let place = |(at, slice): (usize, &Slice)| {
            [slice.slots, positions.block(SLICE_BLOCKS * at), high, sums]
        };
        let places = slices.iter().enumerate().map(place).collect();
        let group = Group { slices: places, mode: Mode::Stochastic };
        self.run("drawing and applying pulses", 3, |devices, job| {
            for side in source.sides() {
                devices.host_trains(job, side, slices, source.key)?;
            }
            devices.pulse(job, source, &group, key, counts)
        })
    }

    /// Draws the trains of one side from probabilities that are written here.
    fn host_trains(
        &mut self,
        job: &mut Job,
        side: Side<'_>,
        slices: &[Slice],
        key: Key,
    ) -> Result<()> {
        let context = self.context;
        let (lines, which) = (side.count(), usize::from(side.is_d));
        let (rows, samples) = rows_of(slices)?;
        let thresholds = thresholds(side, &samples, key)?;
        let scratch = &mut self.scratch;
        let table =
            scratch.thresholds[which].get(context, "probabilities", 2 * lines * samples.len())?;
        context.write(&table, 0, &thresholds);
        let buffer = scratch.slices[which].get(context, "slices", 4 * rows.len())?;
        context.write(&buffer, 0, &rows);
        self.trains(job, side.is_d, [lines, rows.len()], [&buffer, &table], key)?;
        Ok(())
    }

    /// Draws the trains of so many lines and slices of one side, from slices and probabilities in buffers.
    pub(crate) fn trains(
        &mut self,
        job: &mut Job,
        is_d: bool,
        [lines, slices]: [usize; 2],
        [rows, table]: [&wgpu::Buffer; 2],
        key: Key,
    ) -> Result<wgpu::Buffer> {
        let context = self.context;
        let which = usize::from(is_d);
        let trains = self.scratch.trains[which].get(context, "trains", lines * slices)?;
        let numbers = Numbers { lines, is_d, ..Numbers::default() };
        let (words, _) = self.state.parameters(self.device, key, &numbers)?;
        let pipeline = context.pipeline(&TRAINS, &[], &[])?;
        let grid = [lines.div_ceil(64) as u32, slices as u32, 1];
        job.add(context, pipeline, &words.0, &[rows, table, &trains], grid);
        Ok(trains)
    }

    fn counted(
        &mut self,
        source: &Source<'_>,
        samples: &[(usize, Scaling)],
        mode: Mode,
        key: Key,
        counts: Option<&wgpu::Buffer>,
    ) -> Result<()> {
        self.run("applying pulses", 1, |devices, job| {
            let group = devices.write_lines(source, samples, mode)?;
            devices.pulse(job, source, &group, key, counts)
        })
    }

    /// Writes the signed pulses of the lines of some samples.
    fn write_lines(
        &mut self,
        source: &Source<'_>,
        samples: &[(usize, Scaling)],
        mode: Mode,
    ) -> Result<Group> {
        let Source { x_size, d_size, .. } = *source;
        let (mut x, mut d) = (memory::filled(0.0, x_size)?, memory::filled(0.0, d_size)?);
        let mut all =
            [memory::room(x_size * samples.len())?, memory::room(d_size * samples.len())?];
        let mut slices = memory::room(samples.len())?;
        for (sample, scaling) in samples {
            counted::lines(source, *sample, scaling, &mut x, &mut d);
            all[0].extend(x.iter().map(|value| *value as f32));
            all[1].extend(d.iter().map(|value| *value as f32));
            let positions = Positions::new(*sample, counted::blocks(scaling))?;
            let [high, sums] = [Kind::Pulses, Kind::CellSums].map(|kind| positions.column(kind, 0));
            slices.push([scaling.slots, positions.block(0), high, sums]);
        }
        for (which, values) in all.iter().enumerate() {
            let buffer =
                self.scratch.trains[which].get(self.context, "pulses of lines", values.len())?;
            self.context.write(&buffer, 0, values);
        }
        Ok(Group { slices, mode })
    }

    /// Applies the trains of `group`.
    fn pulse(
        &mut self,
        job: &mut Job,
        source: &Source<'_>,
        group: &Group,
        key: Key,
        counts: Option<&wgpu::Buffer>,
    ) -> Result<()> {
        let (context, scratch) = (self.context, &mut self.scratch);
        let slices = scratch.slices[2].get(context, "slices", 4 * group.slices.len())?;
        context.write(&slices, 0, &group.slices);
        let trains = [
            scratch.trains[0].get(context, "trains", 4)?,
            scratch.trains[1].get(context, "trains", 4)?,
        ];
        let pulses = Pulses {
            mode: group.mode,
            turn: source.turn,
            summed: !source.parameters.exact_pulses,
            count: group.slices.len(),
            slices: &slices,
            trains: [&trains[0], &trains[1]],
            counts,
            window: None,
        };
        self.pulses(job, &pulses, key)
    }

    /// Applies pulses; `key` is that of their noise.
    pub(crate) fn pulses(&self, job: &mut Job, pulses: &Pulses<'_>, key: Key) -> Result<()> {
        let Self { context, state, device, .. } = self;
        let first = device.first_extra();
        let planes = [first, first + 1, first + 2, first + 3];
        let Pulses { count, window, .. } = *pulses;
        let numbers = Numbers { planes: &planes, count, window, ..Numbers::default() };
        let (words, stored) = state.parameters(device, key, &numbers)?;
        let [weights, visible] = state.pair();
        let added_up = device.kernel() == Some(Kernel::Constant) && pulses.summed;
        let (parts, noisy) = state
            .response
            .as_ref()
            .map_or((&[][..], false), |response| (response.parts, response.constants[0] != 0.0));
        let flags = [
            Constant::Flag("NOISY", noisy),
            Constant::Flag("WRITES", device.write_noise().is_some()),
            Constant::Flag("COUNTS", pulses.counts.is_some()),
            Constant::Flag("CONSTANT", added_up),
        ];
        let constants = [&flags[..], &constants(pulses.mode, pulses.turn), &[stored]].concat();
        let pipeline = context.pipeline(&PULSE, &constants, parts)?;
        let counts = pulses.counts.unwrap_or(&state.unused);
        let [x, d] = pulses.trains;
        let buffers = [&state.planes, x, d, pulses.slices, weights, visible, counts];
        let grid = window.unwrap_or(Window::whole(device)).grid();
        job.add(context, pipeline, &words.0, &buffers, grid);
        Ok(())
    }

    /// A buffer for counts, with zeros.
    fn clear_counts(&mut self) -> Result<wgpu::Buffer> {
        let words = 2 * self.device.d_size() * self.device.x_size();
        self.guarded("counting pulses", |devices| {
            let counts = devices.scratch.counts.get(devices.context, "counts", words)?;
            devices.context.clear(&counts);
            Ok(counts)
        })
    }

    fn add_counts(&mut self, buffer: &wgpu::Buffer, counts: &mut [i64]) -> Result<()> {
        let mut found = memory::filled(0u32, counts.len())?;
        self.read(buffer, &mut found)?;
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
