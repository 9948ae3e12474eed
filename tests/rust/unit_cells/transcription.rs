//! The rules of transfers once more, cell by cell in f64, against the plan and its engine.
//!
//! Pulses are sure here: inputs and errors are 1 or -1 with one slot, writes take as many pulses as the
//! product says. Where a value comes close to a threshold, f32 may decide otherwise than f64; such
//! sequences end there.

use mho_core::rng::{Key, Stream};
use mho_core::unit_cells::{
    BufferedTransferCompound, CellConfig, ChoppedTransferCompound, DynamicTransferCompound,
    TransferCompound,
};
use proptest::prelude::*;

use super::{close, floats, implicit, perfect, single, step, tile_with};

const ROWS: usize = 3;
const COLUMNS: usize = 4;
const FAST: f64 = 0.002;
const SLOW: f64 = 0.01;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Direct,
    Buffered,
    Chopped,
    Dynamic,
}

#[derive(Debug, Clone, Copy)]
struct Setting {
    kind: Kind,
    devices: usize,
    columns: bool,
    every: f64,
    in_batches: bool,
    reads: usize,
    gamma: f64,
    transfer_lr: f64,
    scale_transfer_lr: bool,
    most: i64,
    momentum: f64,
    forgets: bool,
    cap: f64,
    no_buffer: bool,
    auto_granularity: f64,
    correct: bool,
    accumulates: bool,
    in_prob: f64,
    in_random: bool,
    flips_outputs: bool,
    tail: f64,
    lr: f64,
    batch: usize,
}

/// The line `s` of a matrix: positions of its values.
fn line(setting: &Setting, s: usize) -> Vec<usize> {
    if setting.columns {
        (0..ROWS).map(|row| row * COLUMNS + s).collect()
    } else {
        (0..COLUMNS).map(|column| s * COLUMNS + column).collect()
    }
}

struct Cells {
    w: Vec<Vec<f64>>,
    h: Vec<Vec<f64>>,
    mean: Vec<f64>,
    past: Vec<f64>,
    inputs: Vec<f64>,
    outputs: Vec<f64>,
    switched: Vec<bool>,
    next: Vec<usize>,
    updates: usize,
    sweeps: usize,
    /// Smallest distance from a threshold so far, relative to what f32 may be wrong by.
    margin: f64,
    /// What a buffer may be wrong by.
    error: f64,
}

/// What a weight may be wrong by after 400 steps: a random walk of half a unit in the last place of 0.25.
const WEIGHT_ERROR: f64 = 5e-7;

/// Distance of a value from the nearest point at which `trunc` jumps.
fn to_integer(value: f64) -> f64 {
    if value.abs() < 0.5 { 1.0 } else { (value - value.round()).abs() }
}

impl Cells {
    fn new(setting: &Setting) -> Self {
        let zeros = || vec![0.0; ROWS * COLUMNS];
        let (lines, others) = if setting.columns { (COLUMNS, ROWS) } else { (ROWS, COLUMNS) };
        Self {
            w: vec![zeros(); setting.devices],
            h: vec![zeros(); setting.devices - 1],
            mean: zeros(),
            past: zeros(),
            inputs: vec![1.0; lines],
            outputs: vec![1.0; others],
            switched: vec![false; lines],
            next: vec![0; setting.devices],
            updates: 0,
            sweeps: 0,
            margin: f64::INFINITY,
            error: 0.0,
        }
    }

    /// Takes note of a value that is so far from a threshold, and of what a weight that goes into it was
    /// multiplied by.
    fn near(&mut self, distance: f64, scale: f64) {
        self.error = 1e-4 + WEIGHT_ERROR * scale;
        self.margin = self.margin.min(distance / self.error);
    }

    fn sign(&self, setting: &Setting, row: usize, column: usize) -> f64 {
        if setting.columns {
            self.inputs[column] * self.outputs[row]
        } else {
            self.inputs[row] * self.outputs[column]
        }
    }

