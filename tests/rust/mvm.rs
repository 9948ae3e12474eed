//! The analog product: golden values, closed forms, statistics, threads and random parameters.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Mutex;

use mho_core::config::{AnalogMvType, BoundManagement, IoParameters, NoiseManagement, WeightNoise};
use mho_core::mvm::{Direction, Lines, Mvm, Request};
use mho_core::{Error, Key, par};
use proptest::prelude::*;

/// Weights of the golden values, 3 x 4.
const W: [f32; 12] = [0.5, -0.25, 0.125, 0.75, -0.6, 0.3, 0.9, -0.15, 0.2, 0.8, -0.45, 0.05];
/// Inputs of the golden values.
const X: [f32; 8] = [0.9, -0.37, 0.16, 0.62, -2.4, 1.3, 0.7, 3.1];

/// Everything off.
fn base() -> IoParameters {
    IoParameters::default().with(|p| {
        p.inp_bound = -1.0;
        p.inp_res = -1.0;
        p.out_bound = -1.0;
        p.out_res = -1.0;
        p.out_noise = 0.0;
        p.noise_management = NoiseManagement::None;
        p.bound_management = BoundManagement::None;
    })
}

/// A product with what it needs to run.
struct Bench {
    mvm: Mvm,
    weights: Vec<f32>,
    lines: Vec<(&'static str, Vec<f32>)>,
    running: f32,
    call: u64,
    is_test: bool,
    bias: Option<f32>,
    mask: Vec<u8>,
}

impl Bench {
    fn new(io: &IoParameters, weights: &[f32], d_size: usize) -> Self {
        Self::directed(io, weights, d_size, Direction::Forward)
    }

    fn directed(io: &IoParameters, weights: &[f32], d_size: usize, direction: Direction) -> Self {
        let mvm = Mvm::new(io, direction, d_size, weights.len() / d_size).unwrap();
        let lines = mvm.construct_lines(7).unwrap();
        Self {
            mvm,
            weights: weights.to_vec(),
            lines,
            running: -1.0,
            call: 0,
            is_test: false,
            bias: None,
            mask: Vec::new(),
        }
    }

    fn line(&self, name: &str) -> &[f32] {
        self.lines.iter().find(|(key, _)| *key == name).map_or(&[], |(_, values)| values)
    }

    fn set(mut self, name: &str, values: &[f32]) -> Self {
        let slot = self.lines.iter_mut().find(|(key, _)| *key == name).unwrap();
        assert_eq!(slot.1.len(), values.len());
        slot.1 = values.to_vec();
        self
    }

