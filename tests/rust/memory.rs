//! Memory that runs out: every allocation whose size a caller decides gives an error, and the tile is
//! then as before. The tests are a process of their own, for an allocator is that of all threads.
#![allow(
    unsafe_code,
    reason = "an allocator is unsafe; this one hands everything on to the system"
)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use mho_core::config::{NoiseManagement, PulseType, WeightNoise};
use mho_core::devices::DeviceConfig;
use mho_core::pulse::counts::{Sample, counts};
use mho_core::tile::Pass;
use mho_core::{Error, IoParameters, Key, Result, Tile, TileConfig, UpdateParameters, par};

/// Allocations from this size on are those whose size a caller decides: at the sizes of these tests
/// all of them are that large, and no others.
const LARGE: usize = 1 << 13;

thread_local! {
    /// Large allocations that this thread still gets.
    static LEFT: Cell<usize> = const { Cell::new(usize::MAX) };
}

struct Limited;

impl Limited {
    fn refuses(size: usize) -> bool {
        if size < LARGE {
            return false;
        }
        LEFT.with(|left| {
            let refuses = left.get() == 0;
            if !refuses && left.get() != usize::MAX {
                left.set(left.get() - 1);
            }
            refuses
        })
    }
}

// SAFETY: all memory comes from the allocator of the system and goes back to it; a null pointer says
// that there is none.
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if Self::refuses(layout.size()) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Limited = Limited;

/// Runs `work` in a thread of its own, which has no working memory yet and gets `left` large
/// allocations, and then again with memory; returns the first outcome, and what both leave.
fn run<S: Clone + Send + Sync, T: Send>(
    start: &S,
    left: usize,
    work: &(impl Fn(&mut S) -> Result<T> + Sync),
) -> (Result<()>, S, S) {
    std::thread::scope(|scope| {
        let limited = || {
            let mut state = start.clone();
            LEFT.set(left);
            let outcome = work(&mut state);
            LEFT.set(usize::MAX);
            let after = state.clone();
            if outcome.is_err() {
                work(&mut state).unwrap();
            }
            (outcome.map(drop), after, state)
        };
        scope.spawn(limited).join().unwrap()
    })
}

/// Lets every large allocation of `work` fail, one after another: the error says so, `content` stays,
/// and the next try does what the first one would have done.
fn fails_whole<S: Clone + Send + Sync, T: Send>(
    what: &str,
    start: &S,
    content: impl Fn(&S) -> Vec<u64>,
    work: impl Fn(&mut S) -> Result<T> + Sync,
) {
    // One thread, so that all allocations are its own.
    par::set_num_threads(1).unwrap();
    let (_, _, expected) = run(start, usize::MAX, &work);
    let mut left = 0;
    loop {
        let (outcome, after, end) = run(start, left, &work);
        assert!(content(&end) == content(&expected), "{what}, {left} allocations");
        match outcome {
            Ok(()) => break,
            Err(Error::Memory { bytes }) => {
                // What grows asks for as much again as it has.
                assert!(bytes >= LARGE / 2);
                assert!(content(&after) == content(start), "{what}, {left} allocations");
            }
            Err(error) => panic!("{what}: {error}"),
        }
        left += 1;
    }
    assert!(left > 0, "{what} allocates nothing");
}

/// All numbers of a tile.
fn content(tile: &Tile) -> Vec<u64> {
    let bits = |w: &f32| u64::from(w.to_bits());
    let mut all: Vec<_> = tile.weights().iter().map(bits).collect();
    all.extend(tile.pulse_counters().into_iter().flatten().map(|count| *count as u64));
    if let Some(persistent) = tile.hidden_parameter("persistent_weights") {
        all.extend((0..tile.weights().len()).map(|at| bits(&persistent.at(at))));
    }
    all
}

const SHAPES: [[usize; 2]; 2] = [[3, 9_000], [9_000, 3]];

fn values(len: usize, factor: f32) -> Vec<f32> {
    (0..len).map(|at| factor * ((at * 37 % 101) as f32 / 50.0 - 1.0)).collect()
}

fn tile(config: &TileConfig, [rows, columns]: [usize; 2]) -> Tile {
    let mut tile = Tile::new(rows, columns, config, 5).unwrap();
    // Some near the bounds, where kernels take more care.
    tile.set_weights(&values(rows * columns, 0.7)).unwrap();
    tile
}

/// A device that has everything that needs memory.
fn device(name: &str) -> DeviceConfig {
    let mut device = DeviceConfig::named(name).unwrap();
    if let Some(pulsed) = device.pulsed_mut() {
        pulsed.count_pulses = true;
        pulsed.corrupt_devices_prob = 0.1;
        pulsed.diffusion = 0.01;
        pulsed.lifetime = 100.0;
        pulsed.drift.nu = 0.1;
    }
    if let DeviceConfig::PowStep(device) = &mut device {
        device.write_noise_std = 0.5;
    }
    device
}

