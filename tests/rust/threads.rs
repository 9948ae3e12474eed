//! All public types can be sent to and shared with other threads, and callers choose the threads.

use mho_core::compound::CustomCompound;
use mho_core::config::{
    DriftParameters, InputRangeParameter, IoParameters, MappingParameter, ModifierParameters,
    PrePostProcessingParameter, SimpleDriftParameters, WeightClipParameter, WeightClipType,
    WeightRemapParameter, WeightRemapType,
};
use mho_core::devices::{
    Bounds, Cell, CellDraws, CellRef, Cells, CustomDevice, Device, DeviceConfig, DriftState, Nodes,
    Plane, PlaneRef, PulsedParameters, Reach, Response, WeightClip,
};
use mho_core::inference::{InferenceConfig, InferenceTile};
use mho_core::layer::{InputRange, Linear, LinearParameters, TileShape};
use mho_core::modifier::Modifier;
use mho_core::mvm::periphery::Outputs;
use mho_core::mvm::{
    Axis, Columns, Grid, GridTile, Images, Inputs, Layout, Lines, Mvm, OneLine, Patches, Request,
};
use mho_core::pulse::counts::Sample;
use mho_core::pulse::scale::Scaling;
use mho_core::pulse::{Update, counts};
use mho_core::rng::{Draw, Key, Stream};
use mho_core::testing::Report;
use mho_core::tile::Pass;
use mho_core::unit_cells::{
    Batch, CellConfig, CellSpec, CellState, CellTile, CellTileConfig, CellTileSpec, Crosspoint,
    Entry, OwnedEntry, Slot,
};
use mho_core::{Error, Tile, TileConfig, TileSpec, UpdateParameters};

const fn shared<T: Send + Sync>() {}

macro_rules! all_are_shared {
    ($($type:ty),* $(,)?) => {
        const _: () = { $(shared::<$type>();)* };
    };
}

all_are_shared! {
    Axis, Batch<'_>, Bounds<'_>, Cell, CellConfig, CellDraws, CellRef, CellSpec, CellState<'_>, CellTile,
    CellTileConfig, CellTileSpec, Cells<'_>, Columns<'_>, Crosspoint, CustomCompound<()>, CustomDevice, Device,
    DeviceConfig, Draw, DriftParameters, DriftState<'_>, Entry<'_>, Error, Grid<'_>, GridTile<'_>, Images<'_>,
    InputRange, InputRangeParameter, Inputs<'_>, InferenceConfig, InferenceTile, IoParameters, Key, Layout<'_>,
    Linear, Linear<CellTile>, Linear<InferenceTile>,
    LinearParameters, Lines<'_>, MappingParameter, Modifier, ModifierParameters, Mvm, Nodes, OneLine, Outputs<'_>,
    OwnedEntry, Pass, Patches, Plane, PlaneRef<'_>, PrePostProcessingParameter, PulsedParameters, Reach, Report, Request<'_>, Response,
    Sample<'_>, Scaling, SimpleDriftParameters, Slot, Stream, Tile, TileConfig, TileShape, TileSpec, Update<'_>,
    UpdateParameters, WeightClip, WeightClipParameter, WeightClipType, WeightRemapParameter, WeightRemapType,
}

#[cfg(feature = "safetensors")]
all_are_shared! { mho_core::layer::InferenceLinear }

#[cfg(feature = "wgpu")]
all_are_shared! { mho_core::gpu::Context, mho_core::gpu::GpuTile, mho_core::unit_cells::gpu::GpuCellTile }

/// Errors can travel with those of other crates.
#[test]
fn errors_are_boxed() {
    let error: Box<dyn std::error::Error + Send + Sync> =
        Tile::new(0, 1, &TileConfig::default(), 1).unwrap_err().into();
    assert!(error.to_string().contains("out_size"));
    let _ = counts::counts;
}

/// A pool of the caller does the work, and its threads only.
#[test]
fn the_pool_of_the_caller_is_used() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let outside = Tile::new(200, 300, &TileConfig::default(), 4);
    let inside = pool.install(|| {
        assert_eq!(rayon::current_num_threads(), 2);
        Tile::new(200, 300, &TileConfig::default(), 4)
    });
    let x = vec![0.5; 64 * 300];
    let y = outside.unwrap().forward_batch(&x, Pass::Test).unwrap();
    let mut inside = inside.unwrap();
    assert_eq!(pool.install(|| inside.forward_batch(&x, Pass::Test)).unwrap(), y);
    // The thread of this test belongs to no pool afterwards.
    assert!(rayon::current_thread_index().is_none());
}