    fn run(&mut self, x: &[f32]) -> Vec<f32> {
        self.call += 1;
        let given = self.mvm.n_in() - usize::from(self.bias.is_some());
        let mut y = vec![f32::NAN; x.len() / given * self.mvm.n_out()];
        self.mask = vec![9; y.len()];
        let (mut running, mut mask) = (self.running, std::mem::take(&mut self.mask));
        let request = Request::new(
            x,
            &self.weights,
            &mut y,
            Lines {
                out_noise_values: self.line("out_noise_values"),
                v_offset: self.line("v_offset"),
                w_asymmetry: self.line("w_asymmetry"),
                out_nonlinearity: self.line("out_nonlinearity"),
                out_nonlinearity_factor: self.line("out_nonlinearity_factor")[0],
            },
            Key::new(3, self.call),
        )
        .with(|u| {
            u.bias = self.bias;
            u.is_test = self.is_test;
            u.running = Some(&mut running);
            u.mask = Some(&mut mask);
        });
        self.mvm.run(request).unwrap();
        self.running = running;
        self.mask = mask;
        y
    }
}

fn run(io: &IoParameters, weights: &[f32], d_size: usize, x: &[f32]) -> Vec<f32> {
    Bench::new(io, weights, d_size).run(x)
}

#[track_caller]
fn assert_close(got: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(got.len(), expected.len());
    for (got_value, value) in got.iter().zip(expected) {
        assert!((got_value - value).abs() <= tolerance, "{got:?}, expected {expected:?}");
    }
}

/// Golden values have six decimals; 2e-6 is their rounding plus that of f32 sums.
#[track_caller]
fn golden(io: IoParameters, expected: [f32; 6]) {
    assert_close(&run(&io, &W, 3, &X), &expected, 2e-6);
}

#[test]
fn golden_converters() {
    let b = base();
    golden(b.clone(), [1.0275, -0.6, -0.157, 0.8875, 1.995, 0.4]);
    let bound = b.clone().with(|p| p.inp_bound = 1.0);
    golden(bound.clone(), [1.0275, -0.6, -0.157, 0.0875, 1.38, 0.335]);
    let seven = bound.clone().with(|p| p.inp_res = 1.0 / 126.0);
    golden(seven, [1.027778, -0.602381, -0.151587, 0.087302, 1.378571, 0.335714]);
    golden(bound.with(|p| p.inp_res = 5.0), [1.1, -0.72, -0.12, 0.1, 1.47, 0.29]);
    let out = b.with(|p| {
        p.out_bound = 1.0;
        p.out_res = 1.0 / 30.0;
    });
    golden(out, [1.0, -0.6, -0.133333, 0.866667, 1.0, 0.4]);
}

#[test]
fn golden_noise_management() {
    let b = base().with(|p| {
        p.inp_bound = 1.0;
        p.inp_res = 1.0 / 126.0;
    });
    let kind = |noise_management| b.clone().with(|p| p.noise_management = noise_management);
    let abs_max = kind(NoiseManagement::AbsMax);
    golden(abs_max.clone(), [1.023214, -0.602143, -0.157143, 0.885714, 1.985476, 0.386270]);
    let capped = abs_max.with(|p| p.nm_thres = 1.0);
    golden(capped, [1.023214, -0.602143, -0.157143, 0.087302, 1.378571, 0.335714]);
    let constant = kind(NoiseManagement::Constant).with(|p| p.nm_thres = 2.0);
    golden(constant, [1.035714, -0.6, -0.166667, 0.261905, 1.919048, 0.426984]);
    let np_sum = kind(NoiseManagement::AbsMaxNPSum).with(|p| p.out_bound = 1.0);
    // The second sample's output is above the bound of 1 only after rescaling by 3.1.
    golden(np_sum, [1.008, -0.5976, -0.156, 0.885714, 1.985476, 0.386270]);
    let average = kind(NoiseManagement::AverageAbsMax);
    golden(average, [1.023214, -0.602143, -0.157143, 0.087714, 1.30819, 0.27066]);
}

#[test]
fn golden_bound_management() {
    let b = IoParameters::default().with(|p| p.out_noise = 0.0);
    golden(b.clone(), [1.016471, -0.592941, -0.169412, 0.875294, 2.042353, 0.437647]);
    let b = b.with(|p| {
        p.inp_res = 1.0 / 128.0;
        p.out_res = -1.0;
    });
    let iterative = b.clone().with(|p| p.out_bound = 0.25);
    golden(iterative.clone(), [1.054688, -0.64125, -0.106875, 0.920312, 2.034375, 0.426250]);
    let bound_management = BoundManagement::IterativeWorstCase;
    let worst = iterative.with(|p| p.bound_management = bound_management);
    golden(worst, [1.02375, -0.6237, -0.1512, 0.812812, 2.122875, 0.3825]);
    let limited = b.with(|p| {
        p.out_bound = 0.1;
        p.max_bm_factor = 3;
    });
    golden(limited, [0.36, -0.36, -0.18, 0.920312, 1.24, 0.42625]);
}

#[test]
fn golden_array_and_output() {
    let b = base();
    let io = b.clone().with(|p| p.inp_asymmetry = 0.1);
    golden(io, [1.01825, -0.5889, -0.1274, 1.0075, 1.851, 0.448]);
    let io = b.clone().with(|p| p.out_asymmetry = 0.1);
    golden(io, [1.0275, -0.54, -0.1413, 0.8875, 1.995, 0.4]);
    let io = b.clone().with(|p| {
        p.ir_drop = 1.0;
        p.ir_drop_g_ratio = 500.0;
    });
    golden(io, [1.025487, -0.599902, -0.156643, 0.854790, 1.992598, 0.397120]);
    let series = b.clone().with(|p| p.r_series = 0.05);
    golden(series.clone(), [0.863423, -0.543811, -0.139317, 0.663011, 1.423535, 0.305128]);
    let direct = series.with(|p| p.v_offset_w_min = 0.0);
    golden(direct.clone(), [0.977292, -0.582524, -0.155777, 0.849791, 1.814049, 0.392157]);
    let calibrated = direct.with(|p| {
        p.out_bound = 4.0;
        p.slope_calibration = 0.5;
    });
    golden(calibrated, [1.182523, -0.704854, -0.188490, 1.028247, 2.194999, 0.474510]);
    let io = b.with(|p| {
        p.out_nonlinearity = 0.5;
        p.out_bound = 4.0;
    });
    golden(io.clone(), [0.910551, -0.558140, -0.153978, 0.798875, 1.596798, 0.380952]);
    let io = io.with(|p| p.slope_calibration = 0.5);
    golden(io, [1.422736, -0.872093, -0.240591, 1.248242, 2.494997, 0.595238]);
}

#[test]
fn golden_voltage_offset() {
    let io = base().with(|p| p.v_offset_std = 0.1);
    let direct = io.clone().with(|p| p.v_offset_w_min = 0.0);
    let series = io.clone().with(|p| p.r_series = 0.05);
    for (io, expected) in [
        (io, [0.66275, -0.6, -0.03385, 0.25875, 1.995, 0.69]),
        (direct, [0.92475, -0.6, -0.16485, 0.79875, 1.995, 0.42]),
        (series, [0.531187, -0.543811, -0.023336, 0.120939, 1.423535, 0.558270]),
    ] {
        let mut bench = Bench::new(&io, &W, 3).set("v_offset", &[0.1, 0.0, -0.05]);
        assert_close(&bench.run(&X), &expected, 2e-6);
    }
}

#[test]
fn golden_signs_apart() {
    let separate = base().with(|p| p.mv_type = AnalogMvType::PosNegSeparate);
    let io = separate.clone().with(|p| p.w_read_asymmetry_dtod = 0.1);
    let factors = [1.1, 0.9, 1.0, 1.2, 0.8, 1.0, 1.05, 0.95, 1.0, 1.0, 1.3, 0.7];
    let mut bench = Bench::new(&io, &W, 3).set("w_asymmetry", &factors);
    assert_close(&bench.run(&X), &[1.01825, -0.6, -0.157, 0.7675, 1.707, 0.4], 2e-6);
    let io = separate.clone().with(|p| p.r_series = 0.05);
    golden(io, [0.852386, -0.532178, -0.163719, 0.315621, 1.571579, 0.165171]);
    let io = separate.with(|p| {
        p.out_bound = 1.0;
        p.out_res = 1.0 / 30.0;
    });
    golden(io.clone(), [1.0, -0.6, -0.133333, 0.866667, 1.0, 0.4]);
    let io = io.with(|p| p.mv_type = AnalogMvType::PosNegSeparateDigitalSum);
    golden(io, [1.0, -0.6, -0.133333, 0.0, 1.533333, 0.4]);
}

#[test]
fn golden_backward() {
    let io = IoParameters::default().with(|p| p.out_noise = 0.0);
    let mut bench = Bench::directed(&io, &W, 3, Direction::Backward);
    let expected = [0.625882, -0.131765, -0.691765, 0.329412];
    assert_close(&bench.run(&[0.3, -0.7, 0.2]), &expected, 2e-6);
}

#[test]
fn backward_without_the_bias_line() {
    let io = IoParameters::default().with(|p| p.out_noise = 0.0);
    let mvm = Mvm::new(&io, Direction::Backward, 3, 4).unwrap();
    for samples in [1, 9] {
        let x = [0.3, -0.7, 0.2].repeat(samples);
        let mut y = vec![0.0; 3 * samples];
        let request = Request::new(&x, &W, &mut y, Lines::default(), Key::new(1, 1))
            .with(|u| u.drop_last = true);
        mvm.run(request).unwrap();
        assert_close(&y, &[0.625882, -0.131765, -0.691765].repeat(samples), 2e-6);
    }
}

#[test]
fn closed_form_wire_resistance() {
    let io = base().with(|p| p.ir_drop = 1.0);
    let ones = [1.0; 512];
    let n = 512.0f64;
    let a = n * n / (1.0 / 0.35 / 5e-6);
    let c = a * (a * (0.05 * a - 0.2) + 0.5);
    let expected = n - c * (n - (n + 1.0) * (2.0 * n + 1.0) / (6.0 * n));
    assert_close(&run(&io, &ones, 1, &ones), &[expected as f32], 1e-3);
    let mut first = [0.0; 512];
    first[0] = 1.0;
    assert_close(&run(&io, &ones, 1, &first), &[1.0], 1e-6);
    let mut last = [0.0; 512];
    last[511] = 1.0;
    assert_close(&run(&io, &ones, 1, &last), &[0.999552], 1e-6);
}

#[test]
fn closed_form_bound_management_stops() {
    let io = IoParameters::default().with(|p| {
        p.out_noise = 0.0;
        p.out_bound = 0.1;
    });
    assert_close(&run(&io, &[10.0], 1, &[1.0]), &[1.6], 1e-6);
    let io = io.with(|p| p.inp_res = -1.0);
    assert_close(&run(&io, &[1000.0], 1, &[1.0]), &[102.4], 1e-4);
}

#[test]
fn closed_form_slope_calibration() {
    let strength = base().with(|p| {
        p.out_nonlinearity = 0.5;
        p.out_bound = 4.0;
    });
    let io = strength.with(|p| p.slope_calibration = 0.5);
    assert_eq!(Bench::new(&io, &[1.0], 1).line("out_nonlinearity_factor"), [1.5625]);
    let h = 0.01;
    let y = run(&io, &[1.0], 1, &[2.0 - h, 2.0 + h]);
    assert_close(&[(y[1] - y[0]) / (2.0 * h)], &[1.0], 1e-3);
}

#[test]
fn zero_input_is_exactly_zero_only_with_a_scale_from_the_data() {
    let kinds = [
        (NoiseManagement::AbsMax, true),
        (NoiseManagement::AbsMaxNPSum, true),
        (NoiseManagement::Max, true),
        (NoiseManagement::AverageAbsMax, true),
        (NoiseManagement::Constant, false),
        (NoiseManagement::None, false),
    ];
    for (noise_management, exact) in kinds {
        let io = IoParameters::default().with(|p| {
            p.noise_management = noise_management;
            p.out_noise = 1.0;
        });
        let y = run(&io, &W, 3, &[0.0; 8]);
        assert_eq!(y.iter().all(|y| *y == 0.0), exact, "{noise_management:?}: {y:?}");
        assert!(y.iter().all(|y| y.is_finite()));
    }
    let noise_management = NoiseManagement::Max;
    let io = IoParameters::default().with(|p| {
        p.noise_management = noise_management;
        p.out_noise = 1.0;
    });
    assert_eq!(run(&io, &W, 3, &[-1.0, -2.0, -0.5, -0.1]), [0.0; 3]);
}

#[test]
fn powers_of_two_scale_exactly() {
    let noise_management = NoiseManagement::AbsMax;
    let io = base().with(|p| {
        p.noise_management = noise_management;
        p.inp_bound = 1.0;
    });
    let y = run(&io, &W, 3, &X);
    for factor in [0.125, 2.0, 1024.0] {
        let scaled = run(&io, &W, 3, &X.map(|x| factor * x));
        for (scaled, y) in scaled.iter().zip(&y) {
            assert!((scaled - factor * y).abs() <= (factor * y).abs() * f32::EPSILON);
        }
    }
}

#[test]
fn missing_bounds_switch_the_quantisers_off() {
    let reference = run(&base(), &W, 3, &X);
    for bound in [0.0, -1.0, f64::INFINITY] {
        let io = base().with(|p| {
            p.inp_bound = bound;
            p.out_bound = bound;
        });
        let io = io.with(|p| {
            p.inp_res = 1.0 / 126.0;
            p.out_res = 20.0;
        });
        assert_eq!(run(&io, &W, 3, &X), reference, "bound {bound}");
        let mut bench = Bench::new(&io, &W, 3);
        bench.run(&X);
        assert!(bench.mask.iter().all(|flag| *flag == 0));
    }
}

#[test]
fn steps_equal_fractions() {
    let io = |res| {
        base().with(|p| {
            p.inp_bound = 1.0;
            p.inp_res = res;
            p.out_bound = 2.0;
            p.out_res = res;
        })
    };
    assert_eq!(run(&io(254.0), &W, 3, &X), run(&io(1.0 / 254.0), &W, 3, &X));
}

#[test]
fn bound_management_is_per_sample() {
    let io = IoParameters::default().with(|p| {
        p.out_noise = 0.0;
        p.out_bound = 1.0;
    });
    let together = run(&io, &W, 3, &X);
    let mut apart = run(&io, &W, 3, &X[..4]);
    apart.extend(run(&io, &W, 3, &X[4..]));
    assert_eq!(together, apart);
}

#[test]
fn analog_bias_takes_part_in_everything() {
    let io = base().with(|p| {
        p.inp_bound = 1.0;
        p.inp_res = 1.0 / 3.0;
    });
    let io = io.with(|p| p.noise_management = NoiseManagement::AbsMax);
    let mut bench = Bench::new(&io, &[0.5, 0.25], 1);
    bench.bias = Some(1.0);
    assert_close(&bench.run(&[0.3]), &[0.25], 1e-6);
    // An ideal product adds the bias column times its input.
    let mut bench = Bench::new(&IoParameters::perfect(), &[0.5, 0.25], 1);
    bench.bias = Some(0.5);
    assert_close(&bench.run(&[1.0]), &[0.625], 1e-6);
}

#[test]
fn mask_marks_clipped_outputs_of_the_accepted_pass() {
    let b = base().with(|p| p.out_bound = 0.4);
    let w = [0.5, -0.25, 0.1, 0.8];
    let mut bench = Bench::new(&b, &w, 2);
    assert_close(&bench.run(&[1.0, 0.5]), &[0.375, 0.4], 1e-6);
    assert_eq!(bench.mask, [0, 1]);
    // Bound management finds a pass without clipping, whatever the size of the result.
    let io = IoParameters::default().with(|p| p.out_noise = 0.0);
    let mut bench = Bench::new(&io, &[0.5, 0.1, 0.2, 0.3], 2);
    bench.run(&[100.0, 20.0]);
    assert_eq!(bench.mask, [0, 0]);
    // A digital sum counts where both conversions are at the bound.
    let mv_type = AnalogMvType::PosNegSeparateDigitalSum;
    let mut bench = Bench::new(&b.with(|p| p.mv_type = mv_type), &[1.0, 1.0, 1.0, 0.1], 2);
    assert_eq!(bench.run(&[1.0, -1.0])[0], 0.0);
    assert_eq!(bench.mask, [1, 0]);
    let mut bench = Bench::new(&IoParameters::perfect(), &w, 2);
    bench.run(&[100.0, 50.0]);
    assert_eq!(bench.mask, [0, 0]);
}

#[test]
fn negative_violations_count_only_where_asked() {
    let io = IoParameters::default().with(|p| {
        p.out_noise = 0.0;
        p.out_bound = 0.5;
    });
    let weights = [1.0, -1.0];
    let io = io.with(|p| p.bm_test_negative_bound = false);
    // Only the second, negative output clips.
    assert_close(&run(&io, &weights[1..], 1, &[1.0]), &[-0.5], 1e-6);
    // The positive output clips too, which repeats the product of both.
    let y = run(&io, &weights, 2, &[1.0]);
    assert!(y[0] > 0.9 && y[1] < -0.9, "{y:?}");
}

#[test]
fn bad_calls_are_refused_before_anything_is_written() {
    let mvm = Mvm::new(&IoParameters::default(), Direction::Forward, 3, 4).unwrap();
    let call = |weights: &[f32], x: &[f32], y: &mut [f32]| {
        mvm.run(Request::new(x, weights, y, Lines::default(), Key::new(1, 1)))
    };
    let named = |result| match result {
        Err(Error::Shape { argument, .. }) => argument,
        other => panic!("{other:?}"),
    };
    let mut y = [5.0; 6];
    assert_eq!(named(call(&W[..11], &X, &mut y)), "weights");
    assert_eq!(named(call(&W, &X[..7], &mut y)), "x");
    assert_eq!(named(call(&W, &X[..4], &mut y)), "y");
    assert_eq!(y, [5.0; 6]);
    assert!(call(&W, &[], &mut []).is_ok());
}

#[test]
fn average_needs_its_running_value() {
    let noise_management = NoiseManagement::AverageAbsMax;
    let io = IoParameters::default().with(|p| p.noise_management = noise_management);
    let mut bench = Bench::new(&io, &W, 3);
    assert!(bench.mvm.line_names().contains(&"running_abs_max"));
    assert_eq!(bench.line("running_abs_max"), [-1.0]);
    bench.is_test = true;
    bench.run(&X);
    assert_eq!(bench.running, -1.0);
    bench.is_test = false;
    bench.run(&X);
    assert_close(&[bench.running], &[0.9 + 1e-3 * (3.1 - 0.9)], 1e-6);
}

/// Strange inputs may give NaN in their own row, but never a panic, an endless loop or a change of
/// another row.
#[test]
fn strange_inputs_stay_in_their_row() {
    let types = [
        AnalogMvType::OnePass,
        AnalogMvType::PosNegSeparate,
        AnalogMvType::PosNegSeparateDigitalSum,
    ];
    let kinds = [
        NoiseManagement::AbsMax,
        NoiseManagement::AbsMaxNPSum,
        NoiseManagement::Max,
        NoiseManagement::None,
    ];
    for (mv_type, noise_management) in types.into_iter().zip(kinds.into_iter().cycle()) {
        let io = IoParameters::default().with(|p| {
            p.mv_type = mv_type;
            p.noise_management = noise_management;
            p.out_bound = 1.0;
        });
        let io = io.with(|p| {
            p.inp_res = -1.0;
            p.max_bm_factor = i64::MAX;
        });
        let reference = run(&io, &W, 3, &[0.5; 8]);
        for strange in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, 1e-45] {
            let mut x = [0.5; 8];
            x[1] = strange;
            assert_eq!(run(&io, &W, 3, &x)[3..], reference[3..], "{strange}");
        }
    }
}

