//! The stages of a plan on a graphics processor; twin of `host`.

use super::super::batch::Batch;
use super::super::chopper::{Chopper, Reference};
use super::super::counters::Counters;
use super::super::mixed::Mixed;
use super::super::one_sided::{MINUS, OneSided, PLUS};
use super::super::plan::Plan;
use super::super::progress::Progress;
use super::super::schedule::{Line, Stage, Write};
use super::super::spec::{CellSpec, Content, Rule};
use super::super::transfer::{Kind, Transfer};
use super::super::update::source;
use super::kernels::{REFRESH, SUM, TAKE, TRANSFER, sum_constants, transfer_constants};
use super::resident::Resident;
use super::write::{LineWrite, most_steps};
use crate::error::Result;
use crate::gpu::devices::Devices;
use crate::gpu::job::Job;
use crate::gpu::product::{Array, passes};
use crate::gpu::scratch::Scratch;
use crate::gpu::words::Words;
use crate::memory;
use crate::mvm::OneLine;
use crate::par;
use crate::pulse::source::{Source, Turn};
use crate::rng::Key;

/// Work on the resident state of a tile.
pub(super) struct Engine<'a> {
    pub(super) spec: &'a CellSpec,
    pub(super) resident: &'a mut Resident,
    pub(super) progress: Progress,
    /// Key of the call.
    pub(super) key: Key,
}

/// Workgroups of a kernel with a thread for each of `count` values.
fn threads(count: usize) -> [u32; 3] {
    [count.div_ceil(64) as u32, 1, 1]
}

impl<'a> Engine<'a> {
    /// Nothing done yet.
    pub(super) fn new(
        spec: &'a CellSpec,
        resident: &'a mut Resident,
        counters: Counters,
        key: Key,
    ) -> Result<Self> {
        let progress = Progress::new(spec, counters)?;
        Ok(Self { spec, resident, progress, key })
    }

    /// Runs all stages of a plan.
    pub(super) fn run(&mut self, batch: &Batch<'_>, plan: &Plan) -> Result<()> {
        let sizes = [self.spec.d_size, self.spec.x_size];
        let quantised = match &self.spec.nodes[0].content {
            Content::Cell { rule: Rule::Mixed(mixed), .. } => {
                Some(mixed.quantised(batch, sizes, self.key)?)
            }
            _ => None,
        };
        let batch = quantised.as_ref().map_or(*batch, |quantised| quantised.batch(batch));
        for stage in &plan.stages {
            par::check_interrupt()?;
            self.stage(&batch, plan, stage)?;
        }
        self.sum(0)
    }

