//! Exact rank-one updates on the graphics processor.

use std::ops::Range;
use std::sync::Arc;

use super::buffers::Step;
use super::kernels::EXACT;
use super::shaders::Constant;
use super::state::{Numbers, cell_grid};
use super::tile::GpuTile;
use crate::error::Result;
use crate::memory;
use crate::pulse::Update;

impl GpuTile {
    /// Applies `w -= learning_rate d x` for some samples, one after another; a pulsed device clips
    /// after each.
    pub(super) fn exact(&mut self, batch: &Update<'_>, samples: &Range<usize>) -> Result<()> {
        let context = Arc::clone(&self.context);
        let device = batch.device;
        let (d_size, x_size) = (device.d_size(), device.x_size());
        let inputs = x_size - usize::from(batch.bias.is_some());
        let (first, count) = (samples.start, samples.len());
        let value = -(batch.learning_rate as f32);
        let numbers = Numbers { count, value, ..Numbers::default() };
        let (words, stored) = self.state.parameters(device, batch.key, &numbers)?;
        let constants = [
            Constant::Flag("BOUNDED", device.is_pulsed()),
            Constant::Flag("WRITES", device.write_noise().is_some()),
            stored,
        ];
        let step = self.guarded("updating weights", |tile| {
            let scratch = &mut tile.scratch;
            let uniform = scratch.parameters.parameters(&context, 4);
            context.write(&uniform, 0, &words.0);
            let x = scratch.trains[0].get(&context, "inputs", count * x_size)?;
            let d = scratch.trains[1].get(&context, "errors", count * d_size)?;
            let values = &batch.x[first * inputs..(first + count) * inputs];
            match batch.bias {
                None => context.write(&x, 0, values),
                Some(bias) => {
                    let mut with_bias = memory::filled(bias, count * x_size)?;
                    let rows = with_bias.chunks_exact_mut(x_size).enumerate();
                    rows.for_each(|(at, row)| {
                        row[..inputs].copy_from_slice(&values[at * inputs..][..inputs]);
                    });
                    context.write(&x, 0, &with_bias);
                }
            }
            context.write(&d, 0, &batch.d[first * d_size..(first + count) * d_size]);
            let [state, visible] = tile.state.pair();
            let pipeline = context.pipeline(&EXACT, &constants, &[])?;
            let buffers = [&tile.state.planes, &x, &d, state, visible];
            let group = context.bind(&pipeline, &uniform, &buffers);
            let grid = cell_grid(device);
            Ok(Step { pipeline, group, parameters: 0, grid })
        })?;
        self.submit("updating weights", &[step])
    }
}