/// A row with NaN or infinity gives NaN everywhere and no clipped output, whatever the stages would
/// make of it; the others, and the running average, are as if it were not there.
#[test]
fn rows_that_are_not_finite_give_nan() {
    let types = [
        AnalogMvType::OnePass,
        AnalogMvType::PosNegSeparate,
        AnalogMvType::PosNegSeparateDigitalSum,
    ];
    let kinds = [
        NoiseManagement::AbsMax,
        NoiseManagement::AverageAbsMax,
        NoiseManagement::AbsMaxNPSum,
        NoiseManagement::Max,
        NoiseManagement::Constant,
        NoiseManagement::None,
    ];
    for is_perfect in [false, true] {
        for (mv_type, noise_management) in types.into_iter().cycle().zip(kinds) {
            let io = IoParameters::default().with(|p| {
                p.is_perfect = is_perfect;
                p.mv_type = mv_type;
                p.noise_management = noise_management;
                p.out_bound = 0.3;
            });
            for strange in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                for at in 0..4 {
                    let run = |row: [f32; 4]| {
                        let mut bench = Bench::new(&io, &W, 3);
                        let x = [&X[..4], &row, &X[4..]].concat();
                        (bench.run(&x), bench.mask.clone(), bench.running)
                    };
                    let mut row = [2.0, -1.0, 0.0, 5.0];
                    row[at] = strange;
                    let (y, mask, running) = run(row);
                    let (expected, expected_mask, expected_running) = run([0.0; 4]);
                    let what = format!("{strange} at {at}, {io:?}: {y:?}");
                    assert!(y[3..6].iter().all(|y| y.is_nan()), "{what}");
                    assert_eq!(mask[3..6], [0; 3], "{what}");
                    for rows in [0..3, 6..9] {
                        assert_eq!(y[rows.clone()], expected[rows.clone()], "{what}");
                        assert_eq!(mask[rows.clone()], expected_mask[rows], "{what}");
                    }
                    assert_eq!(running, expected_running, "{what}");
                }
            }
        }
    }
}