    fn vector(&mut self, setting: &Setting, x: &[f32], d: &[f32]) {
        for row in 0..ROWS {
            for column in 0..COLUMNS {
                let product = f64::from(x[column] * d[row]) * self.sign(setting, row, column);
                let w = &mut self.w[0][row * COLUMNS + column];
                *w = (*w - FAST * product).clamp(-1.0, 1.0);
            }
        }
        self.updates += 1;
        let lines = self.inputs.len();
        let sweep = lines as f64 / setting.reads as f64;
        for from in 0..setting.devices - 1 {
            let every = setting.every * sweep.powi(from as i32);
            let every = if setting.in_batches {
                (every * setting.batch as f64 - 1e-6).ceil()
            } else {
                every.round()
            };
            if every == 0.0 || !self.updates.is_multiple_of(every as usize) {
                continue;
            }
            let first = self.next[from];
            self.next[from] = (first + setting.reads) % lines;
            for s in (first..first + setting.reads).map(|s| s % lines) {
                self.transfer(setting, from, s);
            }
        }
    }

    fn transfer(&mut self, setting: &Setting, from: usize, s: usize) {
        let scaled = if setting.scale_transfer_lr { setting.lr } else { 1.0 };
        let mut lr = setting.transfer_lr * scaled;
        let gamma = |k: usize| setting.gamma.powi((setting.devices - 1 - k) as i32);
        if setting.kind != Kind::Direct && gamma(from) > 0.0 {
            lr *= gamma(from) / gamma(from + 1);
        }
        let most = setting.most as f64;
        for (other, at) in line(setting, s).into_iter().enumerate() {
            let v = self.w[from][at];
            let pulses = match setting.kind {
                Kind::Direct => {
                    let wanted = lr * v / SLOW;
                    self.near((wanted - wanted.floor() - 0.5).abs(), lr / SLOW);
                    wanted.round()
                }
                Kind::Buffered => {
                    let omega = self.h[from][at] + lr.abs() * v;
                    let tau = SLOW;
                    self.near(to_integer(omega / tau), lr / tau);
                    let n = (omega / tau).trunc().clamp(-most, most);
                    self.h[from][at] = match (n != 0.0, setting.forgets) {
                        (false, _) => omega,
                        (true, true) => setting.momentum * omega,
                        (true, false) => omega - (1.0 - setting.momentum) * n * tau,
                    };
                    n
                }
                Kind::Chopped => {
                    let kept = if setting.no_buffer { 0.0 } else { self.h[0][at] };
                    let sign = self.inputs[s] * self.outputs[other];
                    let scale = self.scale(setting, lr);
                    self.digest(setting, at, kept + scale * sign * v, scale)
                }
                Kind::Dynamic => {
                    if self.switched[s] {
                        self.past[at] = self.mean[at];
                    }
                    let sign = self.inputs[s] * self.outputs[other];
                    let scale = self.scale(setting, lr);
                    let omega = self.h[0][at] + scale * sign * (v - self.past[at]);
                    let n = self.digest(setting, at, omega, scale);
                    let beta = (setting.tail / self.period(setting) as f64).min(1.0);
                    self.mean[at] = (1.0 - beta) * self.mean[at] + beta * v;
                    if self.sweeps > self.period(setting) { n } else { 0.0 }
                }
            };
            let w = &mut self.w[from + 1][at];
            *w = (*w + pulses * SLOW).clamp(-1.0, 1.0);
        }
        if matches!(setting.kind, Kind::Chopped | Kind::Dynamic) {
            self.flip(setting, s);
        }
    }

    fn digest(&mut self, setting: &Setting, at: usize, omega: f64, scale: f64) -> f64 {
        let most = setting.most as f64;
        self.near(to_integer(omega), scale);
        if omega.abs() < 1.0 {
            self.h[0][at] = omega;
            return 0.0;
        }
        let n = omega.trunc().clamp(-most, most);
        self.h[0][at] = if setting.forgets {
            setting.momentum * omega
        } else {
            let left = omega - (1.0 - setting.momentum) * n;
            let limit = setting.cap * most;
            let limited = setting.kind == Kind::Dynamic && setting.cap > 0.0;
            if limited { left.clamp(-limit, limit) } else { left }
        };
        n
    }

    fn period(&self, setting: &Setting) -> usize {
        ((1.0 / setting.in_prob).ceil() as usize).max(2)
    }

