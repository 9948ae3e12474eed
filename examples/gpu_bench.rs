//! Times products and updates on the graphics processor and on the processor, and prints JSON.
//!
//! `cargo run --release --features wgpu --example gpu_bench [-- SIZE... gpu-only]`; the variable
//! `MHO_GPU` names the adapter. Milliseconds are the best of several runs and include the transfers
//! of inputs and outputs, `kernel_ms` is a mean without transfers (of updates without waiting).
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program")]

use std::time::{Duration, Instant};

use mho_core::devices::PlaneRef;
use mho_core::gpu::{Context, GpuTile, GpuUpdate, Pick, Product};
use mho_core::mvm::{Direction, Lines, Request};
use mho_core::pulse::{self, Update};
use mho_core::rng::Stream;
use mho_core::{IoParameters, Key, TileConfig, TileSpec};

/// Longest time for one number.
const BUDGET: Duration = Duration::from_millis(400);

/// As [`best`], or nothing when only the graphics processor is wanted.
fn host(f: impl FnMut()) -> f64 {
    if std::env::args().any(|text| text == "gpu-only") { f64::NAN } else { best(f) }
}

/// Best time of `f` in milliseconds: of up to 20 runs after a first one.
fn best(mut f: impl FnMut()) -> f64 {
    f();
    let (start, mut best) = (Instant::now(), f64::INFINITY);
    for _ in 0..20 {
        let one = Instant::now();
        f();
        best = best.min(one.elapsed().as_secs_f64() * 1e3);
        if start.elapsed() > BUDGET {
            break;
        }
    }
    best
}

fn values(count: usize, seed: u64) -> Vec<f32> {
    let mut out = vec![0.0; count];
    Key::new(seed, 0).stream(Stream::Weights).fill_uniform(0, 0, &mut out);
    out.iter_mut().for_each(|value| *value = 2.0 * *value - 1.0);
    out
}

struct Bench {
    spec: TileSpec,
    weights: Vec<f32>,
    x: Vec<f32>,
    d: Vec<f32>,
    batch: usize,
    tile: GpuTile,
    call: u64,
}

impl Bench {
    fn new(config: &TileConfig, size: usize, batch: usize) -> Self {
        let spec = TileSpec::new(config.clone(), size, size, false).unwrap();
        let mut tile = GpuTile::new(spec.clone(), &Pick::Default).unwrap();
        let weights: Vec<_> = values(size * size, 1).iter().map(|w| 0.1 * w).collect();
        let planes = spec.device().construct(1);
        let refs: Vec<PlaneRef<'_>> = planes.iter().map(|(_, plane)| plane.as_ref()).collect();
        tile.set_planes(&refs).unwrap();
        tile.set_weights(&weights).unwrap();
        let (x, d) = (values(batch * size, 2), values(batch * size, 3));
        Self { spec, weights, x, d, batch, tile, call: 0 }
    }

    fn key(&mut self) -> Key {
        self.call += 1;
        Key::new(7, self.call)
    }

    fn product(&mut self, direction: Direction) -> [f64; 3] {
        let n_out = self.spec.mvm(direction).n_out();
        let mut y = vec![0.0; self.batch * n_out];
        let host = host(|| {
            let key = self.key();
            let request = Request {
                x: &self.x,
                bias: None,
                drop_last: false,
                weights: &self.weights,
                y: &mut y,
                key,
                is_test: false,
                lines: Lines::default(),
                running: None,
                mask: None,
            };
            self.spec.mvm(direction).run(request).unwrap();
        });
        let gpu = best(|| {
            let key = self.key();
            let product = Product {
                direction,
                x: &self.x,
                bias: None,
                drop_last: false,
                y: &mut y,
                key,
                is_test: false,
                running: None,
                mask: None,
            };
            self.tile.product(product).unwrap();
        });
        let key = self.key();
        let product = Product {
            direction,
            x: &self.x,
            bias: None,
            drop_last: false,
            y: &mut y,
            key,
            is_test: false,
            running: None,
            mask: None,
        };
        [host, gpu, 1e3 * self.tile.time_product(&product, 50).unwrap()]
    }