/// Rows of the statistical tests.
const N: usize = 20_000;
/// Weights of the statistical tests, 2 x 2.
const WS: [f32; 4] = [0.5, -0.25, 0.1, 0.8];
const XS: [f32; 2] = [0.6, -0.8];

/// Outputs of `N` equal rows, one list per output.
fn repeat(io: &IoParameters, x: [f32; 2]) -> [Vec<f64>; 2] {
    let y = run(io, &WS, 2, &x.repeat(N));
    [0, 1].map(|i| y.iter().skip(i).step_by(2).map(|v| f64::from(*v)).collect())
}

fn mean_std(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, variance.sqrt())
}

/// The standard error of a Gaussian's standard deviation is sigma / sqrt(2 N) = 0.5 %, that of its
/// mean sigma / sqrt(N): both are tested to five of them.
#[track_caller]
fn spread(io: &IoParameters, x: [f32; 2], means: [f64; 2], stds: [f64; 2]) {
    for ((values, mean), std) in repeat(io, x).iter().zip(means).zip(stds) {
        let (got_mean, got_std) = mean_std(values);
        assert!((got_std / std - 1.0).abs() < 0.025, "std {got_std}, expected {std}");
        let allowed = 5.0 * std / (N as f64).sqrt() + 1e-6;
        assert!((got_mean - mean).abs() < allowed, "mean {got_mean}, expected {mean}");
    }
}

