//! Parameter sets of published devices and systems.
//!
//! Each function gives a configuration that may be changed and handed to a tile. Names are those of the
//! Python package without `Preset`; one table, `src/presets/table.json`, has the values of both.
//!
//! ```
//! use mho_core::presets;
//! use mho_core::unit_cells::CellTile;
//! use mho_core::Tile;
//!
//! # fn main() -> mho_core::Result<()> {
//! let one_device = Tile::new(4, 8, &presets::ec_ram(), 1)?;
//! let tiki_taka = CellTile::new(4, 8, &presets::tiki_taka_ec_ram(), 1)?;
//! # Ok(())
//! # }
//! ```

mod cells;
mod devices;
mod inference;
mod parameters;
mod training;

pub use cells::pcm_unit_cell;
pub use devices::*;
pub use inference::*;
pub use parameters::*;
pub use training::*;