    fn scale(&self, setting: &Setting, lr: f64) -> f64 {
        let mut granularity = FAST;
        if setting.auto_granularity > 0.0 {
            granularity *= setting.auto_granularity / (self.inputs.len() as f64 * setting.every);
        }
        // The learning rate of the fast device is its step.
        let mut scale = lr.abs() / granularity;
        if setting.correct {
            scale = lr.abs() / (FAST * granularity * SLOW / FAST);
        }
        if setting.kind == Kind::Dynamic && setting.accumulates {
            let place = self.sweeps % self.period(setting) + 1;
            scale /= (place as f64).min(1.0 / FAST);
        }
        scale
    }

    fn flip(&mut self, setting: &Setting, s: usize) {
        self.switched[s] = false;
        let period = self.period(setting);
        let ends = self.sweeps % period + 1 == period;
        // Random flips are sure here.
        if ends || setting.in_random {
            self.inputs[s] *= -1.0;
            self.switched[s] = true;
        }
        if s + 1 == self.inputs.len() {
            if setting.kind == Kind::Chopped && setting.flips_outputs {
                self.outputs.iter_mut().for_each(|sign| *sign *= -1.0);
            }
            self.sweeps += 1;
        }
    }

    fn visible(&self, setting: &Setting) -> Vec<f32> {
        let mut sum = [0.0; ROWS * COLUMNS];
        for (k, w) in self.w.iter().enumerate() {
            let gamma = setting.gamma.powi((setting.devices - 1 - k) as i32);
            for (at, sum) in sum.iter_mut().enumerate() {
                let chopped = k == 0 && matches!(setting.kind, Kind::Chopped | Kind::Dynamic);
                let (row, column) = (at / COLUMNS, at % COLUMNS);
                let sign = if chopped { self.sign(setting, row, column) } else { 1.0 };
                *sum += gamma * sign * w[at];
            }
        }
        sum.iter().map(|w| *w as f32).collect()
    }
}

fn config(setting: &Setting) -> CellConfig {
    let unit_cell_devices = [vec![step(FAST)], vec![step(SLOW); setting.devices - 1]].concat();
    let transfer_update = implicit().with(|p| p.desired_bl = setting.most);
    macro_rules! cell {
        ($name:ident { $($field:ident: $value:expr),* $(,)? }) => {
            CellConfig::$name($name::default().with(|p| {
                p.unit_cell_devices = unit_cell_devices;
                p.transfer_update = transfer_update;
                p.gamma = setting.gamma;
                p.transfer_every = setting.every;
                p.units_in_mbatch = setting.in_batches;
                p.n_reads_per_transfer = setting.reads as i64;
                p.transfer_columns = setting.columns;
                p.fast_lr = FAST;
                p.scale_fast_lr = false;
                p.transfer_lr = setting.transfer_lr;
                p.scale_transfer_lr = setting.scale_transfer_lr;
                p.transfer_forward = perfect();
                $(p.$field = $value;)*
            }))
        };
    }
    match setting.kind {
        Kind::Direct => cell!(TransferCompound {}),
        Kind::Buffered => cell!(BufferedTransferCompound {
            momentum: setting.momentum,
            forget_buffer: setting.forgets,
        }),
        Kind::Chopped => cell!(ChoppedTransferCompound {
            momentum: setting.momentum,
            forget_buffer: setting.forgets,
            no_buffer: setting.no_buffer,
            auto_granularity: setting.auto_granularity,
            correct_gradient_magnitudes: setting.correct,
            in_chop_prob: if setting.in_random { 1.0 } else { setting.in_prob },
            in_chop_random: setting.in_random,
            out_chop_prob: if setting.flips_outputs { 1.0 } else { 0.0 },
        }),
        Kind::Dynamic => cell!(DynamicTransferCompound {
            momentum: setting.momentum,
            forget_buffer: setting.forgets,
            buffer_cap: setting.cap,
            auto_granularity: setting.auto_granularity,
            correct_gradient_magnitudes: setting.correct,
            experimental_correct_accumulation: setting.accumulates,
            in_chop_prob: setting.in_prob,
            in_chop_random: false,
            tail_weightening: setting.tail,
        }),
    }
}