#[test]
fn statistics_of_output_noise() {
    let ideal = [0.5, -0.58];
    let io = base().with(|p| p.out_noise = 0.06);
    spread(&io, XS, ideal, [0.06; 2]);
    let digital = AnalogMvType::PosNegSeparateDigitalSum;
    let twice = io.clone().with(|p| p.mv_type = digital);
    spread(&twice, XS, ideal, [0.08485; 2]);
    spread(&twice, [0.6, 0.8], [0.1, 0.7], [0.08485; 2]);
    let io = io.with(|p| {
        p.noise_management = NoiseManagement::AbsMax;
        p.inp_bound = 1.0;
    });
    spread(&io, XS, ideal, [0.048; 2]);
    let io = io.with(|p| p.out_scale = 2.0);
    spread(&io, XS, [1.0, -1.16], [0.096; 2]);
}

#[test]
fn statistics_of_input_noise() {
    let io = base().with(|p| p.inp_noise = 0.1);
    let stds = [0.05590, 0.08062];
    spread(&io, XS, [0.5, -0.58], stds);
    let [a, b] = repeat(&io, XS);
    let products: Vec<f64> = a.iter().zip(&b).map(|(a, b)| (a - 0.5) * (b + 0.58)).collect();
    // cov = 0.01 W W^T; the standard error of a covariance is at most sqrt(2) s1 s2 / sqrt(N).
    let allowed = 5.0 * 2f64.sqrt() * stds[0] * stds[1] / (N as f64).sqrt();
    assert!((mean_std(&products).0 - 0.01 * (0.05 - 0.2)).abs() < allowed);
    let io = io.with(|p| {
        p.noise_management = NoiseManagement::AbsMax;
        p.inp_bound = 1.0;
    });
    spread(&io, [0.0; 2], [0.0; 2], stds);
}

