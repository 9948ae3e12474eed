//! Kernels of the graphics processor against those of the processor.
//!
//! Any adapter will do, a software one too; without one the tests print so and end.

use mho_core::config::{
    AnalogMvType, BoundManagement, IoParameters, NoiseManagement, PulseType, UpdateParameters,
    WeightNoise,
};
use mho_core::devices::{Cells, Device, DeviceConfig, Plane, PlaneRef, WeightClip};
use mho_core::gpu::{self, Context, GpuTile, GpuUpdate, Pick, Product};
use mho_core::mvm::{Direction, Lines, Mvm, Request};
use mho_core::pulse::{self, Update};
use mho_core::rng::Stream;
use mho_core::{Error, Key, TileConfig, TileSpec};

/// The first adapter of any kind, by number.
fn adapter() -> Option<Pick> {
    let adapters = gpu::adapters();
    if adapters.is_empty() {
        println!("skipped: no adapter; install mesa-vulkan-drivers for a software one");
        return None;
    }
    Some(Pick::Named("0".to_owned()))
}

/// Uniform values in [-1, 1), by position.
fn values(count: usize, seed: u64) -> Vec<f32> {
    let mut out = vec![0.0; count];
    Key::new(seed, 0).stream(Stream::Weights).fill_uniform(0, 0, &mut out);
    out.iter_mut().for_each(|value| *value = 2.0 * *value - 1.0);
    out
}