prop_compose! {
    fn setting()(
        kind in prop::sample::select(
            &[Kind::Direct, Kind::Buffered, Kind::Chopped, Kind::Dynamic],
        ),
        more in 0usize..2,
        flags in any::<[bool; 10]>(),
        every in prop::sample::select(&[1.0, 2.0, 3.0, 1.5]),
        reads in 1usize..4,
        gamma in prop::sample::select(&[0.0, 0.0, 0.3]),
        transfer_lr in 0.11f64..1.3,
        most in prop::sample::select(&[1i64, 3, 5, 7]),
        momentum in prop::sample::select(&[0.0, 0.1, 0.4]),
        cap in prop::sample::select(&[0.0, 1.0, 2.0]),
        auto_granularity in prop::sample::select(&[0.0, 100.0]),
        in_prob in prop::sample::select(&[0.5, 0.34, 0.2]),
        tail in prop::sample::select(&[1.0, 2.0, 5.0]),
        lr in 0.11f64..0.9,
        batch in 1usize..4,
    ) -> Setting {
        let chopped = matches!(kind, Kind::Chopped | Kind::Dynamic);
        Setting {
            kind,
            devices: if chopped { 2 } else { 2 + more },
            columns: flags[0],
            every,
            in_batches: flags[1],
            reads: if chopped { 1 } else { reads },
            gamma,
            transfer_lr,
            scale_transfer_lr: flags[2],
            most: if kind == Kind::Direct { 1000 } else { most },
            momentum,
            forgets: flags[3],
            cap,
            no_buffer: flags[4] && flags[5],
            auto_granularity,
            correct: flags[6],
            accumulates: flags[7],
            in_prob,
            in_random: flags[8] && kind == Kind::Chopped,
            flips_outputs: flags[9],
            tail,
            lr,
            batch,
        }
    }
}

/// Updates of one run.
const UPDATES: usize = 400;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn transfers_are_as_transcribed(setting in setting(), seed in any::<u64>()) {
        let mut tile = tile_with(ROWS, COLUMNS, config(&setting), single(), seed);
        let mut cells = Cells::new(&setting);
        let mut uniform = vec![0.0f32; setting.batch * (ROWS + COLUMNS)];
        for call in 0..UPDATES / setting.batch {
            Key::new(seed, call as u64).stream(Stream::Read).fill_uniform(0, 0, &mut uniform);
            // With a preference, so that weights go somewhere.
            let signs: Vec<f32> =
                uniform.iter().map(|u| if *u < 0.6 { 1.0 } else { -1.0 }).collect();
            let (x, d) = signs.split_at(setting.batch * COLUMNS);
            tile.update(x, d, setting.lr).unwrap();
            for (x, d) in x.chunks(COLUMNS).zip(d.chunks(ROWS)) {
                cells.vector(&setting, x, d);
            }
            if cells.margin < 1.0 {
                break;
            }
            for (k, w) in cells.w.iter().enumerate() {
                let is_visible = k + 1 == setting.devices && setting.gamma == 0.0;
                let found = if is_visible {
                    tile.weights().to_vec()
                } else {
                    floats(&tile, &format!("hidden_weights_{k}"))
                };
                let expected: Vec<f32> = w.iter().map(|w| *w as f32).collect();
                close(&found, &expected, 2e-5);
            }
            close(tile.weights(), &cells.visible(&setting), 2e-5);
            let to_f32 = |values: &[f64]| values.iter().map(|v| *v as f32).collect::<Vec<_>>();
            match setting.kind {
                Kind::Direct => {}
                Kind::Dynamic => {
                    close(&floats(&tile, "running_mean_weight"), &to_f32(&cells.mean), 2e-5);
                    close(&floats(&tile, "past_mean_weight"), &to_f32(&cells.past), 2e-5);
                    let h = floats(&tile, "buffered_FP_weight");
                    close_relative(&h, &to_f32(&cells.h[0]), cells.error);
                }
                Kind::Buffered | Kind::Chopped => {
                    for (k, h) in cells.h.iter().enumerate() {
                        let found = floats(&tile, &format!("buffered_FP_weight_{k}"));
                        close_relative(&found, &to_f32(h), cells.error);
                    }
                }
            }
        }
    }
}

/// Equal up to the roundings of f32 on the way.
fn close_relative(found: &[f32], expected: &[f32], error: f64) {
    for (found, expected) in found.iter().zip(expected) {
        let limit = error as f32 * expected.abs().max(1.0);
        assert!((found - expected).abs() <= limit, "{found} instead of {expected}");
    }
}