#[test]
fn statistics_of_weight_noise() {
    let ideal = [0.5, -0.58];
    let io = |w_noise_type| {
        base().with(|p| {
            p.w_noise = 0.1;
            p.w_noise_type = w_noise_type;
        })
    };
    let additive = io(WeightNoise::AdditiveConstant);
    spread(&additive, XS, ideal, [0.1; 2]);
    let noise_management = NoiseManagement::AbsMax;
    spread(
        &additive.with(|p| {
            p.noise_management = noise_management;
            p.inp_bound = 1.0;
        }),
        XS,
        ideal,
        [0.1; 2],
    );
    let pcm = io(WeightNoise::PcmRead);
    let stds = [0.05831, 0.07403];
    spread(&pcm, XS, ideal, stds);
    let mv_type = AnalogMvType::PosNegSeparate;
    spread(&pcm.with(|p| p.mv_type = mv_type), XS, ideal, stds);
    // 0.1 sqrt(sum_j W_ij^2 x_j^2), also beside wire resistance of no effect, which shares a buffer.
    let relative = io(WeightNoise::Relative);
    let stds = [0.1 * (0.09f64 + 0.04).sqrt(), 0.1 * (0.0036f64 + 0.4096).sqrt()];
    spread(&relative, XS, ideal, stds);
    spread(&relative.with(|p| p.ir_drop = 1e-9), XS, ideal, stds);
}

#[test]
fn statistics_of_rounding() {
    let io = base().with(|p| {
        p.inp_bound = 1.0;
        p.inp_res = 20.0;
        p.inp_sto_round = true;
    });
    let y: Vec<f64> = run(&io, &[1.0], 1, &vec![0.537; N]).into_iter().map(f64::from).collect();
    let (mean, std) = mean_std(&y);
    // Two levels with probability f = 0.37: std of the mean 0.0483 / sqrt(N).
    assert!((mean - 0.537).abs() < 5.0 * 0.0483 / (N as f64).sqrt());
    assert!((std / 0.04828 - 1.0).abs() < 0.025);
    let io = base().with(|p| {
        p.out_bound = 1.0;
        p.out_res = 20.0;
    });
    let x: Vec<f32> = (0..N).map(|i| -0.95 + 1.9 * (i as f32 + 0.5) / N as f32).collect();
    let y = run(&io, &[1.0], 1, &x);
    let errors: Vec<f64> = y.iter().zip(&x).map(|(y, x)| f64::from(y - x)).collect();
    let (mean, std) = mean_std(&errors);
    assert!(mean.abs() < 1e-3, "the grid is symmetric; {mean}");
    assert!((std / 0.028868 - 1.0).abs() < 0.015);
}

#[test]
fn statistics_of_frozen_values() {
    let draw = |io: &IoParameters, seed, name| {
        let mvm = Mvm::new(io, Direction::Forward, 512, 20).unwrap();
        let lines = mvm.construct_lines(seed).unwrap();
        let values = lines.into_iter().find(|(key, _)| *key == name).unwrap().1;
        values.into_iter().map(f64::from).collect::<Vec<f64>>()
    };
    let io = IoParameters::default().with(|p| p.out_noise_std = 0.3);
    let noise = draw(&io, 1, "out_noise_values");
    let (mean, std) = mean_std(&noise);
    assert!((mean - 0.06).abs() < 5.0 * 0.018 / 512f64.sqrt());
    // Five standard errors of 1 / sqrt(2 * 512) are 16 %.
    assert!((std / 0.018 - 1.0).abs() < 0.16);
    assert_eq!(noise, draw(&io, 1, "out_noise_values"));
    assert_ne!(noise, draw(&io, 2, "out_noise_values"));

    let io = IoParameters::default().with(|p| p.v_offset_std = 0.1);
    let offsets: Vec<f64> = (0..20).flat_map(|seed| draw(&io, seed, "v_offset")).collect();
    let zeros = offsets.iter().filter(|value| **value == 0.0).count() as f64;
    assert!((zeros / offsets.len() as f64 - 0.5).abs() < 0.025);
    assert!(offsets.iter().all(|value| *value >= 0.0));
    assert!((mean_std(&offsets).0 / 0.0399 - 1.0).abs() < 0.075);

    let io = IoParameters::default().with(|p| p.w_read_asymmetry_dtod = 0.1);
    let (mean, std) = mean_std(&draw(&io, 1, "w_asymmetry"));
    let n = (512.0f64 * 20.0).sqrt();
    assert!((mean - 1.0).abs() < 5.0 * 0.1 / n);
    assert!((std / 0.1 - 1.0).abs() < 5.0 / (2f64.sqrt() * n));
}

