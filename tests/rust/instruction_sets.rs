//! Every instruction set that this machine has, beside the widest.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests")]

use mho_core::config::{
    AnalogMvType, IoParameters, ModifierParameters, ModifierType, UpdateMode, WeightNoise,
};
use mho_core::devices::{Device, DeviceConfig};
use mho_core::hooks::{Level, level, limit};
use mho_core::inference::{
    HermesNoiseModel, NoiseModelConfig, PCMLikeNoiseModel, ProgrammedWeights, ReRamCMONoiseModel,
    ReRamWan2022NoiseModel,
};
use mho_core::modifier::Modifier;
use mho_core::mvm::{Direction, Lines, Mvm, Request};
use mho_core::pulse::{self, Update};
use mho_core::rng::{Key, Stream};
use mho_core::{UpdateParameters, par};

fn normals(len: usize, block: u32, scale: f32) -> Vec<f32> {
    let mut out = vec![0.0; len];
    Key::new(98, 0).stream(Stream::Read).fill_normal(0, block, &mut out);
    out.iter_mut().for_each(|value| *value *= scale);
    out
}

/// One test for all, for the limit holds for the whole process.
#[test]
fn instruction_sets() {
    let widest = level();
    let levels: Vec<Level> = [Level::Baseline, Level::Avx2, Level::Avx512]
        .into_iter()
        .filter(|level| *level <= widest)
        .collect();
    println!("instruction sets: {levels:?}");
    for name in DeviceConfig::PULSED {
        let pulses =
            |exact_pulses| UpdateParameters::default().with(|p| p.exact_pulses = exact_pulses);
        let flow = |update_mode| UpdateParameters::default().with(|p| p.update_mode = update_mode);
        for (samples, dw_min, update) in [
            (1, 1e-3, pulses(false)),
            (4, 1e-3, pulses(false)),
            (150, 1e-3, pulses(false)),
            (4, 1e-3, pulses(true)),
            (70, 0.0, flow(UpdateMode::Flow)),
            (4, 0.0, flow(UpdateMode::Euler)),
        ] {
            let mut found = levels
                .iter()
                .map(|level| (level, at(*level, || updated(name, samples, dw_min, &update))));
            let (_, first) = found.next().unwrap();
            for (level, bits) in found {
                assert!(bits == first, "{name}, {samples} samples, {update:?}, {level:?}");
            }
        }
    }
    for kind in [
        ModifierType::DiscretizeAddNormal,
        ModifierType::MultNormal,
        ModifierType::Dorefa,
        ModifierType::ProgNoise,
        ModifierType::PcmNoise,
    ] {
        let mut found = levels.iter().map(|level| at(*level, || modified(kind)));
        let first = found.next().unwrap();
        assert!(found.all(|bits| bits == first), "{kind:?}");
    }
    let models: [NoiseModelConfig; 4] = [
        PCMLikeNoiseModel::default().into(),
        HermesNoiseModel::default().into(),
        ReRamWan2022NoiseModel::default().into(),
        ReRamCMONoiseModel::default().into(),
    ];
    for model in models {
        let mut found = levels.iter().map(|level| at(*level, || programmed(&model)));
        let first = found.next().unwrap();
        assert!(found.all(|bits| bits == first), "{model:?}");
    }
    for direction in [Direction::Forward, Direction::Backward] {
        for (d_size, x_size) in [(1, 1), (3, 5), (67, 131), (256, 77)] {
            compare_products(&levels, direction, d_size, x_size);
        }
    }
}

fn at<R>(level: Level, f: impl FnOnce() -> R) -> R {
    limit(level);
    let result = f();
    limit(Level::Avx512);
    result
}

/// Weights after the update with a batch of one sample, of few slots or of several chunks, which
/// have kernels of their own.
fn updated(name: &str, samples: usize, dw_min: f64, update: &UpdateParameters) -> Vec<u32> {
    const ROWS: usize = 50;
    const COLUMNS: usize = 190;
    let mut config = DeviceConfig::pulsed_default(name).unwrap();
    config.pulsed_mut().unwrap().dw_min = dw_min;
    if let DeviceConfig::PiecewiseStep(device) = &mut config {
        device.piecewise_up = vec![1.5, 0.2, 1.0, -0.3].into();
        device.piecewise_down = vec![0.0, 1.0, 0.4, 2.0].into();
    }
    let device = Device::new(&config, update, ROWS, COLUMNS, false).unwrap();
    let planes = device.construct(11).unwrap();
    let planes: Vec<_> = planes.iter().map(|(_, plane)| plane.as_ref()).collect();
    let mut weights = normals(ROWS * COLUMNS, 7, 0.3);
    device.clip(&mut weights, &planes).unwrap();
    pulse::update(Update::new(
        &device,
        &mut weights,
        &planes,
        [&normals(samples * COLUMNS, 1, 1.0), &normals(samples * ROWS, 2, 1.0)],
        0.05,
        Key::new(5, 1),
    ))
    .unwrap();
    weights.into_iter().map(f32::to_bits).collect()
}

