//! Tiles and values that checks use.

use crate::config::{IoParameters, TileConfig};
use crate::devices::{CellRef, DeviceConfig, MAX_EXTRA, PlaneRef, PulsedDevice};
use crate::error::Result;
use crate::tile::Tile;

/// A tile of such devices with exact products.
pub(super) fn tile<D: PulsedDevice>(
    device: &D,
    [rows, columns]: [usize; 2],
    change: impl FnOnce(&mut TileConfig),
) -> Result<Tile> {
    let mut config = TileConfig {
        device: DeviceConfig::custom(device.clone()),
        forward: IoParameters::perfect(),
        backward: IoParameters::perfect(),
        ..TileConfig::default()
    };
    change(&mut config);
    Tile::new(rows, columns, &config, 7)
}

/// Some values of both signs, up to `size`.
pub(super) fn values(count: usize, size: f32, seed: usize) -> Vec<f32> {
    (0..count).map(|at| size * ((at + 1000 * seed) as f32 * 0.734).sin()).collect()
}

/// Constants of a cell, before [`Rule::prepare`](crate::devices::Rule::prepare).
pub(super) fn cell_of<D: PulsedDevice>(
    tile: &Tile,
    planes: &[PlaneRef<'_>],
    at: usize,
) -> Option<CellRef> {
    let device = tile.spec().device();
    let [min_bound, max_bound] = device.bounds(planes)?.at(at);
    let names = device.hidden_names();
    let plane = |name: &str| {
        let position = names.iter().position(|known| *known == name)?;
        Some(planes.get(position)?.at(at))
    };
    let mut extra = [0.0; MAX_EXTRA];
    for (value, name) in extra.iter_mut().zip(D::EXTRA) {
        *value = plane(name)?;
    }
    let (up, down) = (plane("dwmin_up")?, plane("dwmin_down")?);
    Some(CellRef { max_bound, min_bound, up, down, extra })
}
