//! Writes of values that only the graphics processor knows: the scale of their pulses follows from the
//! largest of them.

use super::super::schedule::Write;
use super::super::spec::CellSpec;
use super::kernels::{EXACT, WRITE, write_constants};
use super::resident::Resident;
use crate::config::UpdateParameters;
use crate::error::Result;
use crate::gpu::exact::Way;
use crate::gpu::job::Job;
use crate::gpu::pulses::{Mode, Pulses};
use crate::gpu::state::Window;
use crate::gpu::words::Words;
use crate::pulse::positions::{Kind, Positions};
use crate::pulse::scale::{bin_width, check_length, free_slots};
use crate::pulse::trains::SLICE;
use crate::rng::Key;

/// Values on the lines across one line, to be written to the leaves of a node.
pub(super) struct LineWrite<'a> {
    pub(super) write: &'a Write,
    /// Whether the line is a column, and its number.
    pub(super) is_column: bool,
    pub(super) line: usize,
    /// One value for each crosspoint of the line.
    pub(super) values: &'a wgpu::Buffer,
    /// Learning rate.
    pub(super) rate: f64,
    pub(super) parameters: &'a UpdateParameters,
}

/// Dispatches of a write to so many leaves.
pub(super) fn most_steps(leaves: usize) -> usize {
    3 + leaves
}

impl LineWrite<'_> {
    /// Adds the dispatches. The keys are those of the call.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for a rate that asks for trains that are too long.
    pub(super) fn add(
        &self,
        resident: &mut Resident,
        spec: &CellSpec,
        job: &mut Job,
        key: Key,
    ) -> Result<()> {
        let Self { write, parameters, .. } = *self;
        let granularity = spec.nodes[write.node].granularity;
        if parameters.pulse_type.has_trains() && granularity > 0.0 {
            check_length(parameters, granularity, self.rate.abs())?;
        }
        let own = |node: usize| key.part(node as u8, write.event);
        let mode = Mode::of(parameters.pulse_type).filter(|_| !spec.flows());
        let free = mode.and_then(|_| free_slots(parameters, granularity, self.rate.abs()));
        let slots = free.unwrap_or(parameters.desired_bl as f64) as u32;
        let slices =
            if mode == Some(Mode::Stochastic) { slots.div_ceil(SLICE) as usize } else { 1 };
        let sizes = [spec.x_size, spec.d_size];
        let (context, scratch) = (resident.context.clone(), &mut resident.scratch);
        let rows = scratch.slices[0].get(&context, "slices", 4 * slices)?;
        let places = scratch.slices[2].get(&context, "slices", 4 * slices)?;
        let mut sides = Vec::with_capacity(2);
        for (which, lines) in sizes.into_iter().enumerate() {
            sides.push(match mode {
                Some(Mode::Stochastic) => {
                    scratch.thresholds[which].get(&context, "probabilities", 2 * lines)?
                }
                _ => scratch.trains[which].get(&context, "pulses of lines", lines)?,
            });
        }
        let pipeline = context.pipeline(
            &WRITE,
            &write_constants(mode.map_or(EXACT, |mode| mode as u32)),
            &[],
        )?;
        let words = self.words(spec, own(write.node), [free.unwrap_or(0.0), slices as f64])?;
        let wanted = resident.lines.wanted.clone();
        let buffers = [self.values, &wanted, &rows, &places, &sides[0], &sides[1]];
        job.add(&context, pipeline, &words, &buffers, [1, 1, 1]);
        if mode == Some(Mode::Stochastic)
            && let Some(leaf) = write.leaves.first()
        {
            // Their draws belong to the node, not to a leaf.
            let mut devices = resident.devices(spec, *leaf);
            for (which, side) in sides.iter_mut().enumerate() {
                let count = [sizes[which], slices];
                *side = devices.trains(job, which == 1, count, [&rows, &*side], own(write.node))?;
            }
        }
        for leaf in &write.leaves {
            let of = &spec.leaves[*leaf];
            let devices = resident.devices(spec, *leaf);
            let trains = [&sides[0], &sides[1]];
            let Some(mode) = mode else {
                let factor = -(self.rate as f32);
                let way = Way::new(parameters, of.turn);
                devices.exact_steps(job, trains, 1, factor, way, own(of.node), Some(&wanted))?;
                continue;
            };
            let pulses = Pulses {
                mode,
                turn: of.turn,
                summed: !parameters.exact_pulses,
                count: slices,
                slices: &places,
                trains,
                counts: None,
                window: Some(self.window(spec)),
            };
            devices.pulses(job, &pulses, own(of.node))?;
        }
        Ok(())
    }

    /// The cells of the line.
    fn window(&self, spec: &CellSpec) -> Window {
        if self.is_column {
            Window { columns: [self.line, 1], rows: [0, spec.d_size] }
        } else {
            Window { columns: [0, spec.x_size], rows: [self.line, 1] }
        }
    }

    /// Parameters in the order of `struct Params` in `write.wgsl`.
    fn words(&self, spec: &CellSpec, key: Key, [free, slices]: [f64; 2]) -> Result<Vec<u32>> {
        let parameters = self.parameters;
        let granularity = spec.nodes[self.write.node].granularity;
        let is_implicit = Mode::of(parameters.pulse_type) == Some(Mode::Implicit);
        let [x_res, d_res] = if is_implicit {
            [parameters.x_res_implicit, parameters.d_res_implicit]
        } else {
            [parameters.res; 2]
        };
        let shortens = parameters.update_bl_management;
        let mut words = Words::default();
        words.key(key).word(spec.d_size as u32).word(spec.x_size as u32);
        words.word(self.line as u32).flag(self.is_column);
        // Without steps there are no pulses that it could be the number of.
        let pulses = if granularity > 0.0 { self.rate.abs() / granularity } else { 0.0 };
        words.float(pulses as f32).float(parameters.desired_bl as f32);
        words.float(free as f32).float(parameters.um_grad_scale as f32);
        words.flag(parameters.update_management || shortens).flag(shortens);
        words.float(bin_width(x_res) as f32).float(bin_width(d_res) as f32);
        words.flag(parameters.sto_round).flag(self.rate < 0.0).word(slices as u32);
        let positions = Positions::new(0, 0)?;
        for kind in [Kind::Pulses, Kind::CellSums] {
            words.word(positions.column(kind, 0));
        }
        Ok(words.0)
    }
}
