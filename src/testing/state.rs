//! Calls that are repeated, resumed, shared among threads, or fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::faulty::Faulty;
use super::report::Report;
use super::subjects::{tile, values};
use crate::devices::PulsedDevice;
use crate::error::{Error, Result};
use crate::tile::Tile;

/// Large enough for several threads.
const SIZES: [usize; 2] = [96, 160];
const SAMPLES: usize = 24;

pub(super) fn check<D: PulsedDevice>(device: &D, report: &mut Report) -> Result<()> {
    let first = trained(device)?;
    let again = trained(device)?;
    report.expect(same(&first, &again), || "equal calls give other bits".to_owned());
    threads(device, &first, report);
    resume(device, &first, report)?;
    refused(first, report);
    faults(device, report)
}

fn inputs() -> [Vec<f32>; 2] {
    [values(SAMPLES * SIZES[1], 1.0, 1), values(SAMPLES * SIZES[0], 1.0, 2)]
}

/// A tile after two updates and what else moves weights.
fn trained<D: PulsedDevice>(device: &D) -> Result<Tile> {
    let [x, d] = inputs();
    let mut tile = tile(device, SIZES, |_| {})?;
    tile.set_weights(&values(SIZES[0] * SIZES[1], 0.2, 3))?;
    tile.update(&x, &d, 0.02)?;
    finish(&mut tile)?;
    Ok(tile)
}

fn finish(tile: &mut Tile) -> Result<()> {
    let [x, d] = inputs();
    tile.update(&x, &d, 0.02)?;
    tile.diffuse()?;
    tile.decay(1.0)?;
    tile.reset_columns(0, 3, 0.5)
}

fn same(a: &Tile, b: &Tile) -> bool {
    let bits = |tile: &Tile| tile.weights().iter().map(|w| w.to_bits()).collect::<Vec<_>>();
    bits(a) == bits(b)
}

fn threads<D: PulsedDevice>(device: &D, first: &Tile, report: &mut Report) {
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let found = pool.ok().map(|pool| pool.install(|| trained(device)));
        let fits = found.is_none_or(|tile| tile.is_ok_and(|tile| same(first, &tile)));
        report.expect(fits, || format!("a pool of {threads} threads gives other bits"));
    }
}

fn resume<D: PulsedDevice>(device: &D, first: &Tile, report: &mut Report) -> Result<()> {
    let [x, d] = inputs();
    let mut tile = tile(device, SIZES, |_| {})?;
    tile.set_weights(&values(SIZES[0] * SIZES[1], 0.2, 3))?;
    tile.update(&x, &d, 0.02)?;
    let mut copy = tile.clone();
    drop(tile);
    finish(&mut copy)?;
    report.expect(same(first, &copy), || "a copy continues with other bits".to_owned());
    Ok(())
}

fn refused(mut tile: Tile, report: &mut Report) {
    let before = tile.clone();
    let [mut x, d] = inputs();
    x[5] = f32::NAN;
    let results = [
        tile.update(&x, &d, 0.1),
        tile.update(&[], &d, 0.1),
        tile.update(&d, &d, f64::NAN),
        tile.update(&d, &d, -1.0),
    ];
    let refused = results.iter().all(Result::is_err);
    report.expect(refused, || "a bad argument is accepted".to_owned());
    report.expect(same(&before, &tile), || "a refused call has changed weights".to_owned());
}

/// A kernel that panics leaves everything as it was.
fn faults<D: PulsedDevice>(device: &D, report: &mut Report) -> Result<()> {
    let [x, d] = inputs();
    for nth in [1, 500, 5000] {
        let countdown = Arc::new(AtomicUsize::new(0));
        let faulty = Faulty::new(device, &countdown);
        let mut tile = tile(&faulty, SIZES, |_| {})?;
        tile.set_weights(&values(SIZES[0] * SIZES[1], 0.2, 3))?;
        let before = tile.clone();
        countdown.store(nth, Ordering::Relaxed);
        let result = tile.update(&x, &d, 0.02);
        let happened = countdown.swap(0, Ordering::Relaxed) == 0;
        if !happened {
            continue;
        }
        report.expect(matches!(result, Err(Error::Panic(_))), || {
            format!("a panic of a rule ends as {result:?}")
        });
        report.expect(same(&before, &tile), || "a panic of a rule has changed weights".to_owned());
        let (mut tile, mut before) = (tile, before);
        tile.update(&x, &d, 0.02)?;
        before.update(&x, &d, 0.02)?;
        report.expect(same(&before, &tile), || "a panic has changed the draws after it".to_owned());
    }
    Ok(())
}
