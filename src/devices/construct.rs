//! The draw of the variations between the cells of a tile.

use super::AnyDevice;
use super::common::{Cell, CellDraws, PulsedParameters};
use super::device::{BASE, Device, position};
use super::planes::Plane;
use super::rule::MAX_EXTRA;
use crate::error::{Error, Result};
use crate::par::{self, Par};
use crate::rng::{CHUNK, Draw, Key, LANES, Stream};
use crate::simd::{self, Work};
use crate::{memory, scratch};

/// Draws of the construction stream, one block each. Append only.
mod block {
    pub(super) const MAX_BOUND: u32 = 0;
    pub(super) const MIN_BOUND: u32 = 1;
    pub(super) const GAIN: u32 = 2;
    pub(super) const ASYMMETRY: u32 = 3;
    pub(super) const CORRUPT: u32 = 4;
    pub(super) const CORRUPT_POSITION: u32 = 5;
    pub(super) const DIFFUSION: u32 = 6;
    pub(super) const RESET: u32 = 7;
    pub(super) const LIFETIME: u32 = 8;
    pub(super) const DRIFT_NU: u32 = 9;
    pub(super) const EXTRA: u32 = 16;
}

impl Device {
    /// Draws the hidden parameters from `seed`, or from a `construction_seed` that is not 0. The
    /// persistent weights are 0.
    ///
    /// # Errors
    /// [`Error::Memory`](crate::Error::Memory), [`Error::Interrupted`](crate::Error::Interrupted).
    pub fn construct(&self, seed: u64) -> Result<Vec<(&'static str, Plane)>> {
        let cells = self.d_size() * self.x_size();
        let plane = |name| Ok((name, empty_plane(self, name, cells)?));
        let mut planes: Vec<_> =
            self.hidden_names().into_iter().map(plane).collect::<Result<_>>()?;
        let values = planes.iter_mut().enumerate().filter_map(|(at, (_, plane))| match plane {
            Plane::Values(values) => Some(Ok((at, &mut values[..]))),
            Plane::Constant(_) => None,
        });
        let values = memory::collected(values)?;
        self.construct_values(seed, values)?;
        Ok(planes)
    }

    /// [`Device::construct`] of the hidden parameters with the given numbers, into memory that has any
    /// content.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape), and those of [`Device::construct`].
    pub fn construct_values(&self, seed: u64, values: Vec<(usize, &mut [f32])>) -> Result<()> {
        let own = self.config().pulsed().map_or(0, |pulsed| pulsed.construction_seed);
        let seed = if own == 0 { seed } else { own as u64 };
        self.construct_part(Key::new(seed, 0), values)
    }

    /// [`Device::construct_values`] of one of several devices at each crosspoint, which do not have seeds
    /// of their own.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn construct_part(&self, key: Key, values: Vec<(usize, &mut [f32])>) -> Result<()> {
        let count = self.hidden_names().len();
        for (number, values) in &values {
            if *number >= count {
                let why = format!("{number} is beyond the {count} hidden parameters");
                return Err(Error::Argument { argument: "hidden", why });
            }
            Error::check_len("hidden", values.len(), self.d_size() * self.x_size())?;
        }
        match self.config().any() {
            Some(device) => self.draw_values(device, key, values),
            None => Ok(()),
        }
    }

    /// Draws the hidden parameters that have values, given by their numbers.
    fn draw_values(
        &self,
        config: &dyn AnyDevice,
        key: Key,
        mut values: Vec<(usize, &mut [f32])>,
    ) -> Result<()> {
        if let Some(at) = self.persistent_position() {
            values.retain_mut(|(number, values)| {
                if *number == at {
                    values.fill(0.0);
                }
                *number != at
            });
        }
        let (pulsed, properties) = (config.parameters(), config.properties());
        let draws = Draws {
            pulsed,
            draw: key.stream(Stream::Construct),
            needed: needed(pulsed),
            corrupt: pulsed.corrupt_devices_prob > 0.0,
            extra: properties.extra_draws,
        };
        // Draws come in whole chunks of columns.
        let cells = par::rows_per_check(properties.construction_ns);
        let height = (cells / CHUNK).max(1) * CHUNK;
        let mut spans = Spans::new(self, values, height.min(SPAN));
        let per_check = (cells / spans.longest).max(1) * par::num_threads();
        while spans.is_left() {
            par::check_interrupt()?;
            let group = spans.by_ref().take(per_check);
            let work = properties.construction_ns * (per_check * SPAN) as f64;
            Par::of(work).for_each(group, |span| construct(self, config, &draws, span?))?;
        }
        Ok(())
    }
}