    fn stage(&mut self, batch: &Batch<'_>, plan: &Plan, stage: &Stage) -> Result<()> {
        match stage {
            Stage::Pulses { leaf, run, lines, event } => {
                let spec = self.spec;
                let of = &spec.leaves[*leaf];
                let [of_x, of_d] = self.progress.signs(spec, lines.as_ref())?;
                let signs = [&of_x[..], &of_d];
                let (rate, rates, turn) = (plan.rate, &plan.rates[..], of.turn);
                let source = Source { rate, rates, turn, signs, ..source(spec, batch, self.key) };
                let key = self.key(of.node, *event);
                self.resident.devices(spec, *leaf).apply(&source, run.samples(), key)?;
                self.progress.touch(self.spec, *leaf);
                Ok(())
            }
            Stage::Transfer(line) => match self.spec.transfer() {
                Some(transfer) => self.transfer(transfer, line),
                None => Ok(()),
            },
            Stage::Reset { node, column, event } => {
                let (spec, node) = (self.spec, *node);
                self.job("resetting a column", spec.leaves.len(), |engine, job| {
                    spec.leaves_of(node)
                        .try_for_each(|leaf| engine.reset(job, leaf, *column, None, *event))
                })
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
            Stage::Accumulate { samples } => {
                let Resident { context, scratch, accumulator, .. } = &mut *self.resident;
                let Some(accumulator) = accumulator else { return Ok(()) };
                let (state, device) = (&accumulator.state, &accumulator.device);
                // Devices go down the gradient; this adds it up.
                let (rate, parameters) = (-plan.rate, device.update());
                let source = Source { rate, parameters, ..source(self.spec, batch, self.key) };
                let samples = samples.clone().into();
                Devices { context, scratch, state, device }.apply(&source, samples, self.key)
            }
            Stage::Row { row, write } => match &self.spec.nodes[0].content {
                Content::Cell { rule: Rule::Mixed(mixed), .. } => self.row(mixed, *row, write),
                _ => Ok(()),
            },
        }
    }

    /// Key of a node in an event.
    fn key(&self, node: usize, event: u32) -> Key {
        self.key.part(node as u8, event)
    }

    /// Prepares dispatches, `most` of them at most, and runs them.
    fn job(
        &mut self,
        what: &str,
        most: usize,
        prepare: impl FnOnce(&mut Self, &mut Job) -> Result<()>,
    ) -> Result<()> {
        let context = self.resident.context.clone();
        let run = |engine: &mut Self| {
            let job = context.guard(what, || {
                let mut job = Job::new(&context, &mut engine.resident.scratch, most);
                prepare(engine, &mut job)?;
                job.write(&context);
                Ok(job)
            })?;
            // In a guard of its own: after a write that failed kernels would compute with the numbers of
            // an earlier call.
            context.guard(what, || {
                context.submit(&job.steps, None, &[]);
                Ok(())
            })
        };
        let result = run(self);
        if result.is_err() {
            self.resident.scratch = Scratch::default();
        }
        result
    }

    /// Adds a read of a line of a node to `y`.
    fn read(
        &mut self,
        job: &mut Job,
        owner: usize,
        read: &OneLine,
        node: usize,
        [line, y]: [usize; 2],
        event: u32,
    ) -> Result<()> {
        let key = self.key(node, event);
        let Resident { context, scratch, matrices, reads, lines, .. } = &mut *self.resident;
        let Some(reads) = &reads[owner] else { return Ok(()) };
        let weights = &matrices[self.spec.nodes[node].matrix];
        let mut array = Array { context, scratch, weights, mvm: read.mvm(), side: &reads.side };
        array.read_line(job, &reads.hot, line, key, &lines.reads[y])
    }

    fn transfer(&mut self, transfer: &Transfer, line: &Line) -> Result<()> {
        let spec = self.spec;
        let source = spec.members(0)[line.from];
        self.sum(source)?;
        let leaves = line.write.leaves.len();
        let most = 4 * passes(transfer.read.mvm()) + 1 + most_steps(leaves);
        self.job("transferring a line", most, |engine, job| {
            let at = [line.line, 0];
            engine.read(job, 0, &transfer.read, source, at, line.write.event)?;
            let rate = engine.digest(job, transfer, line)?;
            if !line.writes {
                return Ok(());
            }
            let values = engine.resident.lines.writes[0].clone();
            let write = LineWrite {
                write: &line.write,
                is_column: transfer.columns,
                line: line.line,
                values: &values,
                rate,
                parameters: &transfer.write,
            };
            write.add(engine.resident, spec, job, engine.key)
        })?;
        if line.writes {
            line.write.leaves.iter().for_each(|leaf| self.progress.touch(self.spec, *leaf));
        }
        Ok(())
    }

    /// Adds what becomes of the values of a line; the learning rate of their write.
    fn digest(&mut self, job: &mut Job, transfer: &Transfer, line: &Line) -> Result<f64> {
        let spec = self.spec;
        let target = spec.nodes[line.write.node].granularity;
        let most = transfer.write.desired_bl as f32;
        let (first, stride, count) = if transfer.columns {
            (line.line, spec.x_size, spec.d_size)
        } else {
            (line.line * spec.x_size, 1, spec.x_size)
        };
        let mut words = Words::default();
        words.word(count as u32).word(first as u32).word(stride as u32);
        let (kind, number, rate) = match &transfer.kind {
            Kind::Direct => (0, None, line.rate),
            Kind::Buffered(buffer) => {
                words.float(line.scale).float(buffer.threshold(target)).float(most);
                let memory = buffer.memory;
                words.flag(memory.forgets()).float(memory.momentum).float(memory.taken());
                (1, Some(line.from), buffer.step * target)
            }
            Kind::Chopped(chopper) => {
                let [inputs, outputs] = &self.progress.counters.signs;
                let scale = line.scale * f32::from(inputs[line.line]);
                let outputs: Vec<f32> = outputs.iter().map(|sign| f32::from(*sign)).collect();
                self.resident.context.write(&self.resident.lines.across, 0, &outputs);
                chopper_words(&mut words, chopper, [scale, most], line.renews);
                (2, Some(0), chopper.step * target)
            }
        };
        let Resident { context, buffers, lines, .. } = &*self.resident;
        // Kernels do not touch those that stand in for what is not there, but each has to be another one.
        let unused = [&lines.chosen, &lines.reads[1], &lines.writes[1]];
        let buffer = number.map_or(unused[0], |number| &buffers[number]);
        let reference = spec.chopper().and_then(|chopper| chopper.reference.as_ref());
        let [mean, past] = match reference {
            Some(_) => [&buffers[1], &buffers[2]],
            None => [unused[1], unused[2]],
        };
        let constants = transfer_constants(kind, reference.is_some());
        let pipeline = context.pipeline(&TRANSFER, &constants, &[])?;
        let all = [&lines.reads[0], &lines.across, buffer, mean, past, &lines.writes[0]];
        job.add(context, pipeline, &words.0, &all, threads(count));
        Ok(rate)
    }

    /// Adds a reset of some cells of a column of a leaf.
    fn reset(
        &mut self,
        job: &mut Job,
        leaf: usize,
        column: usize,
        chosen: Option<&wgpu::Buffer>,
        event: u32,
    ) -> Result<()> {
        let key = self.key(self.spec.leaves[leaf].node, event);
        self.resident.devices(self.spec, leaf).reset_column(job, column, chosen, key)?;
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
        let spec = self.spec;
        let leaves = memory::collected(spec.leaves_of(node).map(Ok))?;
        let most = 2 * (4 * passes(rule.read.mvm()) + 1 + most_steps(1)) + 1;
        for column in 0..spec.x_size {
            par::check_interrupt()?;
            let event = first + column as u32;
            self.job("refreshing a column", most, |engine, job| {
                for (y, member) in members.iter().enumerate() {
                    engine.read(job, node, &rule.read, *member, [column, y], event)?;
                }
                engine.saturated(job, rule)?;
                let chosen = engine.resident.lines.chosen.clone();
                for leaf in &leaves {
                    engine.reset(job, *leaf, column, Some(&chosen), event)?;
                }
                for (at, (leaf, member)) in leaves.iter().zip(members).enumerate() {
                    let write = Write { node: *member, leaves: vec![*leaf], event };
                    let values = engine.resident.lines.writes[at].clone();
                    // The device for decreases takes pulses down as pulses up.
                    let turns = spec.leaves[*leaf].turn == Turn::OnlyDownAsUp
                        && rule.write.pulse_type.has_trains();
                    let write = LineWrite {
                        write: &write,
                        is_column: true,
                        line: column,
                        values: &values,
                        rate: if turns { 1.0 } else { -1.0 },
                        parameters: &rule.write,
                    };
                    write.add(engine.resident, spec, job, engine.key)?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Adds the choice of the cells of a column that are reset, and of what is written to them.
    fn saturated(&self, job: &mut Job, rule: &OneSided) -> Result<()> {
        let Resident { context, lines, .. } = &*self.resident;
        let mut words = Words::default();
        words.word(self.spec.d_size as u32);
        for value in rule.thresholds.into_iter().chain([rule.w_max[MINUS], rule.w_max[PLUS]]) {
            words.float(value);
        }
        let pipeline = context.pipeline(&REFRESH, &[], &[])?;
        let ([minus, plus], [minus_write, plus_write]) = (&lines.reads, &lines.writes);
        let buffers = [minus, plus, &lines.chosen, minus_write, plus_write];
        job.add(context, pipeline, &words.0, &buffers, threads(self.spec.d_size));
        Ok(())
    }

    /// Writes a row of the accumulator.
    fn row(&mut self, mixed: &Mixed, row: usize, write: &Write) -> Result<()> {
        let spec = self.spec;
        self.job("writing a row", 1 + most_steps(write.leaves.len()), |engine, job| {
            let Resident { context, buffers, lines, .. } = &*engine.resident;
            let mut words = Words::default();
            words.word(spec.x_size as u32).word((row * spec.x_size) as u32);
            words.float(mixed.granularity as f32);
            let pipeline = context.pipeline(&TAKE, &[], &[])?;
            let values = lines.writes[0].clone();
            job.add(context, pipeline, &words.0, &[&buffers[0], &values], threads(spec.x_size));
            let (rate, parameters) = (mixed.rate(), &mixed.write);
            let write =
                LineWrite { write, is_column: false, line: row, values: &values, rate, parameters };
            write.add(engine.resident, spec, job, engine.key)
        })?;
        write.leaves.iter().for_each(|leaf| self.progress.touch(self.spec, *leaf));
        Ok(())
    }

    /// Makes the weights of a node the sum of those of its members, where they are not.
    pub(super) fn sum(&mut self, node: usize) -> Result<()> {
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
        self.job("adding up weights", members.len(), |engine, job| {
            let Resident { context, matrices, lines, .. } = &*engine.resident;
            let signs = spec.signs(node, &engine.progress.counters);
            if let Some([rows, columns]) = signs {
                let signs: Vec<f32> =
                    rows.iter().chain(columns).map(|sign| f32::from(*sign)).collect();
                context.write(&lines.signs, 0, &signs);
            }
            for (at, (member, gamma)) in members.iter().zip(gamma).enumerate() {
                let mut words = Words::default();
                words.word(spec.cells() as u32).word(spec.d_size as u32);
                words.word(spec.x_size as u32).float(*gamma);
                let constants = sum_constants(at == 0, at == 0 && signs.is_some());
                let pipeline = context.pipeline(&SUM, &constants, &[])?;
                let from = &matrices[spec.nodes[*member].matrix];
                let grid = [spec.cells().div_ceil(256).min(65535) as u32, 1, 1];
                job.add(
                    context,
                    pipeline,
                    &words.0,
                    &[&lines.signs, from, &matrices[matrix]],
                    grid,
                );
            }
            Ok(())
        })
    }

    /// Runs an operation on the weights of a leaf, with draws of its own.
    pub(super) fn with_leaf(
        &mut self,
        leaf: usize,
        operation: impl FnOnce(&mut Devices<'_>, Key) -> Result<()>,
    ) -> Result<()> {
        let key = self.key(self.spec.leaves[leaf].node, 0);
        operation(&mut self.resident.devices(self.spec, leaf), key)
    }

    /// Fills the buffers with zeros.
    pub(super) fn clear(&mut self) -> Result<()> {
        let Resident { context, buffers, .. } = &*self.resident;
        context.guard("clearing buffers", || {
            buffers.iter().for_each(|buffer| context.clear(buffer));
            Ok(())
        })
    }

    /// Makes the weights of all nodes the sums of those of their members.
    pub(super) fn sum_all(&mut self) -> Result<()> {
        self.progress.touch_all();
        self.sum(0)
    }
}

/// What a buffer with flipping signs needs.
fn chopper_words(words: &mut Words, chopper: &Chopper, [scale, most]: [f32; 2], renews: bool) {
    let memory = chopper.memory;
    words.float(scale).float(0.0).float(most);
    words.flag(memory.forgets()).float(memory.momentum).float(memory.taken());
    words.float(chopper.limit(most).unwrap_or(0.0));
    words.flag(chopper.starts_anew());
    let beta = chopper.reference.as_ref().map_or(0.0, Reference::beta);
    words.float(beta).float(1.0 - beta).flag(renews);
}
