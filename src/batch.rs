//! Products that allocate their outputs.

use crate::error::Result;
use crate::memory;
use crate::tile::{Pass, Tile};
use crate::unit_cells::CellTile;

macro_rules! batches {
    ($($tile:ident),*) => {
        $(impl $tile {
            /// Number of inputs, without that of an analog bias.
            #[must_use]
            pub fn inputs(&self) -> usize {
                self.spec().x_size() - usize::from(self.spec().analog_bias())
            }

            /// Outputs `[samples, outputs]` for inputs `[samples, inputs]`, see
            #[doc = concat!("[`", stringify!($tile), "::forward`].")]
            ///
            /// # Errors
            /// As there.
            pub fn forward_batch(&mut self, x: &[f32], pass: Pass) -> Result<Vec<f32>> {
                let (d_size, inputs) = (self.spec().d_size(), self.inputs());
                let mut y = memory::filled(0.0, x.len() / inputs.max(1) * d_size)?;
                self.forward(x, &mut y, pass)?;
                Ok(y)
            }

            /// Products `[samples, inputs]` of the transpose with `[samples, outputs]`, see
            #[doc = concat!("[`", stringify!($tile), "::backward`].")]
            ///
            /// # Errors
            /// As there.
            pub fn backward_batch(&mut self, d: &[f32], pass: Pass) -> Result<Vec<f32>> {
                let (d_size, inputs) = (self.spec().d_size(), self.inputs());
                let mut g = memory::filled(0.0, d.len() / d_size * inputs)?;
                self.backward(d, &mut g, pass)?;
                Ok(g)
            }
        })*
    };
}

batches! { Tile, CellTile }
