//! The analog product over sizes, batches and threads, beside the bare product (an ideal tile), and
//! the cost of each option.

#![allow(clippy::expect_used)]

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion};
use mho_core::config::{AnalogMvType, BoundManagement, IoParameters, NoiseManagement, WeightNoise};
use mho_core::mvm::{Direction, Lines, Mvm, Request};
use mho_core::{Key, par};

/// One product with its operands; weights are small enough that few outputs clip.
struct Operands {
    mvm: Mvm,
    lines: Vec<(&'static str, Vec<f32>)>,
    weights: Vec<f32>,
    x: Vec<f32>,
    y: Vec<f32>,
    call: u64,
}

impl Operands {
    fn new(io: &IoParameters, direction: Direction, size: usize, batch: usize) -> Self {
        let mvm = Mvm::new(io, direction, size, size).expect("valid parameters");
        let noise = |i: usize| ((i.wrapping_mul(2_654_435_761) >> 8) % 2001) as f32 / 1000.0 - 1.0;
        let spread = 1.0 / (size as f32).sqrt();
        Self {
            lines: mvm.construct_lines(1).unwrap(),
            mvm,
            weights: (0..size * size).map(|i| spread * noise(i)).collect(),
            x: (0..batch * size).map(|i| noise(i + 77)).collect(),
            y: vec![0.0; batch * size],
            call: 0,
        }
    }

    fn line(&self, name: &str) -> &[f32] {
        self.lines.iter().find(|(key, _)| *key == name).map_or(&[], |(_, values)| values)
    }

    fn run(&mut self) {
        self.call += 1;
        let mut y = std::mem::take(&mut self.y);
        let mut running = 1.0;
        let request = Request::new(
            black_box(&self.x),
            black_box(&self.weights),
            &mut y,
            Lines {
                out_noise_values: self.line("out_noise_values"),
                v_offset: self.line("v_offset"),
                w_asymmetry: self.line("w_asymmetry"),
                out_nonlinearity: self.line("out_nonlinearity"),
                out_nonlinearity_factor: 1.0,
            },
            Key::new(1, self.call),
        )
        .with(|u| u.running = Some(&mut running));
        self.mvm.run(request).expect("matching sizes");
        self.y = black_box(y);
    }
}

/// Sizes, batches and threads of the forward and backward product, each beside the bare one.
fn sizes(criterion: &mut Criterion) {
    let directions = [("forward", Direction::Forward), ("backward", Direction::Backward)];
    for (name, direction) in directions {
        let mut group = criterion.benchmark_group(format!("mvm/{name}"));
        group.sample_size(30).measurement_time(Duration::from_millis(800));
        group.warm_up_time(Duration::from_millis(200));
        for (size, batch) in [(256, 1), (256, 4), (256, 10), (256, 32), (512, 128), (1024, 256)] {
            for threads in [1, 2] {
                par::set_num_threads(threads).expect("at least one");
                for (kind, io) in
                    [("bare", IoParameters::perfect()), ("analog", IoParameters::default())]
                {
                    let mut operands = Operands::new(&io, direction, size, batch);
                    let id = BenchmarkId::new(kind, format!("{size}x{batch}x{threads}"));
                    group.bench_function(id, |bencher| bencher.iter(|| operands.run()));
                }
            }
        }
        group.finish();
    }
}

/// What each option costs on top of the defaults: 512 x 512, batch 64, one thread.
fn options(criterion: &mut Criterion) {
    let d = IoParameters::default();
    let kind =
        |noise_management| IoParameters::default().with(|p| p.noise_management = noise_management);
    let bound =
        |bound_management| IoParameters::default().with(|p| p.bound_management = bound_management);
    let signs = |mv_type| IoParameters::default().with(|p| p.mv_type = mv_type);
    let noise = |w_noise_type| {
        d.clone().with(|p| {
            p.w_noise = 0.01;
            p.w_noise_type = w_noise_type;
        })
    };
    let table = [
        ("is_perfect", IoParameters::perfect()),
        ("default", d.clone()),
        ("noise_management=None", kind(NoiseManagement::None)),
        ("noise_management=Max", kind(NoiseManagement::Max)),
        ("noise_management=AbsMaxNPSum", kind(NoiseManagement::AbsMaxNPSum)),
        ("noise_management=AverageAbsMax", kind(NoiseManagement::AverageAbsMax)),
        ("bound_management=None", bound(BoundManagement::None)),
        ("bound_management=IterativeWorstCase", bound(BoundManagement::IterativeWorstCase)),
        ("out_bound=2", d.clone().with(|p| p.out_bound = 2.0)),
        ("out_noise=0", d.clone().with(|p| p.out_noise = 0.0)),
        ("out_noise_std", d.clone().with(|p| p.out_noise_std = 0.3)),
        ("inp_noise", d.clone().with(|p| p.inp_noise = 0.01)),
        ("inp_sto_round", d.clone().with(|p| p.inp_sto_round = true)),
        ("out_sto_round", d.clone().with(|p| p.out_sto_round = true)),
        ("inp_asymmetry", d.clone().with(|p| p.inp_asymmetry = 0.01)),
        ("out_asymmetry", d.clone().with(|p| p.out_asymmetry = 0.01)),
        ("w_noise=AdditiveConstant", noise(WeightNoise::AdditiveConstant)),
        ("w_noise=PCMRead", noise(WeightNoise::PcmRead)),
        ("ir_drop", d.clone().with(|p| p.ir_drop = 1.0)),
        ("v_offset_std", d.clone().with(|p| p.v_offset_std = 0.01)),
        ("r_series", d.clone().with(|p| p.r_series = 0.01)),
        ("out_nonlinearity", d.clone().with(|p| p.out_nonlinearity = 0.1)),
        ("mv_type=PosNegSeparate", signs(AnalogMvType::PosNegSeparate)),
        ("mv_type=DigitalSum", signs(AnalogMvType::PosNegSeparateDigitalSum)),
    ];
    par::set_num_threads(1).expect("at least one");
    let mut group = criterion.benchmark_group("mvm/options");
    group.sample_size(20).measurement_time(Duration::from_millis(500));
    group.warm_up_time(Duration::from_millis(100));
    for (name, io) in table {
        let mut operands = Operands::new(&io, Direction::Forward, 512, 64);
        group.bench_function(name, |bencher| bencher.iter(|| operands.run()));
    }
    group.finish();
}

/// All benchmarks of the analog product.
pub fn benches(criterion: &mut Criterion) {
    sizes(criterion);
    options(criterion);
}
