//! The stages of a plan on the processor.

use std::ops::Range;

use super::batch::Batch;
use super::buffer::check_buffer;
use super::mixed::Mixed;
use super::one_sided::{MINUS, OneSided, PLUS};
use super::plan::Plan;
use super::progress::Progress;
use super::row::{ROW_NS, RowTask};
use super::schedule::{Line, Run, Stage, Write};
use super::spec::{CellSpec, Content, Rule};
use super::state::lines_of;
use super::sum::add;
use super::transfer::{Kind, Transfer};
use super::writer::Writer;
use crate::config::UpdateParameters;
use crate::devices::PlaneRef;
use crate::error::{Error, Result};
use crate::memory;
use crate::par::Par;
use crate::pulse::gradient;
use crate::pulse::source::{Source, Turn};
use crate::pulse::transaction::{Rows, for_each};
use crate::rng::{Key, Stream};

/// One call on the processor.
pub(super) struct Host<'a, 't> {
    pub(super) spec: &'a CellSpec,
    pub(super) batch: &'a Batch<'a>,
    pub(super) plan: &'a Plan,
    pub(super) key: Key,
    /// Hidden parameters of each leaf.
    pub(super) planes: &'a [Vec<PlaneRef<'a>>],
    /// Frozen values with their nodes.
    pub(super) lines: &'a [(usize, &'static str, &'a mut [f32])],
    /// Weight matrices, then buffers.
    pub(super) states: &'a mut [Rows<'t>],
    pub(super) progress: Progress,
}

/// Rows of one task of a sum.
const HEIGHT: usize = 16;

