//! No pulses either: infinitely fine steps (`dw_min = 0`), the limit of ever more and ever smaller pulses.
//!
//! Of a sample each weight goes along the response of its device, by the length `u = |rate d x|`: up where
//! `rate d x` is negative, else down, as far as the bound. So does each sample in its order, from where the one
//! before has left the weight. There are no draws but those of the write noise.

use super::cells::{LaneCells, Planes, Target};
use super::lanes::{load, store};
use super::source::{Source, Turn};
use super::transaction::{Rows, for_each};
use crate::config::UpdateMode;
use crate::devices::{AnyRule, Reach, Rule, WriteNoise};
use crate::error::Result;
use crate::memory;
use crate::rng::{Key, LANES};
use crate::simd::{self, Work, clip, larger, select};

/// Most samples of one call: weights and constants are loaded once for all of them, and a block of rows takes
/// about as long as may pass between two checks for an interruption.
pub(crate) const SAMPLES: usize = 64;

/// Rows of one task.
const HEIGHT: usize = 8;

/// Time of one cell and sample, about.
const CELL_NS: f64 = 2.0;

/// Longest way of one sample, so that no product with a step overflows. Every device is at a bound or at rest
/// long before.
const LONGEST: f32 = 1e18;

/// Lets the weights follow some samples, at most [`SAMPLES`], one after another.
pub(crate) fn apply<R: Rule>(
    target: &Target<'_>,
    source: &Source<'_>,
    samples: &[usize],
    state: &mut Rows<'_>,
    rule: R,
) -> Result<()> {
    let planes = Planes::new(target);
    let (key, write_noise) = (target.key, target.device.write_noise());
    let columns = planes.x_size;
    let block_ns = (HEIGHT * columns * samples.len()) as f64 * CELL_NS;
    let mut blocks = state.split(HEIGHT)?;
    for_each(&mut blocks, block_ns, |rows| {
        let touched = memory::filled(false, columns)?;
        simd::run(Flow { rows, planes, source, samples, rule, key, write_noise, touched });
        Ok(())
    })
}

/// The ways of some samples in a block of rows.
struct Flow<'a, 'b, R> {
    rows: &'a mut Rows<'b>,
    planes: Planes<'a>,
    source: &'a Source<'a>,
    samples: &'a [usize],
    rule: R,
    key: Key,
    write_noise: Option<WriteNoise>,
    /// One value per column.
    touched: Vec<bool>,
}

impl<R: Rule> Work for Flow<'_, '_, R> {
    type Home = R;
    const SHARED: bool = R::SHARED;

    #[inline(always)]
    fn run(mut self) {
        let columns = self.planes.x_size;
        let mut touched = std::mem::take(&mut self.touched);
        for local in 0..self.rows.state.len() / columns {
            let mut factors = [0.0; SAMPLES];
            if !self.factors(self.rows.first + local, &mut factors) {
                continue;
            }
            self.rows.save(local);
            for column in (0..columns).step_by(LANES) {
                self.block(local, column, &factors, &mut touched);
            }
            self.rows.refresh(local, &touched, self.write_noise, self.key);
        }
    }

    fn run_shared(self) {
        let rule = AnyRule::new(&self.rule);
        simd::run(Flow {
            rule,
            rows: self.rows,
            planes: self.planes,
            source: self.source,
            samples: self.samples,
            key: self.key,
            write_noise: self.write_noise,
            touched: self.touched,
        });
    }
}

impl<R: Rule> Flow<'_, '_, R> {
    /// Products of rate and error of a row; whether one of them is not 0.
    #[inline(always)]
    fn factors(&self, row: usize, factors: &mut [f32; SAMPLES]) -> bool {
        let Source { d, d_size, rate, rates, signs, .. } = self.source;
        let sign = f32::from(signs[1].get(row).copied().unwrap_or(1));
        let mut any = false;
        for (factor, sample) in factors.iter_mut().zip(self.samples) {
            let rate = rates.get(*sample).unwrap_or(rate);
            // Finite, so that an input of 0 moves nothing.
            *factor = sign * within(*rate as f32 * d[sample * d_size + row]);
            any |= *factor != 0.0;
        }
        any
    }