    fn update(&mut self) -> [f64; 3] {
        let planes = self.spec.device().construct(1);
        let refs: Vec<PlaneRef<'_>> = planes.iter().map(|(_, plane)| plane.as_ref()).collect();
        let mut weights = self.weights.clone();
        let host = host(|| {
            let key = self.key();
            pulse::update(Update {
                device: self.spec.device(),
                weights: &mut weights,
                planes: &refs,
                persistent: None,
                x: &self.x,
                bias: None,
                d: &self.d,
                learning_rate: 0.01,
                key,
                counts: None,
            })
            .unwrap();
        });
        let gpu = best(|| {
            let key = self.key();
            let update = GpuUpdate {
                x: &self.x,
                bias: None,
                d: &self.d,
                learning_rate: 0.01,
                key,
                counts: None,
            };
            self.tile.update(update).unwrap();
            self.tile.context().synchronize().unwrap();
        });
        let start = Instant::now();
        for _ in 0..20 {
            let key = self.key();
            let update = GpuUpdate {
                x: &self.x,
                bias: None,
                d: &self.d,
                learning_rate: 0.01,
                key,
                counts: None,
            };
            self.tile.update(update).unwrap();
        }
        self.tile.context().synchronize().unwrap();
        [host, gpu, start.elapsed().as_secs_f64() * 1e3 / 20.0]
    }
}

fn print(what: &str, device: &str, size: usize, batch: usize, [host, gpu, kernel]: [f64; 3]) {
    println!(
        "{{\"what\": \"{what}\", \"device\": \"{device}\", \"size\": {size}, \"batch\": {batch}, \
         \"cpu_ms\": {host:.4}, \"gpu_ms\": {gpu:.4}, \"kernel_ms\": {kernel:.4}}}"
    );
}

/// Times the parts of an update: a decay (memory), an exact step, pulses without noise.
fn parts(size: usize) {
    let mut config = TileConfig::default();
    for (name, pulse_type, std) in [
        ("exact", mho_core::config::PulseType::NoneWithDevice, 0.3),
        ("no noise", mho_core::config::PulseType::StochasticCompressed, 0.0),
    ] {
        config.update.pulse_type = pulse_type;
        config.device = mho_core::devices::DeviceConfig::named("SoftBounds").unwrap();
        config.device.pulsed_mut().unwrap().dw_min_std = std;
        let mut bench = Bench::new(&config, size, 1);
        print("update", name, size, 1, bench.update());
        let decay = best(|| {
            let key = bench.key();
            bench.tile.decay(1.0, key).unwrap();
            bench.tile.context().synchronize().unwrap();
        });
        print("decay", name, size, 1, [f64::NAN, decay, f64::NAN]);
    }
}

fn main() {
    let context = match Context::shared(&Pick::Default) {
        Ok(context) => context,
        Err(error) => {
            eprintln!("gpu_bench: {error}");
            std::process::exit(1);
        }
    };
    println!("{{\"adapter\": \"{:?}\"}}", context.adapter());
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![512, 1024, 4096] } else { sizes };
    if std::env::args().any(|text| text == "parts") {
        sizes.iter().for_each(|size| parts(*size));
        return;
    }
    for size in sizes {
        for batch in [1, 128, 256] {
            let mut config = TileConfig::default();
            let mut bench = Bench::new(&config, size, batch);
            print("forward", "default", size, batch, bench.product(Direction::Forward));
            print("backward", "default", size, batch, bench.product(Direction::Backward));
            print("update", "ConstantStep", size, batch, bench.update());
            config.forward = IoParameters::perfect();
            let mut bench = Bench::new(&config, size, batch);
            print("forward", "perfect", size, batch, bench.product(Direction::Forward));
            config.device = mho_core::devices::DeviceConfig::named("SoftBounds").unwrap();
            let mut bench = Bench::new(&config, size, batch);
            print("update", "SoftBounds", size, batch, bench.update());
        }
    }
}
