//! Kernels on threads of the embedder. A process of its own: a team is that of all calls of one.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, ThreadId};

use mho_core::devices::DeviceConfig;
use mho_core::par::{self, Team};
use mho_core::tile::Pass;
use mho_core::{Error, Tile, TileConfig, hooks};

static REGIONS: AtomicUsize = AtomicUsize::new(0);
static USED: Mutex<Option<HashSet<ThreadId>>> = Mutex::new(None);

/// Comes with another number of threads each time, more than asked for or only the calling one.
struct Whimsical;

impl Team for Whimsical {
    fn name(&self) -> &str {
        "whimsical"
    }

    fn threads(&self) -> usize {
        3
    }

    fn worth_ns(&self) -> f64 {
        1000.0
    }

    fn run(&self, threads: usize, work: &(dyn Fn() + Sync)) {
        let region = REGIONS.fetch_add(1, Ordering::Relaxed);
        let work = || {
            USED.lock().unwrap().get_or_insert_default().insert(thread::current().id());
            work();
        };
        thread::scope(|scope| {
            for _ in 1..[1, threads, threads + 4][region % 3] {
                scope.spawn(work);
            }
            work();
        });
    }
}

/// Bits of everything that a tile with a device of that name does.
fn bits(name: &str) -> Vec<u32> {
    const ROWS: usize = 70;
    const COLUMNS: usize = 90;
    const SAMPLES: usize = 20;
    let device = DeviceConfig::pulsed_default(name).unwrap();
    let config = TileConfig::default().with(|p| p.device = device);
    let mut tile = Tile::new(ROWS, COLUMNS, &config, 5).unwrap();
    tile.set_weights_uniform(-0.3, 0.3).unwrap();
    let wave = |len: usize| (0..len).map(|at| (at as f32 * 0.7).sin()).collect::<Vec<_>>();
    let (x, d) = (wave(SAMPLES * COLUMNS), wave(SAMPLES * ROWS));
    let (mut y, mut g) = (vec![0.0; d.len()], vec![0.0; x.len()]);
    tile.forward(&x, &mut y, Pass::Train).unwrap();
    tile.backward(&d, &mut g, Pass::Train).unwrap();
    tile.update(&x, &d, 0.05).unwrap();
    [&y, &g, tile.weights()].into_iter().flatten().map(|value| value.to_bits()).collect()
}

/// One test for all, for the team stays.
#[test]
fn teams() {
    let names = DeviceConfig::PULSED;
    par::set_num_threads(1).unwrap();
    let alone: Vec<_> = names.iter().map(|name| bits(name)).collect();

    // The pool that the caller is in, however few threads it has.
    par::set_num_threads(5).unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let inside: Vec<_> = pool.install(|| names.iter().map(|name| bits(name)).collect());
    assert!(inside == alone);
    // A pool of our own beside the calling thread.
    assert_eq!(par::team_name(), "rayon");
    let own: Vec<_> = names.iter().map(|name| bits(name)).collect();
    assert!(own == alone);

    assert!(par::set_team(Box::new(Whimsical)));
    assert!(!par::set_team(Box::new(Whimsical)), "the first one stays");
    assert_eq!(par::team_name(), "whimsical");
    for threads in [5, 2] {
        par::set_num_threads(threads).unwrap();
        let found: Vec<_> = names.iter().map(|name| bits(name)).collect();
        assert!(found == alone, "{threads} threads");
    }
    assert!(USED.lock().unwrap().as_ref().unwrap().len() > 3, "its threads are used");

    // A panic in one of its threads comes back in the calling one, and changes nothing.
    let mut tile = Tile::new(70, 90, &TileConfig::default(), 5).unwrap();
    let before = tile.weights().to_vec();
    let (x, d) = (vec![1.0; 20 * 90], vec![1.0; 20 * 70]);
    for nth in 1..4 {
        hooks::panic_in_block(nth);
        let result = tile.update(&x, &d, 0.1);
        assert!(matches!(result, Err(Error::Panic(_))), "{nth}: {result:?}");
        assert_eq!(tile.weights(), before);
    }
    hooks::panic_in_block(0);
    tile.update(&x, &d, 0.1).unwrap();
    assert_ne!(tile.weights(), before);
}
