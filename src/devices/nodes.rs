//! Values at equidistant nodes, and the linear interpolation between them.

use serde::{Deserialize, Serialize};

/// Largest number of nodes: a power of two, for the mask, whose two tables fill a quarter of a
/// first-level cache. Measured responses are given by tens of nodes.
pub const MAX_NODES: usize = 1024;

/// Values at nodes that divide the range of a weight evenly.
///
/// The lookup table has a fixed size: an index that is masked to it needs no check, so that lookups
/// vectorise. A list that is longer is kept for the message that refuses it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Vec<f64>", into = "Vec<f64>")]
pub struct Nodes {
    values: Vec<f64>,
    table: Box<[f32; MAX_NODES]>,
}

impl PartialEq for Nodes {
    fn eq(&self, other: &Self) -> bool {
        self.values == other.values
    }
}

impl From<Vec<f64>> for Nodes {
    fn from(values: Vec<f64>) -> Self {
        let mut table = Box::new([0.0; MAX_NODES]);
        for (slot, value) in table.iter_mut().zip(&values) {
            *slot = *value as f32;
        }
        Self { values, table }
    }
}

impl From<Nodes> for Vec<f64> {
    fn from(nodes: Nodes) -> Self {
        nodes.values
    }
}

impl Nodes {
    /// The values.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// Largest change of the slope at a node.
    pub(super) fn bend(&self) -> f32 {
        let bends =
            self.values.windows(3).map(|three| (three[0] - 2.0 * three[1] + three[2]).abs());
        bends.fold(0.0, f64::max) as f32
    }

    pub(super) fn table(&self) -> &[f32; MAX_NODES] {
        &self.table
    }
}

/// Value at node `at` and its difference to the next one.
#[inline(always)]
pub(super) fn piece(table: &[f32; MAX_NODES], at: u32) -> (f32, f32) {
    let low = table[at as usize & (MAX_NODES - 1)];
    let high = table[(at as usize + 1) & (MAX_NODES - 1)];
    (low, high - low)
}
