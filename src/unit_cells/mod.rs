//! Cells of several devices at each crosspoint, and training algorithms that live in them.
//!
//! What a call does (which device gets the pulses of which sample, when a line is read, written, reset)
//! follows from counters, batch and draws alone. So a *plan* is made first, and then its stages are carried
//! out on the state, which the caller owns, in one transaction.
//!
//! In the order in which it is best read:
//!
//! | file | what it is for |
//! | --- | --- |
//! | `config` | what a configuration says |
//! | `vector` | which devices an update reaches |
//! | `one_sided` | pairs that are pulsed upwards only, and their refresh |
//! | `transfer` | from a fast device to slow ones: when and how much |
//! | `buffer` | what is kept of transferred values, and what is written |
//! | `chopper` | signs that flip, and a reference on the fly |
//! | `mixed` | digital accumulation |
//! | `mirror` | a device that is the mirror image of another one |
//! | `spec` | the tree of cells and devices |
//! | `counters`, `slots`, `state` | what has to survive, its names, and how it is borrowed |
//! | `construct` | a new cell |
//! | `sum`, `weights` | the weight of a cell, and operations on the weights |
//! | `schedule`, `plan` | what one call does |
//! | `batch`, `progress`, `writer`, `row`, `host`, `update` | the call on the processor |
//! | `tile` | a tile of cells that owns its state |
//! | `gpu` | a tile of cells on a graphics processor |

mod batch;
mod buffer;
mod chopper;
mod config;
mod construct;
mod counters;
#[cfg(feature = "wgpu")]
pub mod gpu;
mod host;
mod mirror;
mod mixed;
mod one_sided;
mod plan;
mod progress;
mod row;
mod schedule;
mod slots;
mod spec;
mod state;
mod sum;
mod tile;
mod transfer;
mod update;
mod vector;
mod weights;
mod writer;

pub use batch::Batch;
pub use config::{
    BufferedTransferCompound, CellConfig, ChoppedTransferCompound, Crosspoint,
    DynamicTransferCompound, MixedPrecisionCompound, OneSidedUnitCell, ReferenceUnitCell,
    TransferCompound, VectorUnitCell, VectorUnitCellUpdatePolicy,
};
pub use construct::OwnedEntry;
pub use slots::{Slot, SlotKind};
pub use spec::CellSpec;
pub use state::{CellState, Entry};
pub use tile::{CellTile, CellTileConfig, CellTileSpec};
pub use update::update;
