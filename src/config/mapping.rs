//! Parameters of how the weights of a layer are put on tiles.

use super::{finite, params};
use crate::error::Result;

params! {
    /// How weights are scaled, split and biased on tiles.
    pub struct MappingParameter {
        /// Whether the bias is added digitally; otherwise it is the last column of the tile. A layer of
        /// several tiles has a digital one.
        digital_bias: bool = true;
        /// Largest absolute tile weight after weights are set; zero or less is no scaling.
        weight_scaling_omega: real = 0.0;
        /// One mapping scale per output instead of one per tile.
        weight_scaling_columnwise: bool = false;
        /// Divide the learning rate by the mean mapping scale.
        weight_scaling_lr_compensation: bool = false;
        /// Add a trainable output scale. Layers of the crate that learn refuse it.
        learn_out_scaling: bool = false;
        /// One trainable scale per output instead of one per tile.
        out_scaling_columnwise: bool = false;
        /// Most inputs of a tile; zero or less is no limit.
        max_input_size: i64 = 512;
        /// Most outputs of a tile; zero or less is no limit.
        max_output_size: i64 = 512;
    }
}

impl MappingParameter {
    /// Checks every value; `path` is where the group stands.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the field.
    pub fn validate(&self, path: &str) -> Result<()> {
        finite(path, "weight_scaling_omega", self.weight_scaling_omega)
    }
}
