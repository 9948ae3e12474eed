//! Times products and updates on the graphics processor and on the processor, and prints JSON.
//!
//! `cargo run --profile dist --features wgpu --example gpu_bench [-- SIZE... gpu-only]`; the variable
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

/// Longest time for one number of the processor.
const BUDGET: Duration = Duration::from_millis(400);
/// Time for one number of the graphics processor: drivers raise the clock only after a while.
const WARM: Duration = Duration::from_millis(800);

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

/// Smallest of the milliseconds that `f` returns, over [`WARM`].
fn warm(mut f: impl FnMut() -> f64) -> f64 {
    let (start, mut best) = (Instant::now(), f64::INFINITY);
    while start.elapsed() < WARM {
        best = best.min(f());
    }
    best
}

/// Milliseconds that `f` takes.
fn once(f: impl FnOnce()) -> f64 {
    let start = Instant::now();
    f();
    start.elapsed().as_secs_f64() * 1e3
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
        let planes = spec.device().construct(1).unwrap();
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
            let request = Request::new(&self.x, &self.weights, &mut y, Lines::default(), key);
            self.spec.mvm(direction).run(request).unwrap();
        });
        let key = self.key();
        let gpu = warm(|| {
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
            once(|| self.tile.product(product).unwrap())
        });
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
        [host, gpu, warm(|| 1e3 * self.tile.time_product(&product, 50).unwrap())]
    }

    fn update(&mut self) -> [f64; 3] {
        let planes = self.spec.device().construct(1).unwrap();
        let refs: Vec<PlaneRef<'_>> = planes.iter().map(|(_, plane)| plane.as_ref()).collect();
        let mut weights = self.weights.clone();
        let host = host(|| {
            let key = self.key();
            self.d.iter_mut().for_each(|d| *d = -*d);
            pulse::update(Update::new(
                self.spec.device(),
                &mut weights,
                &refs,
                [&self.x, &self.d],
                0.01,
                key,
            ))
            .unwrap();
        });
        let gpu = warm(|| once(|| self.updates(1)));
        let kernel = warm(|| once(|| self.updates(10)) / 10.0);
        [host, gpu, kernel]
    }

    /// Some updates with errors of alternating signs, so that weights stay where they are; waits for
    /// the last one.
    fn updates(&mut self, count: usize) {
        for _ in 0..count {
            let key = self.key();
            self.d.iter_mut().for_each(|d| *d = -*d);
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
    }
}

/// A number in JSON.
fn json(value: f64) -> String {
    if value.is_finite() { format!("{value:.4}") } else { "null".to_owned() }
}

fn print(what: &str, device: &str, size: usize, batch: usize, [host, gpu, kernel]: [f64; 3]) {
    println!(
        "{{\"what\": \"{what}\", \"device\": \"{device}\", \"size\": {size}, \"batch\": {batch}, \
         \"cpu_ms\": {}, \"gpu_ms\": {}, \"kernel_ms\": {}}}",
        json(host),
        json(gpu),
        json(kernel)
    );
}

fn main() {
    let context = match Context::shared(&Pick::Default) {
        Ok(context) => context,
        Err(error) => {
            eprintln!("gpu_bench: {error}");
            std::process::exit(1);
        }
    };
    println!("{{\"adapter\": {:?}}}", context.adapter().name);
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![512, 1024, 4096] } else { sizes };
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
