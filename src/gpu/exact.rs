//! Exact rank-one updates on the graphics processor.

use std::ops::Range;
use std::sync::Arc;

use super::devices::Devices;
use super::job::Job;
use super::kernels::EXACT;
use super::shaders::Constant;
use super::state::{Numbers, Window};
use crate::error::Result;
use crate::memory;
use crate::pulse::source::Source;
use crate::rng::Key;

impl Devices<'_> {
    /// Applies `w -= rate d x` for some samples, one after another; a pulsed device clips after each. `key`
    /// is that of the write noise.
    pub(super) fn exact(
        &mut self,
        source: &Source<'_>,
        samples: &Range<usize>,
        key: Key,
    ) -> Result<()> {
        self.run("updating weights", 1, |devices, job| {
            let (first, count) = (samples.start, samples.len());
            let context = Arc::clone(devices.context);
            let trains = &mut devices.scratch.trains;
            let x = trains[0].get(&context, "inputs", count * source.x_size)?;
            let d = trains[1].get(&context, "errors", count * source.d_size)?;
            let inputs = source.inputs();
            let values = &source.x[first * inputs..(first + count) * inputs];
            match source.bias {
                None => context.write(&x, 0, values),
                Some(bias) => {
                    let mut with_bias = memory::filled(bias, count * source.x_size)?;
                    let rows = with_bias.chunks_exact_mut(source.x_size).enumerate();
                    rows.for_each(|(at, row)| {
                        row[..inputs].copy_from_slice(&values[at * inputs..][..inputs]);
                    });
                    context.write(&x, 0, &with_bias);
                }
            }
            context.write(&d, 0, &source.d[first * source.d_size..(first + count) * source.d_size]);
            devices.exact_steps(job, [&x, &d], count, -(source.rate as f32), key, None)
        })
    }

    /// Adds `factor d x` for `count` samples in buffers, unless `wanted` holds a 0.
    pub(crate) fn exact_steps(
        &self,
        job: &mut Job,
        [x, d]: [&wgpu::Buffer; 2],
        count: usize,
        factor: f32,
        key: Key,
        wanted: Option<&wgpu::Buffer>,
    ) -> Result<()> {
        let Self { context, state, device, .. } = self;
        let numbers = Numbers { count, value: factor, ..Numbers::default() };
        let (words, stored) = state.parameters(device, key, &numbers)?;
        let constants = [
            Constant::Flag("BOUNDED", device.is_pulsed()),
            Constant::Flag("WRITES", device.write_noise().is_some()),
            Constant::Flag("CONDITIONAL", wanted.is_some()),
            stored,
        ];
        let pipeline = context.pipeline(&EXACT, &constants, &[])?;
        let [weights, visible] = state.pair();
        let wanted = wanted.unwrap_or(&state.planes);
        let buffers = [&state.planes, x, d, weights, visible, wanted];
        job.add(context, pipeline, &words.0, &buffers, Window::whole(device).grid());
        Ok(())
    }
}