    /// The ways of [`LANES`] columns.
    #[inline(always)]
    fn block(
        &mut self,
        local: usize,
        column: usize,
        factors: &[f32; SAMPLES],
        touched: &mut [bool],
    ) {
        let columns = self.planes.x_size;
        let lanes = LANES.min(columns - column);
        let at = local * columns + column;
        let cells = self.planes.lanes(self.rows.first + local, column).prepare(self.rule);
        let mut w = load(self.rows.state, at, lanes);
        let (mut longest, euler) =
            ([0.0f32; LANES], self.source.parameters.update_mode == UpdateMode::Euler);
        for (sample, factor) in self.samples.iter().zip(factors) {
            if *factor == 0.0 {
                continue;
            }
            let x = self.inputs(*sample, column, lanes);
            let (mut u, mut up) = ([0.0; LANES], [false; LANES]);
            for lane in 0..LANES {
                let change = within(factor * x[lane]);
                let (rises, turn) = (change < 0.0, self.source.turn);
                let takes = match turn {
                    Turn::Both => true,
                    Turn::OnlyUp => rises,
                    Turn::OnlyDownAsUp => !rises,
                };
                u[lane] = select(takes, change.abs(), 0.0);
                up[lane] = (turn != Turn::Both) | rises;
                longest[lane] = larger(longest[lane], u[lane]);
            }
            if euler {
                self.step(&mut w, &u, &up, &cells);
            } else {
                self.flow(&mut w, &u, &up, &cells);
            }
        }
        store(&w, &mut self.rows.state[at..at + lanes]);
        for (touched, longest) in touched[column..column + lanes].iter_mut().zip(longest) {
            *touched = longest > 0.0;
        }
    }

    /// Inputs of up to [`LANES`] columns.
    #[inline(always)]
    fn inputs(&self, sample: usize, column: usize, lanes: usize) -> [f32; LANES] {
        let inputs = self.source.inputs();
        let given = lanes.min(inputs - column.min(inputs));
        let mut x = load(self.source.x, sample * inputs + column.min(inputs), given);
        if let Some(bias) = self.source.bias
            && given < lanes
        {
            x[given] = bias;
        }
        for (x, sign) in x.iter_mut().zip(self.source.signs[0].iter().skip(column)) {
            *x *= f32::from(*sign);
        }
        x
    }

    /// One step of the size at the old weights.
    #[inline(always)]
    fn step(&self, w: &mut [f32; LANES], u: &[f32; LANES], up: &[bool; LANES], cells: &LaneCells) {
        for lane in 0..LANES {
            let mean = self.rule.mean(w[lane], up[lane], cells.cell(lane));
            let moved = cells.clip(lane, w[lane], mean.mul_add(u[lane], w[lane]));
            w[lane] = select(u[lane] > 0.0, moved, w[lane]);
        }
    }

    /// The way along the response.
    #[inline(always)]
    fn flow(&self, w: &mut [f32; LANES], u: &[f32; LANES], up: &[bool; LANES], cells: &LaneCells) {
        let (mut moved, mut left, mut places) = (*w, *u, [0; LANES]);
        for lane in 0..LANES {
            places[lane] = self.rule.place(w[lane], cells.cell(lane));
        }
        loop {
            let mut found = [[0.0; LANES]; 4];
            for lane in 0..LANES {
                let values = self.rule.look_up(places[lane]);
                found[0][lane] = values[0];
                found[1][lane] = values[1];
                found[2][lane] = values[2];
                found[3][lane] = values[3];
            }
            let mut more = 0;
            for lane in 0..LANES {
                let from = Reach { w: moved[lane], left: left[lane], place: places[lane] };
                let values = [found[0][lane], found[1][lane], found[2][lane], found[3][lane]];
                let reach = self.rule.advance(from, up[lane], cells.cell(lane), values);
                let goes = left[lane] > 0.0;
                moved[lane] = select(goes, reach.w, moved[lane]);
                left[lane] = select(goes, reach.left, 0.0);
                places[lane] = reach.place;
                more |= u32::from(left[lane] > 0.0);
            }
            if more == 0 {
                break;
            }
        }
        for lane in 0..LANES {
            let clipped = cells.clip(lane, w[lane], moved[lane]);
            w[lane] = select(u[lane] > 0.0, clipped, w[lane]);
        }
    }
}

