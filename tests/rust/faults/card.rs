//! The kernels of graphics processors. Without an adapter the tests print so and end.

use mho_core::config::{BoundManagement, IoParameters, NoiseManagement, TileConfig};
use mho_core::devices::{DeviceConfig, WeightClip};
use mho_core::gpu::{self, GpuTile, GpuUpdate, Pick, Product};
use mho_core::hooks::fail_device_call;
use mho_core::mvm::{Direction, Lines};
use mho_core::{Error, Key, TileSpec};

use crate::{Work, alone, bits, devices, interrupt_at, refs, values};

/// Rows and columns: small, for software adapters. Submissions go by samples and slots.
const SIZES: [usize; 2] = [5, 20];
const CELLS: usize = SIZES[0] * SIZES[1];

fn adapter() -> Option<Pick> {
    if gpu::adapters().is_empty() {
        println!("skipped: no adapter; install mesa-vulkan-drivers for a software one");
        return None;
    }
    Some(Pick::Named("0".to_owned()))
}

/// Lets `call` fail at the first call of the device, at the second, and so on, with what `check` finds
/// after each; gives the last tile, what the call that had all it needs has returned, and the number of
/// failures. Calls are the first ones of their tile, or find the working memory of others.
fn failures<T>(
    make: impl Fn() -> GpuTile,
    first: bool,
    mut call: impl FnMut(&mut GpuTile) -> Result<T, Error>,
    mut check: impl FnMut(&mut GpuTile, usize),
) -> (GpuTile, T, usize) {
    let mut tile = make();
    for nth in 1..1000 {
        fail_device_call(nth);
        let result = call(&mut tile);
        fail_device_call(0);
        match result {
            Ok(value) => return (tile, value, nth - 1),
            Err(Error::Backend { .. }) => check(&mut tile, nth),
            Err(error) => panic!("{nth}: {error}"),
        }
        if first {
            tile = make();
        }
    }
    panic!("no call of the device succeeds any more")
}

fn tile_of(work: &Work, pick: &Pick) -> GpuTile {
    let mut tile = GpuTile::new(work.spec.clone(), pick).unwrap();
    tile.set_planes(&refs(&work.planes)).unwrap();
    start(&mut tile, work);
    tile
}

fn start(tile: &mut GpuTile, work: &Work) {
    tile.set_weights(&work.weights).unwrap();
    if work.spec.device().write_noise().is_some() {
        tile.set_persistent(&work.weights).unwrap();
    }
}

fn update(tile: &mut GpuTile, work: &Work, counts: Option<&mut [i64]>) -> Result<(), Error> {
    let Work { x, d, learning_rate, key, .. } = work;
    let update = GpuUpdate { x, bias: None, d, learning_rate: *learning_rate, key: *key, counts };
    tile.update(update)
}

/// Weights and those under the write noise.
fn state(tile: &mut GpuTile) -> [Vec<u32>; 2] {
    let noisy = tile.spec().device().write_noise().is_some();
    let (mut weights, mut persistent) =
        (vec![7.0; CELLS], vec![7.0; if noisy { CELLS } else { 0 }]);
    tile.weights(&mut weights).unwrap();
    tile.persistent(&mut persistent).unwrap();
    [bits(&weights), bits(&persistent)]
}

