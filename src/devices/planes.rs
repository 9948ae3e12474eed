//! One hidden parameter of all cells of a tile, and what follows from a change of them.

use super::device::{Device, position};
use super::lifecycle::Cells;
use crate::error::Result;

/// Values of one hidden parameter, owned.
#[derive(Debug, Clone, PartialEq)]
pub enum Plane {
    /// Equal in all cells.
    Constant(f32),
    /// One value per cell, `[d_size, x_size]` row-major.
    Values(Vec<f32>),
}

/// Values of one hidden parameter, borrowed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PlaneRef<'a> {
    /// Equal in all cells.
    Constant(f32),
    /// One value per cell, `[d_size, x_size]` row-major.
    Values(&'a [f32]),
}

impl Plane {
    /// Borrows the values.
    #[must_use]
    pub fn as_ref(&self) -> PlaneRef<'_> {
        match self {
            Self::Constant(value) => PlaneRef::Constant(*value),
            Self::Values(values) => PlaneRef::Values(values),
        }
    }
}

impl PlaneRef<'_> {
    /// Value of the cell at flat position `at`.
    #[must_use]
    #[inline(always)]
    pub fn at(&self, at: usize) -> f32 {
        match self {
            Self::Constant(value) => *value,
            Self::Values(values) => values[at],
        }
    }

    /// Whether the values fit a tile with `cells` cells.
    #[must_use]
    pub fn fits(&self, cells: usize) -> bool {
        match self {
            Self::Constant(_) => true,
            Self::Values(values) => values.len() == cells,
        }
    }
}

impl Device {
    /// Brings weights into bounds that were changed: the persistent ones where there are some,
    /// whose noise stays, else the visible ones.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when the slices do not fit.
    pub fn enter_bounds(&self, cells: Cells<'_>) -> Result<()> {
        self.check_cells(&cells)?;
        self.clip(cells.persistent.unwrap_or(cells.weights), cells.planes);
        Ok(())
    }

    /// `dw_min` that the steps in `planes` show, if the configuration says another one; `None` if
    /// it does not, or if there are no steps. Asymmetric and stuck devices lower the mean step.
    #[must_use]
    pub fn unexpected_dw_min(&self, planes: &[PlaneRef<'_>]) -> Option<f64> {
        let pulsed = self.config().pulsed()?;
        let count = self.d_size() * self.x_size();
        let step = |plane: usize, at: usize| f64::from(planes[plane].at(at).abs());
        let sum: f64 = (0..count).map(|at| step(position::UP, at) + step(position::DOWN, at)).sum();
        let mean = sum / (2 * count) as f64;
        let share = (1.0 - 0.5 * pulsed.up_down.abs()) * (1.0 - pulsed.corrupt_devices_prob);
        let deviation = (mean / pulsed.dw_min - share).abs();
        // Steps in f32 and few cells must not look like another configuration.
        let is_expected = deviation <= (2.0 * pulsed.dw_min_dtod).max(1e-3);
        (!is_expected && share > 0.0 && mean > 0.0).then(|| mean / share)
    }
}