/// The hidden parameters of some cells.
fn construct(
    device: &Device,
    config: &dyn AnyDevice,
    draws: &Draws<'_>,
    mut span: Span<'_>,
) -> Result<()> {
    let len = span.len;
    scratch::floats(draws.lines() * len, |lines| {
        simd::run(Fill { draws, row: span.row, first: span.first, len, lines });
        simd::run(Convert { device, config, draws, span: &mut span, lines });
        Ok(())
    })
}

/// Turns the draws of some cells into their hidden parameters. Compiled once, not with every device: most
/// of it is what all have in common, and what a device adds has no vectors.
struct Convert<'a, 'b> {
    device: &'a Device,
    config: &'a dyn AnyDevice,
    draws: &'a Draws<'a>,
    span: &'a mut Span<'b>,
    lines: &'a [f32],
}

impl Work for Convert<'_, '_> {
    type Home = Self;

    #[inline(always)]
    fn run(self) {
        let (device, draws) = (self.device, self.draws);
        let pulsed = draws.pulsed;
        let is_special = draws.corrupt
            || pulsed.dw_min_dtod_log_normal
            || (device.analog_bias && pulsed.perfect_bias);
        if is_special { self.cells::<false>() } else { self.cells::<true>() }
    }
}

/// Values of [`LANES`] cells: those that all devices have, then those of the device.
type Columns = [[f64; LANES]; BASE.len() + MAX_EXTRA];

impl Convert<'_, '_> {
    /// Without what a plain cell has not, which is known when this is compiled, the compiler takes
    /// several cells at once.
    #[inline(always)]
    fn cells<const PLAIN: bool>(self) {
        let Self { device, config, draws, span, lines } = self;
        let (mut pulsed, len) = (draws.pulsed.clone(), span.len);
        if PLAIN {
            pulsed.dw_min_dtod_log_normal = false;
        }
        let mut columns: Columns = [[0.0; LANES]; BASE.len() + MAX_EXTRA];
        for first in (0..len).step_by(LANES) {
            let count = LANES.min(len - first);
            let line = |number: usize| drawn(&lines[number * len + first..][..count]);
            let mut normals = [[0.0; LANES]; NORMALS.len()];
            for (number, values) in normals.iter_mut().enumerate() {
                if draws.needed[number] {
                    *values = line(number);
                }
            }
            let mut corrupt = [[0.0; LANES]; 2];
            if !PLAIN && draws.corrupt {
                corrupt = [line(NORMALS.len()), line(NORMALS.len() + 1)];
            }
            let mut own = [[0.0; MAX_EXTRA]; LANES];
            for number in 0..draws.extra {
                for (own, value) in own.iter_mut().zip(line(NORMALS.len() + 2 + number)) {
                    own[number] = value;
                }
            }
            let bias = (device.analog_bias && !PLAIN && pulsed.perfect_bias)
                .then(|| device.x_size() - 1)
                .and_then(|column| column.checked_sub(span.first + first));
            let mut cells = [Cell::default(); LANES];
            for (lane, cell) in cells.iter_mut().enumerate() {
                *cell = pulsed.cell(&CellDraws {
                    bounds: [normals[0][lane], normals[1][lane]],
                    gain: normals[2][lane],
                    asymmetry: normals[3][lane],
                    diffusion: normals[4][lane],
                    reset: normals[5][lane],
                    lifetime: normals[6][lane],
                    drift_nu: normals[7][lane],
                    corrupt: (!PLAIN && draws.corrupt)
                        .then(|| [corrupt[0][lane], corrupt[1][lane]]),
                    perfect: !PLAIN && bias == Some(lane),
                });
            }
            let mut extras = [[0.0; MAX_EXTRA]; LANES];
            config.add(&mut cells, &own, &mut extras);
            for (lane, (cell, extra)) in cells.iter().zip(&extras).enumerate() {
                columns[position::MAX_BOUND][lane] = cell.max_bound;
                columns[position::MIN_BOUND][lane] = cell.min_bound;
                columns[position::UP][lane] = cell.up;
                columns[position::DOWN][lane] = cell.down;
                columns[position::DECAY][lane] = cell.decay_scale;
                columns[position::DIFFUSION][lane] = cell.diffusion_rate;
                columns[position::RESET][lane] = cell.reset_bias;
                columns[position::DRIFT_NU][lane] = cell.drift_nu;
                for number in 0..MAX_EXTRA {
                    columns[BASE.len() + number][lane] = extra[number];
                }
            }
            for (number, values) in &mut span.planes {
                let column = match *number {
                    number if number < BASE.len() => number,
                    number => BASE.len() + (number - device.first_extra()),
                };
                for (value, cell) in values[first..][..count].iter_mut().zip(&columns[column]) {
                    *value = *cell as f32;
                }
            }
        }
    }
}

