//! The generator on the graphics processor, to compare it with [`crate::rng`].

use super::buffers::{PARAMETER_BYTES, Reused, Step};
use super::context::Context;
use super::kernels::DRAWS;
use super::words::Words;
use crate::error::Result;
use crate::rng::{Key, Stream};

impl Context {
    /// Words and standard normals of the first `columns` columns in `row` and `block`.
    ///
    /// # Errors
    /// [`Error::Backend`](crate::Error::Backend) when the device fails.
    pub fn draws(
        &self,
        key: Key,
        stream: Stream,
        [row, block]: [u32; 2],
        columns: usize,
    ) -> Result<(Vec<u32>, Vec<f32>)> {
        let mut words = Words::default();
        words.key(key).word(stream as u32).word(row).word(block).word(columns as u32);
        words.0.resize(PARAMETER_BYTES / 4, 0);
        let out = self.storage("draws", 2 * columns)?;
        self.guard("drawing", || {
            let uniform = Reused::default().parameters(self, 1);
            self.write(&uniform, 0, &words.0);
            let pipeline = self.pipeline(&DRAWS, &[], &[])?;
            let group = self.bind(&pipeline, &uniform, &[&out]);
            // 16 evaluations per 64 columns.
            let grid = [(columns.div_ceil(64) * 16).div_ceil(64) as u32, 1, 1];
            self.submit(&[Step { pipeline, group, parameters: 0, grid }], None, &[]);
            Ok(())
        })?;
        let mut values = vec![0u32; 2 * columns];
        self.download(&out, &mut Reused::default(), &mut values)?;
        let normals = values.split_off(columns).into_iter().map(f32::from_bits).collect();
        Ok((values, normals))
    }
}