#[test]
fn frozen_values_of_the_directions_differ() {
    let io = IoParameters::default().with(|p| p.out_noise_std = 0.3);
    let lines = |direction| Mvm::new(&io, direction, 5, 5).unwrap().construct_lines(1).unwrap();
    assert_ne!(lines(Direction::Forward), lines(Direction::Backward));
}

#[test]
fn statistics_of_backward() {
    for bound_management in [BoundManagement::None, BoundManagement::Iterative] {
        let noise_management = NoiseManagement::AbsMax;
        let io = base().with(|p| {
            p.out_noise = 0.1;
            p.inp_bound = 1.0;
            p.noise_management = noise_management;
        });
        let io = io.with(|p| p.bound_management = bound_management);
        let mut bench = Bench::directed(&io, &[0.4; 6], 3, Direction::Backward);
        let y: Vec<f64> =
            bench.run(&[0.2, 0.3, 0.5].repeat(N)).into_iter().map(f64::from).collect();
        let (mean, std) = mean_std(&y);
        // 2 N values: 0.35 % and 0.05 / sqrt(2 N) per standard error.
        assert!((std / 0.05 - 1.0).abs() < 0.018, "{std}");
        assert!((mean - 0.4).abs() < 5.0 * 0.05 / (2.0 * N as f64).sqrt(), "{mean}");
    }
}

#[test]
fn calls_differ_and_repeat() {
    let mut bench = Bench::new(&IoParameters::default(), &W, 3);
    let (first, second) = (bench.run(&X), bench.run(&X));
    assert_ne!(first, second);
    bench.call = 0;
    assert_eq!(bench.run(&X), first);
}

/// Tests that set the number of threads take turns.
static THREADS: Mutex<()> = Mutex::new(());

/// Everything at once, so that every stage runs in parallel.
fn everything(mv_type: AnalogMvType) -> IoParameters {
    IoParameters::default().with(|p| {
        p.mv_type = mv_type;
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
        p.bound_management = BoundManagement::IterativeWorstCase;
    })
}

#[test]
fn bits_do_not_depend_on_threads() {
    let _turn = THREADS.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let before = par::num_threads();
    let configs = [
        IoParameters::default(),
        IoParameters::perfect(),
        IoParameters::default().with(|p| p.out_bound = 1.0),
        everything(AnalogMvType::OnePass),
        everything(AnalogMvType::PosNegSeparateDigitalSum),
    ];
    for (d_size, x_size, samples) in [(1, 1, 3001), (67, 131, 301), (256, 77, 129), (512, 512, 64)]
    {
        let value = |i: usize| ((i * 7919) % 2003) as f32 / 1001.0 - 1.0;
        let weights: Vec<f32> = (0..d_size * x_size).map(|i| 0.1 * value(i)).collect();
        for direction in [Direction::Forward, Direction::Backward] {
            for io in &configs {
                let mut outputs = [1, 2, 3, 7].map(|threads| {
                    par::set_num_threads(threads).unwrap();
                    let mut bench = Bench::directed(io, &weights, d_size, direction);
                    let x: Vec<f32> = (0..samples * bench.mvm.n_in()).map(value).collect();
                    let y = bench.run(&x);
                    (y.into_iter().map(f32::to_bits).collect::<Vec<u32>>(), bench.mask)
                });
                outputs.sort();
                assert_eq!(outputs.first(), outputs.last(), "{d_size} {x_size} {direction:?}");
            }
        }
    }
    par::set_num_threads(before).unwrap();
}

/// A sample gives the same bits in a large and in a small batch of the same call.
#[test]
fn bits_do_not_depend_on_the_batch() {
    let value = |i: usize| ((i * 7919) % 2003) as f32 / 1001.0 - 1.0;
    for (d_size, x_size) in [(1, 1), (3, 5), (16, 16), (67, 131), (131, 67), (33, 64)] {
        let weights: Vec<f32> = (0..d_size * x_size).map(|i| 0.1 * value(i)).collect();
        for direction in [Direction::Forward, Direction::Backward] {
            for io in [IoParameters::perfect(), IoParameters::default()] {
                let mut bench = Bench::directed(&io, &weights, d_size, direction);
                let (n_in, n_out) = (bench.mvm.n_in(), bench.mvm.n_out());
                let x: Vec<f32> = (0..40 * n_in).map(value).collect();
                let together = bench.run(&x);
                for rows in 1..=9 {
                    bench.call = 0;
                    assert_eq!(bench.run(&x[..rows * n_in]), together[..rows * n_out]);
                }
            }
        }
    }
}