#[test]
fn construction() {
    for name in ["Ideal", "ConstantStep", "PowStepReference"] {
        let (device, forward) = (device(name), full_io());
        let config = TileConfig::default().with(|p| {
            p.device = device;
            p.forward = forward;
        });
        for [rows, columns] in SHAPES {
            let built = |tile: &Option<Tile>| tile.as_ref().map(content).unwrap_or_default();
            fails_whole(name, &None, built, |tile| {
                *tile = Some(Tile::new(rows, columns, &config, 5)?);
                Ok(())
            });
        }
    }
}

#[test]
fn updates() {
    // All kernels: one device for each, and each way to make pulses.
    for (name, pulse_type) in [
        ("ConstantStep", PulseType::StochasticCompressed),
        ("ConstantStep", PulseType::MeanCount),
        ("ConstantStep", PulseType::DeterministicImplicit),
        ("SoftBounds", PulseType::StochasticCompressed),
        ("PiecewiseStep", PulseType::StochasticCompressed),
        ("PowStep", PulseType::StochasticCompressed),
        ("PowStep", PulseType::NoneWithDevice),
        ("Ideal", PulseType::None),
    ] {
        let update = UpdateParameters::default().with(|p| p.pulse_type = pulse_type);
        let config = TileConfig::default().with(|p| {
            p.device = device(name);
            p.update = update;
        });
        for shape in SHAPES {
            let tile = tile(&config, shape);
            for samples in [1, 3] {
                let [d, x] = shape.map(|size| values(samples * size, 1.0));
                let what = format!("{name}, {pulse_type:?}, {shape:?}, {samples} samples");
                fails_whole(&what, &tile, content, |tile| tile.update(&x, &d, 0.05));
            }
        }
    }
}

#[test]
fn numbers_of_pulses() {
    for pulse_type in [PulseType::StochasticCompressed, PulseType::MeanCount] {
        let update = UpdateParameters::default().with(|p| p.pulse_type = pulse_type);
        let config = TileConfig::default().with(|p| p.update = update);
        for [rows, columns] in SHAPES {
            let tile = Tile::new(rows, columns, &config, 5).unwrap();
            let (x, d) = (values(columns, 1.0), values(rows, 1.0));
            let numbers = |found: &Vec<i64>| found.iter().map(|number| *number as u64).collect();
            let out = vec![0; rows * columns];
            fails_whole("counts", &out, numbers, |out| {
                let device = tile.spec().device();
                let key = Key::new(1, 2);
                let sample =
                    Sample { device, x: &x, bias: None, d: &d, learning_rate: 0.05, key, at: 0 };
                counts(&sample, out).inspect_err(|_| out.fill(0))
            });
        }
    }
}

/// All that needs memory at once.
fn full_io() -> IoParameters {
    IoParameters::default().with(|p| {
        p.ir_drop = 1.0;
        p.w_noise = 0.1;
        p.w_noise_type = WeightNoise::PcmRead;
        p.noise_management = NoiseManagement::AverageAbsMax;
        p.v_offset_std = 0.1;
        p.out_nonlinearity = 0.1;
        p.out_noise_std = 0.1;
        p.w_read_asymmetry_dtod = 0.1;
        p.mv_type = mho_core::config::AnalogMvType::PosNegSeparateDigitalSum;
        p.out_bound = 1.0;
    })
}

#[test]
fn products() {
    let perfect = IoParameters::default().with(|p| p.is_perfect = true);
    for io in [IoParameters::default(), full_io(), perfect] {
        let config = TileConfig::default().with(|p| {
            p.forward = io.clone();
            p.backward = io;
        });
        for shape in SHAPES {
            let tile = tile(&config, shape);
            // Enough rows for a copy of a panel of weights.
            let [d, x] = shape.map(|size| values(40 * size, 1.0));
            let all = |(tile, y): &(Tile, Vec<f32>)| {
                let y = y.iter().map(|y| u64::from(y.to_bits()));
                content(tile).into_iter().chain(y).collect()
            };
            for (size, is_forward) in [(shape[0], true), (shape[1], false)] {
                // Exact products only take a copy of a panel of weights with many inputs.
                if config.forward.is_perfect && (is_forward || size != 3) {
                    continue;
                }
                let start = (tile.clone(), vec![0.0; 40 * size]);
                fails_whole(&format!("{shape:?} {is_forward}"), &start, all, |(tile, y)| {
                    let result = if is_forward {
                        tile.forward(&x, y, Pass::Train)
                    } else {
                        tile.backward(&d, y, Pass::Train)
                    };
                    result.inspect_err(|_| y.fill(0.0))
                });
            }
        }
    }
}

#[test]
fn operations_on_weights() {
    for name in ["SoftBounds", "PowStep"] {
        let config = TileConfig::default().with(|p| p.device = device(name));
        let mut tile = tile(&config, SHAPES[0]);
        // These take no memory at all.
        let (outcome, ..) = run(&tile, 0, &|tile: &mut Tile| {
            tile.diffuse()?;
            tile.decay(1.0)?;
            tile.reset_columns(0, -1, 0.5)?;
            tile.set_weights_uniform(-0.1, 0.1)
        });
        outcome.unwrap();
        // The first drift makes what later ones remember.
        for _ in 0..2 {
            fails_whole(name, &tile, content, |tile| tile.drift(10.0));
            tile.drift(10.0).unwrap();
        }
    }
}
