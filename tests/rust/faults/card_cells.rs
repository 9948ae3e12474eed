//! Cells of several devices on graphics processors. Without an adapter the test prints so and ends.

use mho_core::gpu::{self, Pick};
use mho_core::hooks::fail_device_call;
use mho_core::unit_cells::gpu::GpuCellTile;
use mho_core::unit_cells::{Batch, CellSpec, CellState, CellTileConfig, CellTileSpec, OwnedEntry};
use mho_core::{Error, Key, UpdateParameters};

use crate::cells::cells;
use crate::{alone, bits, interrupt_at, values};

/// Rows and columns: small, for software adapters.
const SIZES: [usize; 2] = [3, 5];
const SAMPLES: usize = 3;

/// What the host has.
#[derive(Clone)]
struct Host {
    weights: Vec<f32>,
    entries: Vec<Option<OwnedEntry>>,
}

impl Host {
    fn borrow(&mut self, spec: &CellSpec) -> CellState<'_> {
        let entries = self.entries.iter_mut();
        let entries = entries.map(|entry| entry.as_mut().map(OwnedEntry::as_mut)).collect();
        CellState::new(spec, &mut self.weights, entries).unwrap()
    }
}

/// All of the state, counters of the host among it.
fn state(tile: &mut GpuCellTile, host: &Host) -> (Vec<u32>, Vec<Option<OwnedEntry>>) {
    let mut read = host.clone();
    let spec = tile.spec().clone();
    tile.read_weights(&mut read.borrow(spec.cells())).unwrap();
    (bits(&read.weights), read.entries)
}

fn write(tile: &mut GpuCellTile, host: &mut Host) {
    let spec = tile.spec().clone();
    tile.write_weights(&host.borrow(spec.cells())).unwrap();
}

fn update(tile: &mut GpuCellTile, host: &mut Host, number: u64) -> Result<(), Error> {
    let x = values(SAMPLES * SIZES[1], 2 * number);
    let d = values(SAMPLES * SIZES[0], 2 * number + 1);
    let batch = Batch { x: &x, bias: None, d: &d, learning_rate: 0.1 };
    let spec = tile.spec().clone();
    tile.update(&mut host.borrow(spec.cells()), &batch, Key::new(1, number))
}

#[test]
fn failed_updates_change_nothing() {
    if gpu::adapters().is_empty() {
        println!("skipped: no adapter; install mesa-vulkan-drivers for a software one");
        return;
    }
    let _alone = alone();
    let pick = Pick::Named("0".to_owned());
    for cell in cells() {
        let name = cell.name();
        let parameters = UpdateParameters::default().with(|p| p.desired_bl = 7);
        let config = CellTileConfig::new(cell).with(|p| p.update = parameters);
        let spec = CellTileSpec::new(config, SIZES[0], SIZES[1], false).unwrap();
        let mut host = Host {
            weights: vec![0.0; SIZES[0] * SIZES[1]],
            entries: spec.cells().allocate().unwrap(),
        };
        spec.cells().construct(host.borrow(spec.cells()), 3).unwrap();
        let mut tile = GpuCellTile::new(spec.clone(), &pick).unwrap();
        let missing = update(&mut tile, &mut host, 1);
        assert!(matches!(missing, Err(Error::State { .. })), "{name}: {missing:?}");
        write(&mut tile, &mut host);
        tile.write_parameters(&host.borrow(spec.cells())).unwrap();
        tile.write_reads(&host.borrow(spec.cells())).unwrap();
        update(&mut tile, &mut host, 1).unwrap();
        tile.read_weights(&mut host.borrow(spec.cells())).unwrap();
        let before = state(&mut tile, &host);
        let mut after = host.clone();
        update(&mut tile, &mut after, 2).unwrap();
        let expected = state(&mut tile, &after);
        assert!(expected != before, "{name}");
        for (what, arm) in
            [("call", fail_device_call as fn(usize)), ("check for signals", interrupt_at)]
        {
            let mut failures = 0;
            for nth in 1.. {
                write(&mut tile, &mut host);
                let mut found = host.clone();
                arm(nth);
                let result = update(&mut tile, &mut found, 2);
                arm(0);
                if result.is_ok() {
                    assert!(state(&mut tile, &found) == expected, "{name}: {what}");
                    break;
                }
                failures = nth;
                let found = state(&mut tile, &found);
                assert!(found == before, "{name}: {what} {nth} left its traces");
            }
            assert!(failures > 2, "{name}: {failures} times {what}");
        }
    }
}