#[test]
fn failed_updates_change_nothing() {
    let Some(pick) = adapter() else { return };
    let _alone = alone();
    let device =
        |name: &str| devices(0.0).into_iter().find(|device| device.name() == name).unwrap();
    for device in ["ConstantStep", "SoftBoundsReference"].map(device) {
        for work in Work::all(&device, SIZES, [300, 300]) {
            let make = || tile_of(&work, &pick);
            let mut tile = make();
            let before = state(&mut tile);
            let mut expected_counts = vec![3; 2 * CELLS];
            update(&mut tile, &work, Some(&mut expected_counts)).unwrap();
            let expected = state(&mut tile);
            assert!(expected != before, "{}", work.name);
            // One check at the beginning, and one before each submission.
            start(&mut tile, &work);
            for nth in 1.. {
                let mut counts = vec![3; 2 * CELLS];
                interrupt_at(nth);
                let result = update(&mut tile, &work, Some(&mut counts));
                interrupt_at(0);
                if result.is_ok() {
                    assert!(nth > 2 && state(&mut tile) == expected, "{}: {nth}", work.name);
                    break;
                }
                assert_eq!(result, Err(Error::Interrupted));
                let untouched = state(&mut tile) == before && counts == [3; 2 * CELLS];
                assert!(untouched, "{} interrupted at check {nth}", work.name);
            }
            for [counted, first] in [[true, true], [false, false]] {
                let mut counts = vec![3; 2 * CELLS];
                let call = |tile: &mut GpuTile| {
                    update(tile, &work, if counted { Some(&mut counts) } else { None })
                };
                let check = |tile: &mut GpuTile, nth| {
                    let what = format!("{} at call {nth} of the device", work.name);
                    assert!(state(tile) == before, "{what} left its traces");
                    let mut counts = vec![3; 2 * CELLS];
                    update(tile, &work, Some(&mut counts)).unwrap();
                    assert!(state(tile) == expected && counts == expected_counts, "{what}: again");
                    start(tile, &work);
                };
                let (mut tile, (), failures) = failures(make, first, call, check);
                assert!(state(&mut tile) == expected, "{}", work.name);
                // Not one of the failed calls has counted.
                let wanted = if counted { &expected_counts } else { &vec![3; 2 * CELLS] };
                assert!(counts == *wanted, "{}: counts", work.name);
                // Two numbers that are written and a submission.
                assert!(failures > 2, "{}: {failures}", work.name);
            }
        }
    }
}

#[test]
fn failed_operations_on_weights_change_nothing() {
    let Some(pick) = adapter() else { return };
    let _alone = alone();
    let mut config = devices(0.0)
        .into_iter()
        .find(|device| matches!(device, DeviceConfig::SoftBoundsReference(_)))
        .unwrap();
    let pulsed = config.pulsed_mut().unwrap();
    (pulsed.lifetime, pulsed.diffusion, pulsed.diffusion_dtod) = (9.0, 0.1, 0.2);
    let work = Work::all(&config, SIZES, [1, 1]).remove(0);
    let other = Work::all(&config, SIZES, [1, 1]).remove(0).spec.device().construct(12).unwrap();
    let key = Key::new(6, 1);
    type Operation<'a> = (&'a str, Box<dyn FnMut(&mut GpuTile) -> Result<(), Error> + 'a>);
    let operations: Vec<Operation<'_>> = vec![
        ("decay", Box::new(|tile| tile.decay(1.5, key))),
        ("diffusion", Box::new(|tile| tile.diffuse(key))),
        ("reset", Box::new(|tile| tile.reset_columns(3, 12, 0.4, key))),
        ("clip", Box::new(|tile| tile.clip_weights(WeightClip::FixedValue(0.1), key))),
        ("weights", Box::new(|tile| tile.set_weights(&[0.05; CELLS]))),
        ("weights with noise", Box::new(|tile| tile.write_weights(&[0.05; CELLS], key))),
    ];
    let make = || tile_of(&work, &pick);
    for (name, mut operation) in operations {
        let mut tile = make();
        let before = state(&mut tile);
        operation(&mut tile).unwrap();
        let expected = state(&mut tile);
        assert!(expected != before, "{name}");
        for first in [true, false] {
            let check = |tile: &mut GpuTile, nth| {
                assert!(state(tile) == before, "{name} at call {nth} of the device");
            };
            let (mut tile, (), failures) = failures(make, first, &mut operation, check);
            assert!(failures > 0 && state(&mut tile) == expected, "{name}: {failures}");
        }
    }
    // Hidden parameters: those before are in use until all of the others are there.
    let mut tile = make();
    update(&mut tile, &work, None).unwrap();
    let expected = state(&mut tile);
    let call = |tile: &mut GpuTile| tile.set_planes(&refs(&other));
    let check = |tile: &mut GpuTile, nth| {
        start(tile, &work);
        update(tile, &work, None).unwrap();
        assert!(state(tile) == expected, "hidden parameters at call {nth} of the device");
    };
    let (mut tile, (), failures) = failures(make, false, call, check);
    start(&mut tile, &work);
    update(&mut tile, &work, None).unwrap();
    assert!(failures > 0 && state(&mut tile) != expected);
}