/// Draws of some cells, zero for those behind the last one.
#[inline(always)]
fn drawn(values: &[f32]) -> [f64; LANES] {
    let mut cells = [0.0; LANES];
    if let Ok(values) = <&[f32; LANES]>::try_from(values) {
        for lane in 0..LANES {
            cells[lane] = f64::from(values[lane]);
        }
    } else {
        for (cell, value) in cells.iter_mut().zip(values) {
            *cell = f64::from(*value);
        }
    }
    cells
}

fn empty_plane(device: &Device, name: &str, cells: usize) -> Result<Plane> {
    Ok(match device.hidden_constant(name) {
        Some(value) => Plane::Constant(value),
        None => Plane::Values(memory::filled(0.0, cells)?),
    })
}

/// Most cells of one task: enough work for a thread to come for it, few enough for its draws to stay
/// in the first cache.
const SPAN: usize = 8 * CHUNK;

/// Neighbouring cells of one row.
struct Span<'a> {
    row: u32,
    /// Column of the first one.
    first: usize,
    len: usize,
    /// Numbers of the planes that have values, with those of these cells.
    planes: Vec<(usize, &'a mut [f32])>,
}

/// All cells, in spans.
struct Spans<'a> {
    columns: usize,
    longest: usize,
    row: usize,
    first: usize,
    rows: usize,
    rest: Vec<(usize, &'a mut [f32])>,
}

impl<'a> Spans<'a> {
    fn new(device: &Device, values: Vec<(usize, &'a mut [f32])>, longest: usize) -> Self {
        Self {
            columns: device.x_size(),
            longest: longest.min(device.x_size()),
            row: 0,
            first: 0,
            rows: device.d_size(),
            rest: values,
        }
    }

    fn is_left(&self) -> bool {
        self.row < self.rows
    }
}

impl<'a> Iterator for Spans<'a> {
    type Item = Result<Span<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.is_left() {
            return None;
        }
        let (row, first) = (self.row as u32, self.first);
        let len = self.longest.min(self.columns - first);
        self.first += len;
        if self.first == self.columns {
            (self.row, self.first) = (self.row + 1, 0);
        }
        let planes = memory::collected(self.rest.iter_mut().map(|(number, rest)| {
            let (values, others) = std::mem::take(rest).split_at_mut(len);
            *rest = others;
            Ok((*number, values))
        }));
        Some(planes.map(|planes| Span { row, first, len, planes }))
    }
}

/// Normal draws of the base parameters, with the block of each.
const NORMALS: [u32; 8] = [
    block::MAX_BOUND,
    block::MIN_BOUND,
    block::GAIN,
    block::ASYMMETRY,
    block::DIFFUSION,
    block::RESET,
    block::LIFETIME,
    block::DRIFT_NU,
];

/// Which of them something depends on. Draws are positional: the others are left out.
fn needed(pulsed: &PulsedParameters) -> [bool; NORMALS.len()] {
    [
        pulsed.w_max_dtod != 0.0,
        pulsed.w_min_dtod != 0.0,
        pulsed.step_spread() != 0.0,
        pulsed.up_down_dtod != 0.0,
        pulsed.diffusion > 0.0 && pulsed.diffusion_dtod != 0.0,
        pulsed.reset_dtod > 0.0,
        pulsed.lifetime > 0.0 && pulsed.lifetime_dtod != 0.0,
        pulsed.drift.nu > 0.0 && pulsed.drift.nu_dtod != 0.0,
    ]
}

