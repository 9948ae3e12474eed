//! Updates without pulses on the graphics processor: exact ones, and those with infinitely fine steps.

use std::ops::Range;
use std::sync::Arc;

use super::devices::Devices;
use super::job::Job;
use super::kernels::{EXACT, FLOW};
use super::shaders::{Constant, compose, flags, turn};
use super::state::{Numbers, Window};
use crate::config::{UpdateMode, UpdateParameters};
use crate::devices::Response;
use crate::error::Result;
use crate::memory;
use crate::pulse::source::{Source, Turn};
use crate::rng::Key;

/// How weights follow updates without pulses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    /// Which changes a device takes, where steps are infinitely fine.
    pub turn: Turn,
    pub mode: UpdateMode,
    /// Whether updates are exact whatever the device.
    pub exact: bool,
}

impl Way {
    pub(crate) fn new(parameters: &UpdateParameters, turn: Turn) -> Self {
        let exact = !parameters.pulse_type.has_trains();
        Self { turn, mode: parameters.update_mode, exact }
    }
}

/// Multiplies rows of values by the signs of their lines, if there are some.
fn multiply(values: &mut [f32], width: usize, signs: &[i8]) {
    for row in values.chunks_exact_mut(width) {
        for (value, sign) in row.iter_mut().zip(signs) {
            *value *= f32::from(*sign);
        }
    }
}

/// Every composition of the kernel of exact updates, for checks.
pub(super) fn sources() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for bits in 0..8 {
        let mut constants = flags(&["BOUNDED", "WRITES", "CONDITIONAL"], bits);
        constants.push(Constant::Word("STORED", 0b1111));
        all.push((format!("exact {constants:?}"), compose(&EXACT, &constants, &[])));
    }
    all
}

/// Every composition of the kernel of infinitely fine steps with the response of one device.
pub(super) fn flow_sources(name: &str, response: &Response) -> Vec<(String, String)> {
    let composition = |bits: u32| {
        let mut constants = flags(&["EULER", "WRITES", "CONDITIONAL"], bits);
        constants.push(Constant::Word("TURN", bits % 3));
        constants.push(Constant::Word("STORED", 0b1100_1111));
        let source = compose(&FLOW, &constants, &response.flow_parts());
        (format!("flow {name} {constants:?}"), source)
    };
    (0..8).map(composition).collect()
}

impl Devices<'_> {
    /// Applies `w -= rate d x` for some samples, one after another, or lets the weights flow by as much; a
    /// pulsed device clips after each. `key` is that of the write noise.
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
            let errors = &source.d[first * source.d_size..(first + count) * source.d_size];
            let [of_x, of_d] = source.signs;
            if source.bias.is_none() && of_x.is_empty() {
                context.write(&x, 0, values);
            } else {
                let mut all = memory::filled(source.bias.unwrap_or(0.0), count * source.x_size)?;
                let rows = all.chunks_exact_mut(source.x_size).enumerate();
                rows.for_each(|(at, row)| {
                    row[..inputs].copy_from_slice(&values[at * inputs..][..inputs]);
                });
                multiply(&mut all, source.x_size, of_x);
                context.write(&x, 0, &all);
            }
            if of_d.is_empty() {
                context.write(&d, 0, errors);
            } else {
                let mut all = memory::copied(errors)?;
                multiply(&mut all, source.d_size, of_d);
                context.write(&d, 0, &all);
            }
            let way = Way::new(source.parameters, source.turn);
            devices.exact_steps(job, [&x, &d], count, -(source.rate as f32), way, key, None)
        })
    }

    /// Adds `factor d x` for `count` samples in buffers, or flows by as much, unless `wanted` holds a 0.
    #[allow(clippy::too_many_arguments, reason = "each of them is a number of its own")]
    pub(crate) fn exact_steps(
        &self,
        job: &mut Job,
        [x, d]: [&wgpu::Buffer; 2],
        count: usize,
        factor: f32,
        way: Way,
        key: Key,
        wanted: Option<&wgpu::Buffer>,
    ) -> Result<()> {
        let Self { context, state, device, .. } = self;
        let first = device.first_extra();
        let planes = [first, first + 1, first + 2, first + 3];
        let flows = device.flows() && !way.exact;
        let planes = if flows { &planes[..] } else { &[] };
        let numbers = Numbers { planes, count, value: factor, ..Numbers::default() };
        let (words, stored) = state.parameters(device, key, &numbers)?;
        let shared = [
            Constant::Flag("WRITES", device.write_noise().is_some()),
            Constant::Flag("CONDITIONAL", wanted.is_some()),
            stored,
        ];
        let pipeline = match &state.response {
            Some(response) if flows => {
                let own = [Constant::Flag("EULER", way.mode == UpdateMode::Euler), turn(way.turn)];
                context.pipeline(&FLOW, &[&own[..], &shared].concat(), &response.flow_parts())?
            }
            _ => {
                let own = [Constant::Flag("BOUNDED", device.is_pulsed())];
                context.pipeline(&EXACT, &[&own[..], &shared].concat(), &[])?
            }
        };
        let [weights, visible] = state.pair();
        let wanted = wanted.unwrap_or(&state.planes);
        let buffers = [&state.planes, x, d, weights, visible, wanted];
        job.add(context, pipeline, &words.0, &buffers, Window::whole(device).grid());
        Ok(())
    }
}
