//! Tiles of cells in the memory of a graphics processor.
//!
//! The plan of a call is made by the host, as for a call there; then its stages are carried out on what is
//! resident. Every kernel has a twin in the rest of this module, with the same order of operations where a
//! value decides what happens.
//!
//! | file | what it is for |
//! | --- | --- |
//! | `resident` | what a tile has there |
//! | `kernels` | the kernels, and checks of them |
//! | `write` | pulses for values that only the graphics processor knows |
//! | `engine` | the stages of a plan |
//! | `tile` | a tile of cells |

mod engine;
mod kernels;
mod resident;
mod tile;
mod write;

pub use kernels::sources;
pub use tile::GpuCellTile;