impl<'a> Host<'a, '_> {
    /// Runs all stages.
    pub(super) fn run(&mut self) -> Result<()> {
        let plan = self.plan;
        match &self.spec.nodes[0].content {
            Content::Cell { rule: Rule::Mixed(mixed), .. } => {
                self.accumulate(mixed)?;
            }
            _ => plan.stages.iter().try_for_each(|stage| self.stage(stage))?,
        }
        self.sum(0)
    }

    fn stage(&mut self, stage: &Stage) -> Result<()> {
        match stage {
            Stage::Pulses { leaf, run, lines, event } => {
                self.pulses(*leaf, run, lines.as_ref(), *event)
            }
            Stage::Transfer(line) => match self.spec.transfer() {
                Some(transfer) => self.transfer(transfer, line),
                None => Ok(()),
            },
            Stage::Reset { node, column, event } => {
                let leaves = self.spec.leaves_of(*node);
                let rows = memory::filled(true, self.spec.d_size)?;
                for leaf in leaves {
                    self.reset(leaf, *column, &rows, *event)?;
                }
                Ok(())
            }
            Stage::Refresh { node, first } => match &self.spec.nodes[*node].content {
                Content::Cell { members, rule: Rule::OneSided(rule), .. } => {
                    self.refresh(*node, members, rule, *first)
                }
                _ => Ok(()),
            },
            Stage::Flip { line } => {
                self.progress.flip(*line);
                Ok(())
            }
            Stage::FlipOutputs { lines } => {
                self.progress.flip_outputs(lines);
                Ok(())
            }
            // Those of mixed precision.
            Stage::Accumulate { .. } | Stage::Row { .. } => Ok(()),
        }
    }

    /// Key of a node in an event.
    fn key(&self, node: usize, event: u32) -> Key {
        self.writer().key(node, event)
    }

    /// Matrix of a leaf.
    fn matrix(&self, leaf: usize) -> usize {
        self.writer().matrix(leaf)
    }

    fn writer(&self) -> Writer<'a> {
        Writer { spec: self.spec, planes: self.planes, key: self.key }
    }

    /// Applies pulses to a leaf.
    fn apply(&mut self, leaf: usize, source: &Source<'_>, run: &Run, event: u32) -> Result<()> {
        let writer = self.writer();
        writer.apply(leaf, source, run, event, &mut self.states[writer.matrix(leaf)])?;
        self.progress.touch(self.spec, leaf);
        Ok(())
    }

    fn pulses(
        &mut self,
        leaf: usize,
        run: &Run,
        lines: Option<&Range<usize>>,
        event: u32,
    ) -> Result<()> {
        let (spec, batch, plan) = (self.spec, self.batch, self.plan);
        let [of_x, of_d] = self.progress.signs(spec, lines)?;
        let signs = [&of_x[..], &of_d];
        let source = Source {
            x: batch.x,
            x_size: spec.x_size,
            bias: batch.bias,
            d: batch.d,
            d_size: spec.d_size,
            parameters: spec.update(),
            granularity: spec.granularity(),
            rate: plan.rate,
            rates: &plan.rates,
            turn: Turn::Both,
            signs,
            key: self.key,
        };
        self.apply(leaf, &source, run, event)
    }

    /// Writes pulses for one vector update of a node.
    fn write(
        &mut self,
        write: &Write,
        [x, d]: [&[f32]; 2],
        rate: f64,
        parameters: &UpdateParameters,
    ) -> Result<()> {
        let source = self.writer().source(write, [x, d], rate, parameters);
        source.check()?;
        for leaf in &write.leaves {
            self.apply(*leaf, &source, &Run::Neighbours(0..1), write.event)?;
        }
        Ok(())
    }

    /// Reads a line of a node.
    fn read(
        &mut self,
        transfer: &Transfer,
        node: usize,
        line: usize,
        event: u32,
    ) -> Result<Vec<f32>> {
        self.sum(node)?;
        let mut values = memory::filled(0.0, transfer.read.mvm().n_out())?;
        let weights = self.states[self.spec.nodes[node].matrix].weights();
        let frozen = lines_of(self.lines, 0);
        transfer.read.read(weights, line, self.key(node, event), frozen, &mut values)?;
        Ok(values)
    }

    fn transfer(&mut self, transfer: &Transfer, line: &Line) -> Result<()> {
        let members = self.spec.members(0);
        let source = members[line.from];
        let target = self.spec.nodes[line.write.node].granularity;
        let mut values = self.read(transfer, source, line.line, line.write.event)?;
        let most = transfer.write.desired_bl as f32;
        let rate = match &transfer.kind {
            Kind::Direct => {
                values.iter_mut().for_each(|value| *value = -*value);
                line.rate
            }
            Kind::Buffered(buffer) => {
                let threshold = buffer.threshold(target);
                let h = self.buffer(line.from);
                let mut sums = self.values(h, transfer, line.line)?;
                for (h, value) in sums.iter_mut().zip(&mut values) {
                    *value = -buffer.digest(h, line.scale * *value, threshold, most);
                }
                self.set_values(h, transfer, line.line, &sums)?;
                buffer.step * target
            }
            Kind::Chopped(chopper) => {
                self.subtract_reference(transfer, line, &mut values)?;
                let h = self.buffer(0);
                let mut sums = self.values(h, transfer, line.line)?;
                let [inputs, outputs] = &self.progress.counters.signs;
                let scale = line.scale * f32::from(inputs[line.line]);
                for ((h, value), sign) in sums.iter_mut().zip(&mut values).zip(outputs) {
                    let signed = scale * f32::from(*sign) * *value;
                    *value = -chopper.digest(h, signed, most);
                }
                self.set_values(h, transfer, line.line, &sums)?;
                chopper.step * target
            }
        };
        check_buffer(&values)?;
        if !line.writes || values.iter().all(|value| *value == 0.0) {
            return Ok(());
        }
        let mut hot = memory::filled(0.0, transfer.lines)?;
        hot[line.line] = 1.0;
        let sides: [&[f32]; 2] = if transfer.columns { [&hot, &values] } else { [&values, &hot] };
        self.write(&line.write, sides, rate, &transfer.write)
    }

    /// Subtracts the reference on the fly from the values of a line, and lets its mean follow them.
    fn subtract_reference(
        &mut self,
        transfer: &Transfer,
        line: &Line,
        values: &mut [f32],
    ) -> Result<()> {
        let Some(reference) = self.spec.chopper().and_then(|chopper| chopper.reference.as_ref())
        else {
            return Ok(());
        };
        let (mean_at, past_at) = (self.buffer(1), self.buffer(2));
        let mut mean = self.values(mean_at, transfer, line.line)?;
        let past = if line.renews {
            // The mean of the period that has ended: without the read of now.
            self.set_values(past_at, transfer, line.line, &mean)?;
            memory::copied(&mean)?
        } else {
            self.values(past_at, transfer, line.line)?
        };
        for ((mean, past), value) in mean.iter_mut().zip(past).zip(values) {
            *mean = reference.averaged(*mean, *value);
            *value -= past;
        }
        self.set_values(mean_at, transfer, line.line, &mean)
    }

    /// Number of the state of a buffer.
    fn buffer(&self, number: usize) -> usize {
        self.spec.matrices + number
    }

    /// Positions of the values of a line.
    fn positions(&self, transfer: &Transfer, line: usize) -> (Range<usize>, usize) {
        let columns = self.spec.x_size;
        if transfer.columns {
            (line..self.spec.cells(), columns)
        } else {
            (line * columns..(line + 1) * columns, 1)
        }
    }

    /// The values of a line of a buffer.
    fn values(&self, state: usize, transfer: &Transfer, line: usize) -> Result<Vec<f32>> {
        let (range, step) = self.positions(transfer, line);
        let values = self.states[state].weights()[range].iter().step_by(step);
        let mut copy = memory::room(values.len())?;
        copy.extend(values);
        Ok(copy)
    }

    /// Writes the values of a line of a buffer.
    fn set_values(
        &mut self,
        state: usize,
        transfer: &Transfer,
        line: usize,
        values: &[f32],
    ) -> Result<()> {
        check_buffer(values)?;
        let (range, step) = self.positions(transfer, line);
        let (columns, d_size) = (self.spec.x_size, self.spec.d_size);
        for rows in &mut self.states[state].split(d_size)? {
            if transfer.columns {
                (0..d_size).for_each(|row| rows.save(row));
            } else {
                rows.save(range.start / columns);
            }
            let places = rows.state[range.clone()].iter_mut().step_by(step);
            places.zip(values).for_each(|(place, value)| *place = *value);
        }
        Ok(())
    }

    /// Resets some cells of a column of a leaf.
    fn reset(&mut self, leaf: usize, column: usize, chosen: &[bool], event: u32) -> Result<()> {
        let (spec, planes) = (self.spec, &self.planes[leaf]);
        let device = &spec.leaves[leaf].device;
        let key = self.key(spec.leaves[leaf].node, event);
        let (bias, bounds) = (device.reset_bias(planes), device.bounds(planes));
        let (std, noise) = (device.reset_std(), device.write_noise());
        let draw = key.stream(Stream::Reset);
        let (matrix, columns) = (self.matrix(leaf), spec.x_size);
        let mut touched = memory::filled(false, columns)?;
        touched[column] = true;
        for rows in &mut self.states[matrix].split(spec.d_size)? {
            for row in (0..spec.d_size).filter(|row| chosen[*row]) {
                rows.save(row);
                let at = row * columns + column;
                let xi = draw.normal(column as u32, row as u32, 0);
                let w = std.mul_add(xi, bias.at(at));
                rows.state[at] = match &bounds {
                    Some(bounds) => {
                        let [lower, upper] = bounds.at(at);
                        w.max(lower).min(upper)
                    }
                    None => w,
                };
                rows.refresh(row, &touched, noise, key);
            }
        }
        self.progress.touch(self.spec, leaf);
        Ok(())
    }

    /// Reads all columns of a pair, and resets and rewrites cells that are saturated.
    fn refresh(
        &mut self,
        node: usize,
        members: &[usize],
        rule: &OneSided,
        first: u32,
    ) -> Result<()> {
        let (d_size, x_size) = (self.spec.d_size, self.spec.x_size);
        let mut reads = [memory::filled(0.0, d_size)?, memory::filled(0.0, d_size)?];
        let mut writes = [memory::filled(0.0, d_size)?, memory::filled(0.0, d_size)?];
        let (mut chosen, mut hot) = (memory::filled(false, d_size)?, memory::filled(0.0, x_size)?);
        let leaves = self.spec.leaves_of(node).collect::<Vec<_>>();
        for column in 0..x_size {
            let event = first + column as u32;
            for (member, values) in members.iter().zip(&mut reads) {
                let weights = self.states[self.spec.nodes[*member].matrix].weights();
                let frozen = lines_of(self.lines, node);
                rule.read.read(weights, column, self.key(*member, event), frozen, values)?;
            }
            let mut any = false;
            for row in 0..d_size {
                let written = rule.refreshed(reads[MINUS][row], reads[PLUS][row]);
                chosen[row] = written.is_some();
                any |= chosen[row];
                let written = written.unwrap_or_default();
                (writes[MINUS][row], writes[PLUS][row]) = (written[MINUS], written[PLUS]);
            }
            if !any {
                continue;
            }
            for leaf in &leaves {
                self.reset(*leaf, column, &chosen, event)?;
            }
            hot[column] = 1.0;
            for ((leaf, member), d) in leaves.iter().zip(members).zip(&writes) {
                if d.iter().any(|value| *value != 0.0) {
                    let write = Write { node: *member, leaves: vec![*leaf], event };
                    self.write_up(&write, [&hot, d], &rule.write)?;
                }
            }
            hot[column] = 0.0;
        }
        Ok(())
    }

    /// Writes an increase to a device of a pair, as pulses up whichever of the two it is.
    fn write_up(
        &mut self,
        write: &Write,
        sides: [&[f32]; 2],
        parameters: &UpdateParameters,
    ) -> Result<()> {
        // The device for decreases takes pulses down as pulses up.
        let turn = self.spec.leaves[write.leaves[0]].turn;
        let turns = turn == Turn::OnlyDownAsUp && parameters.pulse_type.has_trains();
        self.write(write, sides, if turns { 1.0 } else { -1.0 }, parameters)
    }

    /// Makes the weights of a node the sum of those of its members, where they are not.
    fn sum(&mut self, node: usize) -> Result<()> {
        if !self.progress.take_stale(node) {
            return Ok(());
        }
        let spec = self.spec;
        let Content::Cell { members, gamma, .. } = &spec.nodes[node].content else {
            return Ok(());
        };
        members.iter().try_for_each(|member| self.sum(*member))?;
        let matrix = spec.nodes[node].matrix;
        if members.iter().any(|member| spec.nodes[*member].matrix == matrix) {
            // The weights are those of one of them.
            return Ok(());
        }
        let columns = spec.x_size;
        for (at, (member, gamma)) in members.iter().zip(gamma).enumerate() {
            let signs = if at == 0 { spec.signs(node, &self.progress.counters) } else { None };
            let from = spec.nodes[*member].matrix;
            let Ok([sum, from]) = self.states.get_disjoint_mut([matrix, from]) else {
                let why = "a cell is a member of itself".to_owned();
                return Err(Error::State { why });
            };
            let from = from.weights();
            let mut blocks = sum.split(HEIGHT)?;
            for_each(&mut blocks, (HEIGHT * columns) as f64 * 0.5, |rows| {
                for local in 0..rows.state.len() / columns {
                    rows.save(local);
                    let row = rows.first + local;
                    let sum = &mut rows.state[local * columns..][..columns];
                    let from = &from[row * columns..][..columns];
                    add(sum, from, *gamma, at == 0, row, signs);
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Runs the stages of mixed precision.
    fn accumulate(&mut self, mixed: &Mixed) -> Result<()> {
        let (spec, plan) = (self.spec, self.plan);
        let quantised = mixed.quantised(self.batch, [spec.d_size, spec.x_size], self.key)?;
        let batch = quantised.batch(self.batch);
        let source = Source {
            x: batch.x,
            x_size: spec.x_size,
            bias: batch.bias,
            d: batch.d,
            d_size: spec.d_size,
            parameters: spec.update(),
            granularity: mixed.granularity,
            rate: plan.rate,
            rates: &[],
            turn: Turn::Both,
            signs: [&[]; 2],
            key: self.key,
        };
        let chi = self.buffer(0);
        let mut stages = &plan.stages[..];
        while let Some((stage, rest)) = stages.split_first() {
            match stage {
                Stage::Accumulate { samples } => {
                    let (scale, chi) = (plan.rate as f32, &mut self.states[chi]);
                    gradient::add(&source, samples.clone(), scale, None, chi, |rows| {
                        check_buffer(rows.state)
                    })?;
                    stages = rest;
                }
                Stage::Row { .. } => stages = self.write_rows(mixed, stages)?,
                other => {
                    self.stage(other)?;
                    stages = rest;
                }
            }
        }
        Ok(())
    }

    /// Writes rows of the accumulator up to the next stage of another kind or row that comes again; what is
    /// left. Each is an update of its own, with an event of its own, and no two meet.
    fn write_rows<'s>(&mut self, mixed: &Mixed, stages: &'s [Stage]) -> Result<&'s [Stage]> {
        let chi = self.buffer(0);
        let writer = self.writer();
        let mut parts = memory::room(self.states.len())?;
        for state in self.states.iter_mut() {
            let rows = state.split(1)?.into_iter().map(|row| Ok(Some(row)));
            parts.push(memory::collected(rows)?);
        }
        let mut tasks = memory::room(stages.len().min(self.spec.d_size))?;
        let mut left = stages;
        while let Some((Stage::Row { row, write }, rest)) = left.split_first() {
            let Some(chi) = parts[chi][*row].take() else { break };
            let mut leaves = memory::room(write.leaves.len())?;
            for leaf in &write.leaves {
                let Some(rows) = parts[writer.matrix(*leaf)][*row].take() else {
                    let why = "two devices of a cell have one matrix".to_owned();
                    return Err(Error::State { why });
                };
                leaves.push((*leaf, rows));
            }
            tasks.push(RowTask { chi, leaves, row: *row, write, is_written: false });
            left = rest;
        }
        let par = Par::of(ROW_NS * (tasks.len() * self.spec.x_size) as f64);
        par.for_each_in_rounds(tasks.iter_mut(), |task| task.run(&writer, mixed))?;
        for task in tasks.iter().filter(|task| task.is_written) {
            task.write.leaves.iter().for_each(|leaf| self.progress.touch(self.spec, *leaf));
        }
        Ok(left)
    }
}