/// Modified weights.
/// Weights as they are read a day after they were programmed.
fn programmed(model: &NoiseModelConfig) -> Vec<u32> {
    const COLUMNS: usize = 190;
    let weights = normals(7 * COLUMNS, 6, 0.2);
    let programmed = ProgrammedWeights::program(model, &weights, COLUMNS, Key::new(6, 1)).unwrap();
    let read = programmed.drifted(model, 86400.0, Key::new(6, 2)).unwrap();
    programmed.weights().iter().chain(&read).map(|w| w.to_bits()).collect()
}

fn modified(kind: ModifierType) -> Vec<u32> {
    const COLUMNS: usize = 190;
    let parameters = ModifierParameters::default().with(|p| {
        p.kind = kind;
        p.std_dev = 0.7;
        p.res = 0.1;
        p.sto_round = true;
        p.pdrop = 0.1;
        p.pcm_t_inference = 3600.0;
        p.pcm_prob_at_gmax = 0.1;
        p.pcm_prob_at_random = 0.1;
    });
    let weights = normals(50 * COLUMNS, 7, 0.3);
    let mut out = vec![0.0; weights.len()];
    let modifier = Modifier::new(&parameters).unwrap();
    modifier.modify(&weights, &mut out, COLUMNS, Key::new(5, 1)).unwrap();
    out.into_iter().map(f32::to_bits).collect()
}

/// Everything at once, so that every stage of a product runs.
fn everything() -> IoParameters {
    IoParameters::default().with(|p| {
        p.mv_type = AnalogMvType::PosNegSeparateDigitalSum;
        p.inp_noise = 0.01;
        p.inp_sto_round = true;
        p.out_sto_round = true;
        p.out_noise_std = 0.3;
        p.out_bound = 1.0;
        p.w_noise = 0.01;
        p.w_noise_type = WeightNoise::PcmRead;
        p.ir_drop = 1.0;
        p.out_nonlinearity = 0.1;
        p.v_offset_std = 0.01;
        p.r_series = 0.001;
        p.w_read_asymmetry_dtod = 0.1;
    })
}

/// The bits of a product differ between the sets, but within one they depend neither on threads nor
/// on the batch; and the sums of two sets differ by rounding only.
fn compare_products(levels: &[Level], direction: Direction, d_size: usize, x_size: usize) {
    const SAMPLES: usize = 40;
    let weights = normals(d_size * x_size, 3, 0.1);
    let before = par::num_threads();
    for io in [IoParameters::perfect(), IoParameters::default(), everything()] {
        let mvm = Mvm::new(&io, direction, d_size, x_size).unwrap();
        let (n_in, n_out) = (mvm.n_in(), mvm.n_out());
        let x = normals(SAMPLES * n_in, 4, 0.5);
        for level in levels {
            let context = format!("{level:?} {direction:?} {d_size}x{x_size}");
            let together = at(*level, || product(&mvm, &weights, &x));
            for threads in [1, 2, 7] {
                par::set_num_threads(threads).unwrap();
                let again = at(*level, || product(&mvm, &weights, &x));
                assert_eq!(again, together, "{context}, {threads} threads");
            }
            for rows in [1, 2, 3, 5] {
                let few = at(*level, || product(&mvm, &weights, &x[..rows * n_in]));
                assert_eq!(few, together[..rows * n_out], "{context}, {rows} samples");
            }
            if io != IoParameters::perfect() {
                continue;
            }
            for (at, y) in together.iter().enumerate() {
                let (sample, output) = (at / n_out, at % n_out);
                let terms = (0..n_in).map(|input| {
                    let cell = match direction {
                        Direction::Forward => output * x_size + input,
                        Direction::Backward => input * x_size + output,
                    };
                    f64::from(weights[cell]) * f64::from(x[sample * n_in + input])
                });
                let (sum, size) = terms.fold((0.0, 0.0), |(s, a), t| (s + t, a + t.abs()));
                // In any order, each of the n additions of a sum of fused products rounds by half a
                // unit in the last place of at most the sum of absolute values.
                let limit = n_in as f64 * f64::from(f32::EPSILON) * 0.5 * 1.01 * size;
                let error = (f64::from(f32::from_bits(*y)) - sum).abs();
                assert!(error <= limit, "{context}: {error} above {limit}");
            }
        }
    }
    par::set_num_threads(before).unwrap();
}

fn product(mvm: &Mvm, weights: &[f32], x: &[f32]) -> Vec<u32> {
    let lines = mvm.construct_lines(3).unwrap();
    let line = |name: &str| -> &[f32] {
        lines.iter().find(|(key, _)| *key == name).map_or(&[], |(_, values)| values)
    };
    let mut y = vec![0.0; x.len() / mvm.n_in() * mvm.n_out()];
    mvm.run(Request::new(
        x,
        weights,
        &mut y,
        Lines {
            out_noise_values: line("out_noise_values"),
            v_offset: line("v_offset"),
            w_asymmetry: line("w_asymmetry"),
            out_nonlinearity: line("out_nonlinearity"),
            out_nonlinearity_factor: line("out_nonlinearity_factor")[0],
        },
        Key::new(12, 34),
    ))
    .unwrap();
    y.into_iter().map(f32::to_bits).collect()
}