/// What is drawn for each cell. In memory it is one line of cells after another: the [`NORMALS`],
/// two uniforms of stuck devices, the normals of the device.
struct Draws<'a> {
    pulsed: &'a PulsedParameters,
    draw: Draw,
    needed: [bool; NORMALS.len()],
    corrupt: bool,
    extra: usize,
}

impl Draws<'_> {
    fn lines(&self) -> usize {
        NORMALS.len() + 2 + self.extra
    }
}

/// Draws all lines of some cells.
struct Fill<'a> {
    draws: &'a Draws<'a>,
    row: u32,
    first: usize,
    len: usize,
    lines: &'a mut [f32],
}

impl Work for Fill<'_> {
    type Home = Self;

    #[inline(always)]
    fn run(self) {
        let Draws { draw, needed, corrupt, extra, .. } = self.draws;
        let (row, first) = (self.row, self.first);
        let mut lines = self.lines.chunks_exact_mut(self.len);
        for ((block, needed), line) in NORMALS.into_iter().zip(needed).zip(lines.by_ref()) {
            if *needed {
                draw.fill_normal_from(first, row, block, line);
            }
        }
        for (block, line) in
            [block::CORRUPT, block::CORRUPT_POSITION].into_iter().zip(lines.by_ref())
        {
            if *corrupt {
                draw.fill_uniform_from(first, row, block, line);
            }
        }
        for (at, line) in lines.enumerate().take(*extra) {
            draw.fill_normal_from(first, row, block::EXTRA + at as u32, line);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::UpdateParameters;
    use crate::devices::{DeviceConfig, PowStepReference, random};
    use crate::error::Error;
    use crate::pulse::trouble::{self, ASKED, STOP};

    /// A search by many pulses in every cell takes long enough to be stopped.
    #[test]
    fn construction_asks_for_interruptions() {
        trouble::watch();
        let device = |n_estimation_steps| {
            let device = PowStepReference {
                n_estimation_steps,
                subtract_symmetry_point: true,
                ..PowStepReference::default()
            };
            let config = DeviceConfig::PowStepReference(device);
            Device::new(&config, &UpdateParameters::default(), 1, 4, false)
        };
        ASKED.set(0);
        let long = device(1_000_000).unwrap();
        long.construct(1).unwrap();
        assert!(ASKED.get() > 0);
        STOP.set(true);
        let result = long.construct(1);
        STOP.set(false);
        assert_eq!(result, Err(Error::Interrupted));
        assert!(matches!(device(1_000_001), Err(Error::Config { .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// Values that the configuration makes equal are those that would have been drawn, and all
        /// are what a tile accepts.
        #[test]
        fn folded_planes_equal_the_drawn_ones(
            name in prop::sample::select(DeviceConfig::PULSED),
            seed in any::<u64>(),
            bias in any::<bool>(),
        ) {
            let config = random::device(name, seed).unwrap();
            let consistent = config.pulsed().unwrap().enforce_consistency;
            let (rows, columns) = (20, 30);
            let device =
                Device::new(&config, &UpdateParameters::default(), rows, columns, bias).unwrap();
            let folded = device.construct(seed).unwrap();
            let mut drawn = vec![vec![f32::NAN; rows * columns]; folded.len()];
            let values = drawn.iter_mut().map(|values| &mut values[..]).enumerate().collect();
            device.construct_values(seed, values).unwrap();
            for ((name, folded), drawn) in folded.iter().zip(&drawn) {
                for at in 0..rows * columns {
                    prop_assert_eq!(folded.as_ref().at(at), drawn[at], "{} of cell {}", name, at);
                }
            }
            let planes: Vec<_> = folded.iter().map(|(_, plane)| plane.as_ref()).collect();
            // Finite, and no cell has crossed bounds, with or without consistency.
            device.check_planes(&planes).unwrap();
            for at in 0..rows * columns {
                prop_assert!(!consistent || planes[2].at(at) >= 0.0 && planes[3].at(at) >= 0.0);
            }
        }
    }
}