/// The product against one in f64. A sum of 131 products of values up to 1 with weights up to 0.1
/// has an error below 131 * 13 * eps / 2 = 1e-4.
#[test]
fn ideal_product_is_the_product() {
    let value = |i: usize| ((i * 7919) % 2003) as f32 / 1001.0 - 1.0;
    for (d_size, x_size) in [(1, 1), (3, 5), (16, 16), (67, 131), (131, 67), (33, 64), (70, 700)] {
        let weights: Vec<f32> = (0..d_size * x_size).map(|i| 0.1 * value(i)).collect();
        for direction in [Direction::Forward, Direction::Backward] {
            let mut bench = Bench::directed(&IoParameters::perfect(), &weights, d_size, direction);
            let (n_in, n_out) = (bench.mvm.n_in(), bench.mvm.n_out());
            let x: Vec<f32> = (0..37 * n_in).map(value).collect();
            let expected: Vec<f32> = (0..37 * n_out)
                .map(|at| {
                    let (row, i) = (at / n_out, at % n_out);
                    let weight = |j| match direction {
                        Direction::Forward => weights[i * x_size + j],
                        Direction::Backward => weights[j * x_size + i],
                    };
                    let term = |j: usize| f64::from(weight(j)) * f64::from(x[row * n_in + j]);
                    (0..n_in).map(term).sum::<f64>() as f32
                })
                .collect();
            assert_close(&bench.run(&x), &expected, 1e-4 * (n_in as f32 / 131.0).max(1.0));
        }
    }
}

fn any_io() -> impl Strategy<Value = IoParameters> {
    let strength = || prop_oneof![Just(0.0), 0.0..0.5f64];
    let bound = || prop_oneof![Just(-1.0), Just(f64::INFINITY), 0.1..20.0f64];
    let resolution = || prop_oneof![Just(-1.0), 0.001..0.5f64, 2.0..500.0f64];
    let converters = (bound(), bound(), resolution(), resolution(), any::<bool>(), any::<bool>());
    let kinds = (0usize..6, 0usize..3, 0usize..3, 0usize..3);
    let strengths = prop::array::uniform12(strength());
    (converters, kinds, strengths, -1.0..1.0f64, 0i64..2000).prop_map(|(c, k, s, w_min, factor)| {
        let noise_management = [
            NoiseManagement::None,
            NoiseManagement::AbsMax,
            NoiseManagement::Max,
            NoiseManagement::Constant,
            NoiseManagement::AverageAbsMax,
            NoiseManagement::AbsMaxNPSum,
        ][k.0];
        IoParameters::default().with(|p| {
            p.inp_bound = if noise_management == NoiseManagement::None { c.0 } else { 1.0 };
            p.out_bound = c.1;
            p.inp_res = c.2;
            p.out_res = c.3;
            p.inp_sto_round = c.4;
            p.out_sto_round = c.5;
            p.noise_management = noise_management;
            p.bound_management = [
                BoundManagement::None,
                BoundManagement::Iterative,
                BoundManagement::IterativeWorstCase,
            ][k.1];
            p.w_noise_type = [
                WeightNoise::None,
                WeightNoise::AdditiveConstant,
                WeightNoise::PcmRead,
                WeightNoise::Relative,
            ][k.2];
            p.mv_type = [
                AnalogMvType::OnePass,
                AnalogMvType::PosNegSeparate,
                AnalogMvType::PosNegSeparateDigitalSum,
            ][k.3];
            p.inp_noise = s[0];
            p.inp_asymmetry = s[1];
            p.out_noise = s[2];
            p.out_noise_std = s[3];
            p.out_asymmetry = s[4];
            p.w_noise = s[5];
            p.ir_drop = s[6];
            p.out_nonlinearity = s[7];
            p.slope_calibration = s[8];
            p.v_offset_std = s[9];
            p.r_series = s[10];
            p.w_read_asymmetry_dtod = s[11];
            p.v_offset_w_min = w_min;
            p.max_bm_factor = factor;
        })
    })
}

proptest! {
    /// Finite inputs of any size give finite outputs within the range that the converter can reach.
    #[test]
    fn finite_inputs_give_finite_outputs(
        io in any_io(),
        x in prop::collection::vec(prop_oneof![Just(0.0f32), -10.0..10.0f32, Just(1e-42f32)], 8),
        backward in any::<bool>(),
    ) {
        let direction = if backward { Direction::Backward } else { Direction::Forward };
        let mut bench = Bench::directed(&io, &W, 3, direction);
        let n_in = bench.mvm.n_in();
        let y = bench.run(&x[..x.len() / n_in * n_in]);
        prop_assert!(y.iter().all(|y| y.is_finite()), "{:?}", y);
        prop_assert!(bench.mask.iter().all(|flag| *flag <= 1));
        if backward && io.noise_management == NoiseManagement::None && io.out_bound.is_normal()
            && io.out_bound > 0.0
        {
            let reads = if io.mv_type == AnalogMvType::PosNegSeparateDigitalSum { 2.0 } else { 1.0 };
            let limit = reads * io.out_bound as f32 * (1.0 + f32::EPSILON);
            prop_assert!(y.iter().all(|y| y.abs() <= limit), "{:?}", y);
        }
    }
}