/// A tile whose outputs clip, so that rows are repeated; its inputs are larger than those of the
/// second one.
fn clipping(pick: &Pick, noise_management: NoiseManagement) -> GpuTile {
    let forward = IoParameters::default().with(|p| {
        p.noise_management = noise_management;
        p.bound_management = BoundManagement::Iterative;
        p.out_bound = 2.0;
    });
    let config = TileConfig::default().with(|p| p.forward = forward);
    let spec = TileSpec::new(config, SIZES[0], SIZES[1], false).unwrap();
    let mut tile = GpuTile::new(spec, pick).unwrap();
    tile.set_lines(Direction::Forward, &Lines::default()).unwrap();
    tile.set_weights(&values(CELLS, 3)).unwrap();
    tile
}

fn product<'a>(x: &'a [f32], y: &'a mut [f32], running: &'a mut f32) -> Product<'a> {
    Product {
        direction: Direction::Forward,
        x,
        bias: None,
        drop_last: false,
        y,
        key: Key::new(3, 1),
        is_test: false,
        running: Some(running),
        mask: None,
    }
}

const SAMPLES: usize = 30;

/// Inputs, every other sample of which clips the outputs by itself.
fn inputs() -> Vec<f32> {
    let mut x = values(SAMPLES * SIZES[1], 2);
    for (at, x) in x.chunks_mut(SIZES[1]).enumerate() {
        x.iter_mut().for_each(|x| *x = if at % 2 == 0 { 0.9 + 0.1 * *x } else { 1e-3 * *x });
    }
    x
}

/// Outputs of a product and the running average after it.
fn run(tile: &mut GpuTile, x: &[f32]) -> Result<(Vec<u32>, f32), Error> {
    let (mut y, mut running) = (vec![7.0; SAMPLES * SIZES[0]], 0.5);
    let result = tile.product(product(x, &mut y, &mut running));
    match result {
        Ok(()) => Ok((bits(&y), running)),
        Err(error) => {
            assert!((running - 0.5).abs() < f32::MIN_POSITIVE, "{running}");
            Err(error)
        }
    }
}

#[test]
fn failed_products_leave_the_next_one_alone() {
    let Some(pick) = adapter() else { return };
    let _alone = alone();
    for management in [NoiseManagement::None, NoiseManagement::AverageAbsMax] {
        let make = || clipping(&pick, management);
        let x = inputs();
        // The same with the samples in another order, of which others clip.
        let mut turned = x[SIZES[1]..].to_vec();
        turned.extend_from_slice(&x[..SIZES[1]]);
        let [expected, expected_turned] = [&x, &turned].map(|x| run(&mut make(), x).unwrap());
        for first in [true, false] {
            let check = |tile: &mut GpuTile, nth| {
                let what = format!("{management:?} at call {nth} of the device");
                assert!(run(tile, &turned).unwrap() == expected_turned, "{what}: another one");
            };
            let (_, found, failures) = failures(make, first, |tile| run(tile, &x), check);
            assert!(found == expected, "{management:?}");
            // Parameters, inputs, and two submissions with what they give.
            assert!(failures >= 6, "{failures}");
        }
    }
}

/// Timing stops after the first pass, which marks the rows to be repeated.
#[test]
fn timed_products_leave_the_next_one_alone() {
    let Some(pick) = adapter() else { return };
    let _alone = alone();
    let x = inputs();
    let mut turned = x[SIZES[1]..].to_vec();
    turned.extend_from_slice(&x[..SIZES[1]]);
    let mut tile = clipping(&pick, NoiseManagement::None);
    let expected = run(&mut tile, &turned).unwrap();
    let (mut y, mut running) = (vec![0.0; SAMPLES * SIZES[0]], 0.5);
    tile.time_product(&product(&x, &mut y, &mut running), 2).unwrap();
    assert!(run(&mut tile, &turned).unwrap() == expected);
}