fn line<'a>(lines: &'a [(&'static str, Vec<f32>)], name: &str) -> &'a [f32] {
    lines.iter().find(|(key, _)| *key == name).map_or(&[], |(_, values)| values)
}

fn borrow<'a>(lines: &'a [(&'static str, Vec<f32>)]) -> Lines<'a> {
    Lines {
        out_noise_values: line(lines, "out_noise_values"),
        v_offset: line(lines, "v_offset"),
        w_asymmetry: line(lines, "w_asymmetry"),
        out_nonlinearity: line(lines, "out_nonlinearity"),
        out_nonlinearity_factor: line(lines, "out_nonlinearity_factor")[0],
    }
}

#[test]
fn draws_are_those_of_the_processor() {
    let Some(pick) = adapter() else { return };
    let context = Context::shared(&pick).unwrap();
    let (key, columns) = (Key::new(0xfedc_ba98_7654_3210, 0x3_0000_0007), 100_000);
    for (row, block) in [(0, 0), (12345, 77)] {
        let draw = key.stream(Stream::CycleToCycle);
        let (words, normals) =
            context.draws(key, Stream::CycleToCycle, [row, block], columns).unwrap();
        let mut host_words = vec![0; columns];
        draw.fill_words(row, block, &mut host_words);
        assert_eq!(words, host_words);
        let mut host_normals = vec![0.0; columns];
        draw.fill_normal(row, block, &mut host_normals);
        // Unfused products round twice: a few units in the last place of a radius up to 6.7.
        let worst = largest_difference(&normals, &host_normals);
        println!("normals {worst:.1e} apart");
        assert!(worst < 16.0 * f32::EPSILON, "normals are {worst} apart");
    }
}

#[test]
fn failures_of_the_device_are_errors() {
    let Some(_) = adapter() else { return };
    // By name, for a context of its own.
    let pick = Pick::Named(gpu::adapters()[0].name.clone());
    let spec = TileSpec::new(TileConfig::default(), 8, 8, false).unwrap();
    let mut tile = GpuTile::new(spec.clone(), &pick).unwrap();
    tile.set_weights(&[0.1; 64]).unwrap();
    tile.context().destroy();
    let text = tile.weights(&mut [0.0; 64]).unwrap_err().to_string();
    assert!(text.contains("lost"), "{text}");
    // A new tile opens the adapter again.
    let mut tile = GpuTile::new(spec, &pick).unwrap();
    let mut weights = [7.0; 64];
    tile.weights(&mut weights).unwrap();
    assert_eq!(weights, [0.0; 64]);
    let missing = Context::shared(&Pick::Named("no such adapter".to_owned())).unwrap_err();
    assert!(missing.to_string().contains("MHO_GPU"), "{missing}");
}

#[test]
fn what_is_not_there_is_refused() {
    let Some(pick) = adapter() else { return };
    let mut device = DeviceConfig::pulsed_default("ConstantStep").unwrap();
    device.pulsed_mut().unwrap().drift.nu = 0.1;
    let config = TileConfig { device, ..TileConfig::default() };
    let spec = TileSpec::new(config, 2, 3, false).unwrap();
    let error = GpuTile::new(spec, &pick).unwrap_err();
    assert!(matches!(&error, Error::Unsupported { .. }), "{error}");
    let spec = TileSpec::new(TileConfig::default(), 2, 3, false).unwrap();
    let mut tile = GpuTile::new(spec, &pick).unwrap();
    fn update(x: &[f32]) -> GpuUpdate<'_> {
        GpuUpdate {
            x,
            bias: None,
            d: &[0.5, 0.5],
            learning_rate: 0.1,
            key: Key::new(1, 1),
            counts: None,
        }
    }
    let error = tile.update(update(&[1.0; 3])).unwrap_err();
    assert!(matches!(&error, Error::State { .. }), "{error}");
    let error = tile.update(update(&[1.0; 2])).unwrap_err();
    assert!(matches!(&error, Error::Shape { argument: "x", .. }), "{error}");
    let error = tile.update(update(&[1.0, f32::NAN, 0.0])).unwrap_err();
    assert!(matches!(&error, Error::Argument { argument: "x", .. }), "{error}");
}

/// One product on both processors.
struct Case {
    io: IoParameters,
    direction: Direction,
    sizes: [usize; 3],
    bias: Option<f32>,
    scale: f32,
}

struct Outcome {
    host: Vec<f32>,
    gpu: Vec<f32>,
    host_mask: Vec<u8>,
    gpu_mask: Vec<u8>,
    running: [f32; 2],
}

impl Case {
    fn new(io: IoParameters, direction: Direction, sizes: [usize; 3]) -> Self {
        Self { io, direction, sizes, bias: None, scale: 1.0 }
    }

    fn run(&self, pick: &Pick) -> Outcome {
        let [samples, d_size, x_size] = self.sizes;
        let weights: Vec<_> = values(d_size * x_size, 1).iter().map(|w| 0.5 * w).collect();
        let mvm = Mvm::new(&self.io, self.direction, d_size, x_size).unwrap();
        let lines = mvm.construct_lines(7);
        let given = mvm.n_in() - usize::from(self.bias.is_some());
        let mut x = values(samples * given, 2);
        x.iter_mut().for_each(|x| *x *= self.scale);
        // One zero row, if there are several.
        if samples > 2 {
            x[given..2 * given].fill(0.0);
        }
        let count = samples * mvm.n_out();
        let key = Key::new(0x1234_5678_9abc, 0x2_0000_0005);
        let mut outcome = Outcome {
            host: vec![0.0; count],
            gpu: vec![0.0; count],
            host_mask: vec![9; count],
            gpu_mask: vec![9; count],
            running: [-1.0; 2],
        };
        let [host_running, gpu_running] = &mut outcome.running;
        mvm.run(Request {
            x: &x,
            bias: self.bias,
            drop_last: false,
            weights: &weights,
            y: &mut outcome.host,
            key,
            is_test: false,
            lines: borrow(&lines),
            running: Some(host_running),
            mask: Some(&mut outcome.host_mask),
        })
        .unwrap();
        let config = TileConfig {
            forward: self.io.clone(),
            backward: self.io.clone(),
            ..TileConfig::default()
        };
        let spec = TileSpec::new(config, d_size, x_size, self.bias.is_some()).unwrap();
        let mut tile = GpuTile::new(spec, pick).unwrap();
        tile.set_weights(&weights).unwrap();
        tile.set_lines(self.direction, &borrow(&lines)).unwrap();
        // Twice: the second call finds used buffers.
        for _ in 0..2 {
            *gpu_running = -1.0;
            outcome.gpu.fill(7.0);
            tile.product(Product {
                direction: self.direction,
                x: &x,
                bias: self.bias,
                drop_last: false,
                y: &mut outcome.gpu,
                key,
                is_test: false,
                running: Some(gpu_running),
                mask: Some(&mut outcome.gpu_mask),
            })
            .unwrap();
        }
        outcome
    }

    /// Number of outputs that differ by more than rounding: sums of `n_in` products, each rounded
    /// to half an ulp, in another order. Such an output may be one level of the ADC off, because its
    /// current lies between two levels up to that rounding.
    fn check(&self, name: &str, pick: &Pick) {
        let outcome = self.run(pick);
        let n_in = match self.direction {
            Direction::Forward => self.sizes[2],
            Direction::Backward => self.sizes[1],
        };
        let largest = outcome.host.iter().fold(1e-3f32, |max, y| max.max(y.abs()));
        let rounding = largest * f32::EPSILON * (16.0 + n_in as f32 / 4.0);
        let mut off = 0;
        let mut worst = 0.0f32;
        for (host, gpu) in outcome.host.iter().zip(&outcome.gpu) {
            let difference = (host - gpu).abs();
            if difference.is_nan() || difference > rounding {
                off += 1;
                worst = worst.max(if difference.is_nan() { f32::INFINITY } else { difference });
            }
        }
        let count = outcome.host.len();
        println!("{name}: {off} of {count} off, worst {worst:.2e}, rounding {rounding:.2e}");
        let masks = outcome.host_mask.iter().zip(&outcome.gpu_mask).filter(|(a, b)| a != b).count();
        assert!(masks <= off, "{name}: {masks} masks differ");
        assert_eq!(outcome.running[0], outcome.running[1], "{name}: running average");
        assert!(off <= self.allowed(count), "{name}: {off} of {count} outputs differ, {worst}");
    }

    /// Outputs that may lie between two levels: the distance of two levels is at least 1e4 times the
    /// rounding of a sum, so one in 1000 is generous; none without a converter.
    fn allowed(&self, count: usize) -> usize {
        let quantised = !self.io.is_perfect && self.io.out_res > 0.0 && self.io.out_bound > 0.0;
        if quantised { 2 + count / 1000 } else { 0 }
    }
}

/// Nothing but the product.
fn plain() -> IoParameters {
    IoParameters {
        inp_bound: -1.0,
        inp_res: -1.0,
        out_bound: -1.0,
        out_res: -1.0,
        out_noise: 0.0,
        noise_management: NoiseManagement::None,
        bound_management: BoundManagement::None,
        ..IoParameters::default()
    }
}

/// Every option of the product, alone or with what it needs.
fn options() -> Vec<(&'static str, IoParameters)> {
    let io = IoParameters::default;
    let quiet = || IoParameters { out_noise: 0.0, ..io() };
    let mut all = vec![
        ("plain", plain()),
        ("perfect", IoParameters { out_scale: 2.5, ..IoParameters::perfect() }),
        ("default", io()),
        ("quiet", quiet()),
        ("inp_noise", IoParameters { inp_noise: 0.05, ..io() }),
        ("inp_sto_round", IoParameters { inp_sto_round: true, ..io() }),
        ("out_sto_round", IoParameters { out_sto_round: true, ..io() }),
        ("inp_asymmetry", IoParameters { inp_asymmetry: 0.1, ..quiet() }),
        ("out_asymmetry", IoParameters { out_asymmetry: 0.1, ..quiet() }),
        ("out_noise_std", IoParameters { out_noise_std: 0.3, ..io() }),
        ("out_scale", IoParameters { out_scale: 1.7, ..quiet() }),
        (
            "out_nonlinearity",
            IoParameters {
                out_nonlinearity: 0.5,
                out_nonlinearity_std: 0.1,
                slope_calibration: 0.5,
                ..quiet()
            },
        ),
        ("r_series", IoParameters { r_series: 0.01, ..quiet() }),
        ("v_offset", IoParameters { v_offset_std: 0.05, ..quiet() }),
        ("v_offset_w_min", IoParameters { v_offset_std: 0.05, v_offset_w_min: 0.0, ..quiet() }),
        ("ir_drop", IoParameters { ir_drop: 1.0, ir_drop_g_ratio: 1e4, ..quiet() }),
        ("nm_thres", IoParameters { nm_thres: 0.5, ..io() }),
        (
            "assumed_wmax",
            IoParameters {
                noise_management: NoiseManagement::AbsMaxNPSum,
                nm_assumed_wmax: 0.3,
                out_bound: 4.0,
                ..io()
            },
        ),
        ("nm_none", IoParameters { noise_management: NoiseManagement::None, ..io() }),
        ("nm_max", IoParameters { noise_management: NoiseManagement::Max, ..io() }),
        ("nm_average", IoParameters { noise_management: NoiseManagement::AverageAbsMax, ..io() }),
        (
            "nm_constant",
            IoParameters { noise_management: NoiseManagement::Constant, nm_thres: 0.7, ..io() },
        ),
        (
            "bm_none",
            IoParameters { bound_management: BoundManagement::None, out_bound: 2.0, ..io() },
        ),
        ("bm_iterative", IoParameters { out_bound: 2.0, ..io() }),
        ("bm_positive", IoParameters { out_bound: 2.0, bm_test_negative_bound: false, ..quiet() }),
        (
            "bm_worst_case",
            IoParameters {
                out_bound: 2.0,
                bound_management: BoundManagement::IterativeWorstCase,
                ..io()
            },
        ),
        ("bm_many", IoParameters { out_bound: 0.05, inp_res: -1.0, ..io() }),
    ];
    for (name, w_noise_type) in [
        ("additive", WeightNoise::AdditiveConstant),
        ("pcm_read", WeightNoise::PcmRead),
        ("relative", WeightNoise::Relative),
    ] {
        all.push((name, IoParameters { w_noise: 0.02, w_noise_type, ..io() }));
    }
    for (name, mv_type) in [
        ("separate", AnalogMvType::PosNegSeparate),
        ("digital_sum", AnalogMvType::PosNegSeparateDigitalSum),
    ] {
        all.push((name, IoParameters { mv_type, ..io() }));
        all.push((
            name,
            IoParameters {
                mv_type,
                w_read_asymmetry_dtod: 0.1,
                w_noise: 0.02,
                w_noise_type: WeightNoise::PcmRead,
                ir_drop: 1.0,
                ir_drop_g_ratio: 1e4,
                v_offset_std: 0.02,
                r_series: 0.01,
                out_bound: 3.0,
                ..io()
            },
        ));
    }
    all
}

#[test]
fn every_option_gives_the_outputs_of_the_processor() {
    let Some(pick) = adapter() else { return };
    for (name, io) in options() {
        for direction in [Direction::Forward, Direction::Backward] {
            // Sizes that are no multiples of a tile.
            Case::new(io.clone(), direction, [37, 83, 150]).check(name, &pick);
        }
    }
}

#[test]
fn every_tile_gives_the_outputs_of_the_processor() {
    let Some(pick) = adapter() else { return };
    for sizes in [[1, 70, 300], [16, 130, 40], [40, 64, 512], [130, 140, 300], [100, 30, 17]] {
        for direction in [Direction::Forward, Direction::Backward] {
            let quiet = IoParameters { out_noise: 0.0, out_bound: 4.0, ..IoParameters::default() };
            Case::new(quiet, direction, sizes).check(&format!("{sizes:?}"), &pick);
            Case::new(plain(), direction, sizes).check(&format!("plain {sizes:?}"), &pick);
        }
    }
}

#[test]
fn a_bias_and_large_inputs_give_the_outputs_of_the_processor() {
    let Some(pick) = adapter() else { return };
    let direction = Direction::Forward;
    for io in [plain(), IoParameters::perfect(), IoParameters::default()] {
        let case = Case::new(io, direction, [20, 30, 40]);
        Case { bias: Some(0.5), scale: 3.0, ..case }.check("bias", &pick);
    }
}

/// A device on both processors.
struct Pair {
    spec: TileSpec,
    planes: Vec<(&'static str, Plane)>,
    weights: Vec<f32>,
    persistent: Option<Vec<f32>>,
    counts: Vec<i64>,
    tile: GpuTile,
}

const D_SIZE: usize = 21;
const X_SIZE: usize = 83;

impl Pair {
    fn new(device: DeviceConfig, update: UpdateParameters, pick: &Pick) -> Self {
        let config = TileConfig { device, update, ..TileConfig::default() };
        let spec = TileSpec::new(config, D_SIZE, X_SIZE, false).unwrap();
        let planes = spec.device().construct(11);
        let mut tile = GpuTile::new(spec.clone(), pick).unwrap();
        tile.set_planes(&refs(&planes)).unwrap();
        let weights = vec![0.0; D_SIZE * X_SIZE];
        let persistent = spec.device().write_noise().map(|_| weights.clone());
        let counts = vec![0; 2 * D_SIZE * X_SIZE];
        Self { spec, planes, weights, persistent, counts, tile }
    }

    /// The same weights on both, through the bounds.
    fn start(&mut self) {
        let weights: Vec<_> = values(D_SIZE * X_SIZE, 3).iter().map(|w| 0.3 * w).collect();
        let key = Key::new(5, 1);
        self.weights.copy_from_slice(&weights);
        self.host(|device, cells| device.set_weights(cells, key).unwrap());
        self.tile.write_weights(&weights, key).unwrap();
    }

    fn host(&mut self, f: impl FnOnce(&Device, Cells<'_>)) {
        let planes = refs(&self.planes);
        let persistent = self.persistent.as_deref_mut();
        f(self.spec.device(), Cells { weights: &mut self.weights, persistent, planes: &planes });
    }

    /// One update on both; adds up the pulses of the host and returns those of the other.
    fn update(&mut self, samples: usize, bias: Option<f32>, call: u64) -> Vec<i64> {
        let x = values(samples * (X_SIZE - usize::from(bias.is_some())), 4);
        let d = values(samples * D_SIZE, 5);
        let (key, learning_rate) = (Key::new(9, call), 0.01);
        let planes = refs(&self.planes);
        pulse::update(Update {
            device: self.spec.device(),
            weights: &mut self.weights,
            planes: &planes,
            persistent: self.persistent.as_deref_mut(),
            x: &x,
            bias,
            d: &d,
            learning_rate,
            key,
            counts: Some(&mut self.counts),
        })
        .unwrap();
        let mut counts = vec![0; self.counts.len()];
        let update =
            GpuUpdate { x: &x, bias, d: &d, learning_rate, key, counts: Some(&mut counts) };
        self.tile.update(update).unwrap();
        counts
    }

    /// Largest difference of the weights and of the persistent ones.
    fn difference(&mut self) -> f32 {
        let mut weights = vec![7.0; D_SIZE * X_SIZE];
        self.tile.weights(&mut weights).unwrap();
        let mut worst = largest_difference(&weights, &self.weights);
        if let Some(persistent) = &self.persistent {
            self.tile.persistent(&mut weights).unwrap();
            worst = worst.max(largest_difference(&weights, persistent));
        }
        worst
    }
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).fold(0.0, |worst, (a, b)| {
        let difference = (a - b).abs();
        if difference <= worst { worst } else { difference }
    })
}

fn refs<'a>(planes: &'a [(&'static str, Plane)]) -> Vec<PlaneRef<'a>> {
    planes.iter().map(|(_, plane)| plane.as_ref()).collect()
}

/// Devices by name with and without noise of the pulses, and some options of theirs.
fn devices() -> Vec<(String, DeviceConfig)> {
    let mut all = Vec::new();
    for name in DeviceConfig::PULSED {
        for std in [0.0, 0.3] {
            let mut device = DeviceConfig::pulsed_default(name).unwrap();
            let pulsed = device.pulsed_mut().unwrap();
            (pulsed.dw_min_std, pulsed.lifetime, pulsed.diffusion) = (std, 100.0, 0.01);
            (pulsed.reset_dtod, pulsed.lifetime_dtod) = (0.01, 0.1);
            match &mut device {
                DeviceConfig::LinearStep(device) => {
                    (device.mult_noise, device.gamma_up) = (std == 0.0, 0.5);
                    device.write_noise_std = if std == 0.0 { 0.0 } else { 1.0 };
                }
                DeviceConfig::SoftBoundsReference(device) => {
                    device.reference_std = 0.05;
                    device.subtract_symmetry_point = true;
                    device.slope_up_dtod = 0.1;
                }
                DeviceConfig::ExpStep(device) => {
                    (device.dw_min_std_add, device.dw_min_std_slope) = (std * 1e-4, std * 1e-3);
                }
                DeviceConfig::PowStepReference(device) => device.reference_std = 0.05,
                DeviceConfig::PiecewiseStep(device) => {
                    device.piecewise_up = vec![1.5, 1.0, 0.7, 0.2].into();
                    device.piecewise_down = vec![0.1, 0.8, 1.0, 1.4].into();
                }
                _ => {}
            }
            all.push((format!("{name} {std}"), device));
        }
    }
    all
}

/// How far weights may be apart after `pulses` pulses without noise. One after another, each rounds a
/// weight below 1 a few times, and the steps of exponentials and powers carry a relative error of
/// 1e-6. Stochastic pulses the processor adds up with an error below a thousandth of the way, whose
/// steps are at most about twice `dw_min`.
fn tolerance(pulse_type: PulseType, pulses: i64) -> f32 {
    let way = 1e-3 * 2.0 * 0.001 * pulses as f32;
    let rounding = 2.0 * f32::EPSILON * (40.0 + pulses as f32);
    match pulse_type {
        PulseType::Stochastic | PulseType::StochasticCompressed => way + rounding,
        _ => rounding,
    }
}

fn most(counts: &[i64]) -> i64 {
    let (down, up) = counts.split_at(counts.len() / 2);
    down.iter().zip(up).map(|(down, up)| down + up).max().unwrap_or(0)
}

#[test]
fn every_device_moves_as_on_the_processor() {
    let Some(pick) = adapter() else { return };
    for (name, device) in devices() {
        for pulse_type in [PulseType::StochasticCompressed, PulseType::MeanCount] {
            let update = UpdateParameters { pulse_type, ..UpdateParameters::default() };
            let mut pair = Pair::new(device.clone(), update, &pick);
            pair.start();
            let set = pair.difference();
            assert!(set < f32::EPSILON, "{name}: weights that are set are {set} apart");
            let counts = pair.update(150, None, 2);
            assert_eq!(counts, pair.counts, "{name}: pulses");
            let (pulses, difference) = (most(&counts), pair.difference());
            println!("{name} {pulse_type:?}: {pulses} pulses at most, {difference:.2e} apart");
            if name.ends_with(" 0") {
                let tolerance = tolerance(pulse_type, pulses);
                assert!(difference < tolerance, "{name}: {difference} apart, not {tolerance}");
            }
        }
    }
}

/// Noise of the pulses has other draws on both: the weights differ by two independent deviations
/// from the path without noise. Their sizes are compared over all cells; of `n` independent cells
/// the ratio of two standard deviations has an error of `1 / sqrt(n)`, and the mean of the
/// differences one of the deviation over `sqrt(n)`. Five of them are allowed.
#[test]
fn noise_of_pulses_has_the_size_of_the_processor() {
    let Some(pick) = adapter() else { return };
    let cells = (D_SIZE * X_SIZE) as f64;
    for name in DeviceConfig::PULSED {
        let run = |std: f64| {
            let mut device = DeviceConfig::pulsed_default(name).unwrap();
            let pulsed = device.pulsed_mut().unwrap();
            pulsed.dw_min_std = std;
            let mut pair = Pair::new(device, UpdateParameters::default(), &pick);
            pair.start();
            for call in 0..2 {
                pair.update(50, None, call);
            }
            let mut gpu = vec![0.0; D_SIZE * X_SIZE];
            pair.tile.weights(&mut gpu).unwrap();
            [pair.weights, gpu]
        };
        let ([base, _], [host, gpu]) = (run(0.0), run(1.0));
        let moments = |a: &[f32], b: &[f32]| {
            let difference = a.iter().zip(b).map(|(a, b)| f64::from(a - b));
            let sums = difference.fold([0.0; 2], |sum, d| [sum[0] + d, sum[1] + d * d]);
            [sums[0] / cells, (sums[1] / cells - (sums[0] / cells).powi(2)).sqrt()]
        };
        let ([_, host_std], [_, gpu_std]) = (moments(&host, &base), moments(&gpu, &base));
        let [mean, std] = moments(&host, &gpu);
        let error = cells.sqrt().recip();
        println!("{name}: {host_std:.3e} and {gpu_std:.3e}, {:.1} errors", mean / std / error);
        assert!((gpu_std / host_std - 1.0).abs() < 5.0 * error, "{name}: {gpu_std} {host_std}");
        assert!(mean.abs() < 5.0 * std * error, "{name}: {mean} {std}");
    }
}

#[test]
fn every_pulse_type_has_the_pulses_of_the_processor() {
    let Some(pick) = adapter() else { return };
    let update = UpdateParameters::default;
    for (name, update, bias) in [
        ("bias", update(), Some(0.7)),
        (
            "long",
            UpdateParameters {
                desired_bl: 100,
                update_bl_management: false,
                update_management: false,
                ..update()
            },
            None,
        ),
        ("res", UpdateParameters { res: 0.02, sto_round: true, ..update() }, None),
        ("stochastic", UpdateParameters { pulse_type: PulseType::Stochastic, ..update() }, None),
        ("mean", UpdateParameters { pulse_type: PulseType::MeanCount, ..update() }, Some(0.2)),
        (
            "implicit",
            UpdateParameters {
                pulse_type: PulseType::DeterministicImplicit,
                x_res_implicit: 0.05,
                ..update()
            },
            None,
        ),
        (
            "with device",
            UpdateParameters { pulse_type: PulseType::NoneWithDevice, ..update() },
            Some(0.5),
        ),
        ("none", UpdateParameters { pulse_type: PulseType::None, ..update() }, None),
    ] {
        for device in ["SoftBounds", "LinearStep"] {
            let mut device = DeviceConfig::pulsed_default(device).unwrap();
            device.pulsed_mut().unwrap().dw_min_std = 0.0;
            if let DeviceConfig::LinearStep(device) = &mut device {
                device.write_noise_std = 0.5;
            }
            let mut pair = Pair::new(device, update.clone(), &pick);
            pair.start();
            let counts = pair.update(40, bias, 3);
            assert_eq!(counts, pair.counts, "{name}: pulses");
            let (difference, pulses) = (pair.difference(), most(&counts));
            println!("{name}: {pulses} pulses at most, {difference:.2e} apart");
            assert!(difference < tolerance(update.pulse_type, pulses), "{name}: {difference}");
        }
    }
}

#[test]
fn weights_decay_diffuse_reset_and_clip_as_on_the_processor() {
    let Some(pick) = adapter() else { return };
    let mut all = devices();
    all.push(("FloatingPoint".to_owned(), DeviceConfig::named("FloatingPoint").unwrap()));
    all.push(("Ideal".to_owned(), DeviceConfig::named("Ideal").unwrap()));
    for (name, mut device) in all {
        match &mut device {
            DeviceConfig::FloatingPoint(device) => (device.lifetime, device.diffusion) = (9.0, 0.1),
            DeviceConfig::Ideal(device) => (device.lifetime, device.reset_std) = (9.0, 0.1),
            _ => {}
        }
        let resets = name != "FloatingPoint";
        let mut pair = Pair::new(device, UpdateParameters::default(), &pick);
        pair.start();
        let key = |call| Key::new(6, call);
        let check = |what: &str, pair: &mut Pair| {
            let difference = pair.difference();
            assert!(difference < 4.0 * f32::EPSILON, "{name} {what}: {difference}");
        };
        pair.host(|device, cells| device.decay(cells, 1.5, key(1)).unwrap());
        pair.tile.decay(1.5, key(1)).unwrap();
        check("decay", &mut pair);
        pair.host(|device, cells| device.diffuse(cells, key(2)).unwrap());
        pair.tile.diffuse(key(2)).unwrap();
        check("diffusion", &mut pair);
        if resets {
            let reset = |device: &Device, cells: Cells<'_>| {
                device.reset_columns(cells, 70, 40, 0.4, key(3)).unwrap();
            };
            pair.host(reset);
            pair.tile.reset_columns(70, 40, 0.4, key(3)).unwrap();
            check("reset", &mut pair);
        }
        let clip = WeightClip::FixedValue(0.1);
        pair.host(|device, cells| device.clip_weights(cells, clip, key(4)).unwrap());
        pair.tile.clip_weights(clip, key(4)).unwrap();
        check("clip", &mut pair);
    }
}