#[inline(always)]
fn within(value: f32) -> f32 {
    clip(value, -LONGEST, LONGEST)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use super::super::apply::trouble::{self, STOP, TROUBLE, Trouble};
    use super::*;
    use crate::config::UpdateParameters;
    use crate::devices::{
        ConstantStep, Device, DeviceConfig, ExpStep, LinearStep, PiecewiseStep, Plane, PowStep,
        PulsedParameters, SoftBounds, random,
    };
    use crate::error::Error;
    use crate::pulse::{Update, update};
    use crate::rng::Stream;

    /// Parameters of devices without a step and without spreads, but for what is in `base`.
    fn fine(base: PulsedParameters) -> PulsedParameters {
        PulsedParameters {
            dw_min: 0.0,
            up_down_dtod: 0.0,
            w_max_dtod: 0.0,
            w_min_dtod: 0.0,
            ..base
        }
    }

    fn linear(gamma: f64) -> DeviceConfig {
        DeviceConfig::LinearStep(LinearStep {
            pulsed: fine(PulsedParameters::default()),
            gamma_up: gamma,
            gamma_down: gamma,
            gamma_up_dtod: 0.0,
            gamma_down_dtod: 0.0,
            ..LinearStep::default()
        })
    }

    fn power(pow_gamma: f64) -> DeviceConfig {
        let pulsed = fine(PulsedParameters::default());
        DeviceConfig::PowStep(PowStep {
            pulsed,
            pow_gamma,
            pow_gamma_dtod: 0.0,
            ..PowStep::default()
        })
    }

    struct Rig {
        device: Device,
        planes: Vec<(&'static str, Plane)>,
    }

    impl Rig {
        fn new(config: &DeviceConfig, mode: UpdateMode, rows: usize, columns: usize) -> Self {
            let update = UpdateParameters { update_mode: mode, ..UpdateParameters::default() };
            let device = Device::new(config, &update, rows, columns, false).unwrap();
            let planes = device.construct(5).unwrap();
            Self { device, planes }
        }

        /// Updates `weights`, with a rate of 1.
        fn update(&self, weights: &mut [f32], x: &[f32], d: &[f32]) -> Result<()> {
            let planes: Vec<_> = self.planes.iter().map(|(_, plane)| plane.as_ref()).collect();
            let mut persistent = weights.to_vec();
            let noisy = self.device.write_noise().is_some();
            let result = update(Update {
                device: &self.device,
                weights,
                planes: &planes,
                persistent: noisy.then_some(&mut persistent[..]),
                x,
                bias: None,
                d,
                learning_rate: 1.0,
                key: Key::new(1, 2),
                counts: None,
            });
            if noisy {
                weights.copy_from_slice(&persistent);
            }
            result
        }

        /// The weight after `u`, up if it is positive.
        fn moved(&self, w: f32, u: f32) -> f32 {
            let mut weights = [w];
            self.update(&mut weights, &[1.0], &[-u]).unwrap();
            weights[0]
        }
    }

    fn of_one(config: &DeviceConfig) -> Rig {
        Rig::new(config, UpdateMode::Flow, 1, 1)
    }

    /// Flows that were also computed with 20000 steps in double precision.
    #[test]
    fn known_flows() {
        let pulsed = fine(PulsedParameters::default());
        let constant = DeviceConfig::ConstantStep(ConstantStep { pulsed: pulsed.clone() });
        let soft = DeviceConfig::SoftBounds(SoftBounds {
            pulsed: pulsed.clone(),
            ..SoftBounds::default()
        });
        let exponential = DeviceConfig::ExpStep(ExpStep { pulsed, ..ExpStep::default() });
        for (config, expected) in [
            (constant, [0.05, 0.5, 0.6, -0.2, 0.1]),
            (linear(0.5), [0.048_973, 0.408_911, 0.6, -0.211_139, 0.145_215]),
            (soft, [0.047_973, 0.339_241, 0.469_621, -0.208_862, 0.165_402]),
            (exponential, [0.049_060, 0.465_370, 0.6, -0.191_827, 0.095_064]),
            (power(0.5), [0.034_835, 0.301_470, 0.497_917, f32::NAN, 0.004_352]),
            (power(2.0), [0.012_245, 0.103_448, 0.328_302, f32::NAN, -0.142_268]),
        ] {
            let rig = of_one(&config);
            let ways = [(0.0, 0.05), (0.0, 0.5), (0.3, 0.5), (0.3, -0.5), (-0.4, 0.5)];
            for ((w, u), expected) in ways.into_iter().zip(expected) {
                // The powers down are those up, mirrored.
                let expected = if expected.is_nan() { -rig.moved(-w, -u) } else { expected };
                let found = rig.moved(w, u);
                assert!((found - expected).abs() < 6e-7, "{config:?} {w} {u}: {found} {expected}");
            }
        }
    }

    /// Flow of `rate` in many small steps of the midpoint rule, within bounds.
    fn integrated(w: f64, u: f64, [low, high]: [f64; 2], rate: impl Fn(f64) -> f64) -> f64 {
        const PARTS: usize = 20_000;
        let h = u / PARTS as f64;
        (0..PARTS).fold(w, |w, _| {
            let middle = (w + 0.5 * h * rate(w)).clamp(low, high);
            (w + h * rate(middle)).clamp(low, high)
        })
    }

    #[test]
    fn nodes_on_the_way() {
        let (up, down) = ([1.5, 0.2, 1.0, -0.3, 0.5, 2.0], [0.0, 1.0, 0.4, 2.0, 0.0, 1.0]);
        let config = DeviceConfig::PiecewiseStep(PiecewiseStep {
            pulsed: fine(PulsedParameters { up_down: 0.2, ..PulsedParameters::default() }),
            piecewise_up: up.to_vec().into(),
            piecewise_down: down.to_vec().into(),
            ..PiecewiseStep::default()
        });
        let rig = of_one(&config);
        let value = |nodes: &[f64; 6], w: f64| {
            let u = ((w + 0.6) / 1.2 * 5.0).clamp(0.0, 5.0);
            let at = (u.floor() as usize).min(4);
            nodes[at] + (u - at as f64) * (nodes[at + 1] - nodes[at])
        };
        for start in -12..=12 {
            let w = 0.05 * start as f32;
            for u in [1e-4f32, 0.01, 0.1, 0.3, 1.0, 3.0, 20.0] {
                let bounds = [-0.6, 0.6];
                let expected = integrated(w.into(), u.into(), bounds, |w| value(&up, w));
                let found = f64::from(rig.moved(w, u));
                assert!((found - expected).abs() < 1e-5, "{w} up {u}: {found} {expected}");
                let expected = integrated(w.into(), u.into(), bounds, |w| -0.8 * value(&down, w));
                let found = f64::from(rig.moved(w, -u));
                assert!((found - expected).abs() < 1e-5, "{w} down {u}: {found} {expected}");
            }
        }
    }

    /// Devices of every kind with random values in all fields, with infinitely fine steps.
    fn devices() -> impl Iterator<Item = DeviceConfig> {
        let all =
            DeviceConfig::PULSED.iter().flat_map(|name| (0..30).map(move |seed| (name, seed)));
        let fine = all.map(|(name, seed)| {
            let mut config = random::device(name, seed).unwrap();
            let pulsed = config.pulsed_mut().unwrap();
            (pulsed.dw_min, pulsed.count_pulses) = (0.0, false);
            config
        });
        // Of some the noise would be too much.
        fine.filter(|config| config.validate("device").is_ok())
    }

    fn normals(len: usize, block: u32) -> Vec<f32> {
        let mut out = vec![0.0; len];
        Key::new(7, 0).stream(Stream::Read).fill_normal(0, block, &mut out);
        out
    }

    const ROWS: usize = 11;
    const COLUMNS: usize = 37;

    /// Weights within the bounds.
    fn start(rig: &Rig) -> Vec<f32> {
        let planes: Vec<_> = rig.planes.iter().map(|(_, plane)| plane.as_ref()).collect();
        let mut weights = normals(ROWS * COLUMNS, 1);
        weights.iter_mut().for_each(|w| *w *= 0.3);
        rig.device.clip(&mut weights, &planes).unwrap();
        weights
    }

    /// Two halves make a whole, to 1e-6 for devices as they are by default; where a step changes by many times
    /// its size within the range, it carries the rounding of a weight and of its exponent on.
    #[test]
    fn a_way_is_the_sum_of_its_parts() {
        let plain = DeviceConfig::PULSED.iter().map(|name| {
            let mut config = DeviceConfig::pulsed_default(name).unwrap();
            config.pulsed_mut().unwrap().dw_min = 0.0;
            (config, 1e-6)
        });
        for (config, tolerance) in plain.chain(devices().map(|config| (config, 1e-5))) {
            let rig = Rig::new(&config, UpdateMode::Flow, ROWS, COLUMNS);
            let (x, d) = (normals(COLUMNS, 2), normals(ROWS, 3));
            let d: Vec<f32> = d.iter().map(|d| 0.2 * d).collect();
            let mut whole = start(&rig);
            let mut halves = whole.clone();
            rig.update(&mut whole, &x, &d).unwrap();
            let half: Vec<f32> = d.iter().map(|d| 0.5 * d).collect();
            rig.update(&mut halves, &[&x[..], &x].concat(), &[&half[..], &half].concat()).unwrap();
            for (whole, halves) in whole.iter().zip(&halves) {
                let size = whole.abs().max(1.0);
                let difference = (whole - halves).abs();
                assert!(difference < tolerance * size, "{whole} {halves} {config:?}");
            }
        }
    }

    /// Weights stay within their bounds and finite, however long the way.
    #[test]
    fn long_ways_end() {
        for config in devices() {
            for mode in [UpdateMode::Flow, UpdateMode::Euler] {
                let rig = Rig::new(&config, mode, ROWS, COLUMNS);
                let planes: Vec<_> = rig.planes.iter().map(|(_, plane)| plane.as_ref()).collect();
                let bounds = rig.device.bounds(&planes).unwrap();
                for length in [1e-30, 1e3, 1e18, f32::MAX] {
                    let mut weights = start(&rig);
                    let (x, d) = (normals(COLUMNS, 2), vec![length; ROWS]);
                    rig.update(&mut weights, &x, &d).unwrap();
                    for (at, w) in weights.iter().enumerate() {
                        let [lower, upper] = bounds.at(at);
                        assert!(w.is_finite() && (lower..=upper).contains(w), "{w} {config:?}");
                    }
                }
            }
        }
    }

    /// Euler steps are the first order of the flow.
    #[test]
    fn one_step() {
        for name in DeviceConfig::PULSED {
            let mut config = DeviceConfig::pulsed_default(name).unwrap();
            config.pulsed_mut().unwrap().dw_min = 0.0;
            let of = |mode| Rig::new(&config, mode, ROWS, COLUMNS);
            let (flow, euler) = (of(UpdateMode::Flow), of(UpdateMode::Euler));
            let (x, d) = (vec![1.0; COLUMNS], vec![0.01; ROWS]);
            let (mut a, mut b) = (start(&flow), start(&euler));
            flow.update(&mut a, &x, &d).unwrap();
            euler.update(&mut b, &x, &d).unwrap();
            assert!(*name == "ConstantStep" || a != b, "{name}");
            let far = a.iter().zip(&b).filter(|(a, b)| (**a - **b).abs() > 1e-3).count();
            // Half of the square of 0.01 times a slope of 1 / bound, which few cells have beyond 20.
            assert!(far < ROWS * COLUMNS / 20, "{name}: {far}");
        }
    }

    #[test]
    fn what_has_no_length_stays() {
        for config in devices() {
            let rig = Rig::new(&config, UpdateMode::Flow, ROWS, COLUMNS);
            let before = start(&rig);
            let mut x = normals(COLUMNS, 2);
            x.iter_mut().step_by(2).for_each(|x| *x = 0.0);
            let mut d = normals(ROWS, 3);
            d[4] = 0.0;
            let mut after = before.clone();
            rig.update(&mut after, &x, &d).unwrap();
            for (at, (before, after)) in before.iter().zip(&after).enumerate() {
                let still = at / COLUMNS == 4 || (at % COLUMNS).is_multiple_of(2);
                assert!(!still || before == after, "{config:?}");
            }
        }
    }

    /// Long enough batches are carried out in parts, which change no bit.
    #[test]
    fn parts_of_a_batch() {
        for name in DeviceConfig::PULSED {
            let mut config = DeviceConfig::pulsed_default(name).unwrap();
            config.pulsed_mut().unwrap().dw_min = 0.0;
            let rig = Rig::new(&config, UpdateMode::Flow, ROWS, COLUMNS);
            let samples = 2 * SAMPLES + 7;
            let (x, d) = (normals(samples * COLUMNS, 2), normals(samples * ROWS, 3));
            let d: Vec<f32> = d.iter().map(|d| 0.05 * d).collect();
            let mut whole = start(&rig);
            let mut parts = whole.clone();
            rig.update(&mut whole, &x, &d).unwrap();
            for (x, d) in x.chunks(COLUMNS).zip(d.chunks(ROWS)) {
                rig.update(&mut parts, x, d).unwrap();
            }
            assert!(whole == parts, "{name}");
        }
    }

    #[test]
    fn trouble_restores_weights() {
        trouble::watch();
        for name in DeviceConfig::PULSED {
            let mut config = DeviceConfig::pulsed_default(name).unwrap();
            config.pulsed_mut().unwrap().dw_min = 0.0;
            let rig = Rig::new(&config, UpdateMode::Flow, 3, 5);
            for trouble in [Trouble::None, Trouble::Panic, Trouble::Stop] {
                TROUBLE.set(trouble);
                let mut weights = vec![0.01; 15];
                let result = rig.update(&mut weights, &[1.0; 5 * 200], &[0.1; 3 * 200]);
                STOP.set(false);
                TROUBLE.set(Trouble::None);
                let untouched = weights == [0.01; 15];
                match trouble {
                    Trouble::None => assert!(result.is_ok() && !untouched, "{name}"),
                    Trouble::Panic => assert!(matches!(result, Err(Error::Panic(_))) && untouched),
                    Trouble::Stop => assert!(result == Err(Error::Interrupted) && untouched),
                }
            }
        }
    }

    /// Up and down in turn lead to the symmetry point, as pulses do.
    #[test]
    fn symmetry_point() {
        let base = PulsedParameters { up_down: 0.3, ..PulsedParameters::default() };
        let config =
            DeviceConfig::SoftBounds(SoftBounds { pulsed: fine(base), ..SoftBounds::default() });
        let rig = of_one(&config);
        let mut weights = [-0.4];
        let d: Vec<f32> = (0..4000).map(|at| if at % 2 == 0 { 0.01 } else { -0.01 }).collect();
        rig.update(&mut weights, &[1.0; 4000], &d).unwrap();
        // (up - down) / (up / max - down / min), and half of the last way.
        let point = 0.3 / (1.7 / 0.6);
        assert!((weights[0] - point).abs() < 0.005, "{} {point}", weights[0]);
    }

    /// Mean of many updates by small pulses.
    #[test]
    fn limit_of_pulses() {
        const TIMES: u64 = 1000;
        let (x, d) = ([1.0f32, -0.7, 0.4, 0.9, -0.2], [0.05f32, -0.03]);
        for name in DeviceConfig::PULSED {
            let mut config = DeviceConfig::pulsed_default(name).unwrap();
            *config.pulsed_mut().unwrap() = fine(PulsedParameters::default());
            let rig = Rig::new(&config, UpdateMode::Flow, 2, 5);
            let mut flow = vec![0.1; 10];
            rig.update(&mut flow, &x, &d).unwrap();

            let pulsed = config.pulsed_mut().unwrap();
            (pulsed.dw_min, pulsed.dw_min_dtod, pulsed.dw_min_std) = (1e-4, 0.0, 0.0);
            // Long enough for all pulses: relative to `dw_min`, not to the granularity.
            let parameters = UpdateParameters { desired_bl: 2000, ..UpdateParameters::default() };
            let device = Device::new(&config, &parameters, 2, 5, false).unwrap();
            let planes = rig.planes.iter().map(|(name, plane)| match *name {
                "dwmin_up" | "dwmin_down" => Plane::Constant(1e-4),
                "slope_up" | "slope_down" => {
                    let values: Vec<f32> = plane.values().iter().map(|v| v * 1e-4).collect();
                    if values.len() == 1 {
                        Plane::Constant(values[0])
                    } else {
                        Plane::Values(values)
                    }
                }
                _ => plane.clone(),
            });
            let planes: Vec<Plane> = planes.collect();
            let planes: Vec<_> = planes.iter().map(Plane::as_ref).collect();
            let mut sums = [0.0f64; 10];
            for call in 0..TIMES {
                let mut weights = vec![0.1; 10];
                update(Update {
                    device: &device,
                    weights: &mut weights,
                    planes: &planes,
                    persistent: None,
                    x: &x,
                    bias: None,
                    d: &d,
                    // Pulses come by the granularity, which the steps of some devices differ from.
                    learning_rate: device.granularity() / 1e-4,
                    key: Key::new(3, call),
                    counts: None,
                })
                .unwrap();
                sums.iter_mut().zip(&weights).for_each(|(sum, w)| *sum += f64::from(*w));
            }
            for (sum, flow) in sums.iter().zip(&flow) {
                let mean = sum / TIMES as f64;
                assert!((mean - f64::from(*flow)).abs() < 1e-4, "{name}: {mean} {flow}");
            }
        }
    }

    /// The rule of a device without its closed form.
    #[test]
    fn numeric_flow() {
        #[derive(Debug, Clone, Copy)]
        struct Window;
        impl Rule for Window {
            fn mean(self, w: f32, up: bool, cell: crate::devices::CellRef) -> f32 {
                select(up, cell.up, -cell.down) * (1.0 - w * w)
            }
            fn noise(self, _: f32, _: f32, _: bool, _: crate::devices::CellRef) -> f32 {
                0.0
            }
            fn branch(self, _: f32, _: bool, _: crate::devices::CellRef) -> crate::devices::Branch {
                crate::devices::Branch::default()
            }
            fn std(self) -> f32 {
                0.0
            }
        }
        let cell = crate::devices::CellRef {
            max_bound: 0.9,
            min_bound: -1.0,
            up: 1.2,
            down: 0.7,
            ..crate::devices::CellRef::default()
        };
        for w in [-0.9f32, -0.2, 0.5] {
            for u in [1e-3f32, 0.1, 0.5, 3.0] {
                // A hyperbolic tangent.
                let up = (w.atanh() + 1.2 * u).tanh().min(0.9);
                assert!((Window.flow(w, true, u, cell) - up).abs() < 1e-4, "{w} {u}");
                let down = (w.atanh() - 0.7 * u).tanh();
                assert!((Window.flow(w, false, u, cell) - down).abs() < 1e-4, "{w} {u}");
            }
        }
    }
}
