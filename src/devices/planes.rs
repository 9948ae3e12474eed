//! One hidden parameter of all cells of a tile.

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
    /// All values, of a constant one.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        match self {
            Self::Constant(value) => std::slice::from_ref(value),
            Self::Values(values) => values,
        }
    }

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
