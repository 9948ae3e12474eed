//! What one call does, as a function of counters, batch and draws alone.
//!
//! Vectors are gone through in their order, as a cell would: it chooses devices, they take the pulses, then
//! the cell transfers or refreshes. What is left is a list of stages, in which the pulses of neighbouring
//! vectors are together wherever nothing comes between them.

use super::chopper::{Chopper, Flips};
use super::counters::Counters;
use super::mixed::Mixed;
use super::schedule::{Line, Schedule, Stage, Write};
use super::spec::{CellSpec, Content, Rule};
use super::transfer::Transfer;
use super::vector::index;
use crate::error::Result;
use crate::memory;
use crate::rng::{Draw, Key, Stream};

/// What one call does.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    pub(super) stages: Vec<Stage>,
    /// Learning rate of the pulses of the batch.
    pub(super) rate: f64,
    /// Those of each sample, where they differ; else empty.
    pub(super) rates: Vec<f64>,
}

/// A batch as far as a plan depends on it.
pub(super) struct Outline<'a> {
    pub(super) samples: usize,
    pub(super) learning_rate: f64,
    /// Largest absolute input and error of a sample.
    pub(super) largest: &'a dyn Fn(usize) -> [f64; 2],
}

/// Blocks of the draws of an event.
mod block {
    pub(super) const LINE: u32 = 1;
    pub(super) const RESET: u32 = 2;
    pub(super) const INPUT: u32 = 0;
    pub(super) const OUTPUT: u32 = 1;
}

impl CellSpec {
    /// The stages of a call; `counters` are then those after it.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for a batch with too many events,
    /// [`Error::Memory`](crate::Error::Memory).
    pub(super) fn plan(
        &self,
        counters: &mut Counters,
        batch: &Outline<'_>,
        key: Key,
    ) -> Result<Plan> {
        let lines = self.transfer().map_or(0, |transfer| transfer.lines);
        let schedule = Schedule::new(self.leaves.len(), lines);
        let mut planner = Planner { spec: self, counters, batch, key, schedule, rates: Vec::new() };
        let Content::Cell { rule, .. } = &self.nodes[0].content else {
            return Ok(Plan { stages: Vec::new(), rate: 0.0, rates: Vec::new() });
        };
        match rule {
            Rule::Vector(_) | Rule::OneSided(_) => planner.pulses(0)?,
            Rule::Transfer(transfer) => planner.transfers(transfer)?,
            Rule::Mixed(mixed) => planner.accumulation(mixed)?,
        }
        let Planner { schedule, rates, .. } = planner;
        let is_fast = matches!(rule, Rule::Transfer(_));
        let rate = if is_fast { counters.count_lr } else { batch.learning_rate };
        Ok(Plan { stages: schedule.finish()?, rate, rates })
    }
}

struct Planner<'a> {
    spec: &'a CellSpec,
    counters: &'a mut Counters,
    batch: &'a Outline<'a>,
    key: Key,
    schedule: Schedule,
    rates: Vec<f64>,
}

/// Where the draws of one vector update are: the event and the column.
#[derive(Clone, Copy)]
struct At {
    event: u32,
    column: u32,
}

impl Planner<'_> {
    /// Pulses of all samples for a cell that does nothing else with them.
    fn pulses(&mut self, node: usize) -> Result<()> {
        for sample in 0..self.batch.samples {
            self.begin(node, At { event: 0, column: sample as u32 });
            self.pulse(node, sample)?;
            self.end(node, self.batch.samples)?;
        }
        Ok(())
    }

    /// Draws of a node in an event.
    fn draw(&self, node: usize, event: u32, stream: Stream) -> Draw {
        self.key.part(node as u8, event).stream(stream)
    }

    /// Lets a node and those below choose their devices for one vector update.
    fn begin(&mut self, node: usize, at: At) {
        let Content::Cell { members, rule, .. } = &self.spec.nodes[node].content else { return };
        if let Rule::Vector(vector) = rule {
            let draw = self.draw(node, at.event, Stream::Select);
            let current = &mut self.counters.current[node];
            *current = vector.choose(*current, members.len(), draw, at.column);
        }
        for member in members {
            self.begin(*member, at);
        }
    }

    /// Leaves that the pulses of one vector update of a node reach.
    fn reached(&self, node: usize, found: &mut Vec<usize>) {
        match &self.spec.nodes[node].content {
            Content::Device(leaf) => found.push(*leaf),
            Content::Cell { members, rule: Rule::Vector(vector), .. } if !vector.reaches_all() => {
                self.reached(members[self.counters.current[node] as usize], found);
            }
            Content::Cell { members, .. } => {
                members.iter().for_each(|member| self.reached(*member, found));
            }
        }
    }

    /// Lets the leaves that a node has chosen take the pulses of a sample.
    fn pulse(&mut self, node: usize, sample: usize) -> Result<()> {
        match &self.spec.nodes[node].content {
            Content::Device(leaf) => self.schedule.pulse(*leaf, sample),
            Content::Cell { members, rule: Rule::Vector(vector), .. } if !vector.reaches_all() => {
                self.pulse(members[self.counters.current[node] as usize], sample)
            }
            Content::Cell { members, .. } => {
                members.iter().try_for_each(|member| self.pulse(*member, sample))
            }
        }
    }

    /// Counts one vector update of a node and those below, one of `batch` in a row, and refreshes pairs
    /// whose time has come.
    fn end(&mut self, node: usize, batch: usize) -> Result<()> {
        let Content::Cell { members, rule, .. } = &self.spec.nodes[node].content else {
            return Ok(());
        };
        for member in members {
            self.end(*member, batch)?;
        }
        self.counters.updates[node] += 1;
        if let Rule::OneSided(rule) = rule
            && rule.is_due(self.counters.updates[node], batch)
        {
            self.schedule.flush(self.spec.leaves_of(node))?;
            let first = self.schedule.events(self.spec.x_size)?;
            self.schedule.push(Stage::Refresh { node, first })?;
        }
        Ok(())
    }

    /// A vector update of a node that is a write of its own: the leaves that it reaches. It counts for the
    /// choices and refreshes of the node whether it has pulses or not, for that depends on weights.
    fn write(&mut self, node: usize, event: u32) -> Write {
        self.begin(node, At { event, column: 0 });
        let mut leaves = Vec::new();
        self.reached(node, &mut leaves);
        Write { node, leaves, event }
    }

    fn transfers(&mut self, transfer: &Transfer) -> Result<()> {
        let spec = self.spec;
        let (members, batch) = (spec.members(0), self.batch.samples);
        let states = spec.states(members[0]);
        let periods: Vec<i64> =
            (0..members.len()).map(|from| transfer.period(from, batch, states)).collect();
        for sample in 0..batch {
            let column = sample as u32;
            members.iter().for_each(|member| self.begin(*member, At { event: 0, column }));
            self.set_rate(transfer, sample)?;
            self.pulse(members[0], sample)?;
            for member in members {
                self.end(*member, batch)?;
            }
            self.counters.updates[0] += 1;
            // The last device has nowhere to transfer to.
            for from in 0..members.len() - 1 {
                if periods[from] > 0 && self.counters.updates[0] % periods[from] == 0 {
                    if sample + 1 == batch {
                        // No sample comes that others could wait for.
                        self.schedule.flush(spec.leaves_of(members[from]))?;
                    }
                    self.transfer(transfer, from)?;
                }
            }
        }
        Ok(())
    }

    /// The learning rate of the fast device for a sample.
    fn set_rate(&mut self, transfer: &Transfer, sample: usize) -> Result<()> {
        let scales = self.spec.chopper().filter(|chopper| chopper.auto_scale);
        if let Some(chopper) = scales {
            let largest = (self.batch.largest)(sample);
            for (average, largest) in self.counters.averages.iter_mut().zip(largest) {
                *average = chopper.averaged(*average, largest, self.batch.samples);
            }
        }
        let (update, averages) = (self.spec.update(), self.counters.averages);
        let rate = transfer.fast_rate(self.batch.learning_rate, update, averages);
        self.counters.count_lr = rate;
        if scales.is_some() {
            memory::push(&mut self.rates, rate)?;
        }
        Ok(())
    }

    /// Transfers of some lines from device number `from` to the next.
    fn transfer(&mut self, transfer: &Transfer, from: usize) -> Result<()> {
        let lines = transfer.lines;
        let mut first = self.counters.lines[from] as usize;
        if transfer.random {
            let event = self.schedule.events(1)?;
            let uniform = self.draw(0, event, Stream::Select).uniform(0, 0, block::LINE);
            first = index(uniform, lines);
        }
        self.counters.lines[from] = ((first + transfer.reads) % lines) as i64;
        let rate = transfer.rate(from, from + 1, self.batch.learning_rate);
        if rate == 0.0 {
            return Ok(());
        }
        for line in (first..first + transfer.reads).map(|line| line % lines) {
            self.line(transfer, from, line, rate)?;
        }
        Ok(())
    }

    /// Transfer of one line.
    fn line(&mut self, transfer: &Transfer, from: usize, line: usize, rate: f64) -> Result<()> {
        let members = self.spec.members(0);
        let (source, target) = (members[from], members[from + 1]);
        let event = self.schedule.events(1)?;
        let write = self.write(target, event);
        self.schedule.flush_line(self.spec.leaves_of(source), line)?;
        self.schedule.flush_line(self.spec.leaves_of(target), line)?;
        let Counters { count_lr, sweeps, .. } = *self.counters;
        let renews = self.counters.switched.get_mut(line).is_some_and(|s| std::mem::take(s) != 0);
        let chopper = self.spec.chopper();
        self.schedule.push(Stage::Transfer(Line {
            from,
            line,
            rate,
            scale: transfer.scale(from, rate, count_lr, sweeps),
            renews,
            writes: chopper.is_none_or(|chopper| chopper.writes(sweeps)),
            write,
        }))?;
        self.end(target, transfer.reads)?;
        let uniform = self.draw(0, event, Stream::Select).uniform(0, 0, block::RESET);
        if transfer.resets(uniform) {
            self.schedule.push(Stage::Reset { node: source, column: line, event })?;
        }
        match chopper {
            Some(chopper) => self.flip(chopper, line, event),
            None => Ok(()),
        }
    }

    /// What follows the transfer of a line: signs flip.
    fn flip(&mut self, chopper: &Chopper, line: usize, event: u32) -> Result<()> {
        let draw = self.draw(0, event, Stream::Chop);
        let is_last = line + 1 == self.counters.signs[0].len();
        let uniform = draw.uniform(0, 0, block::INPUT);
        let Flips { input, outputs } = chopper.flips(self.counters.sweeps, is_last, uniform);
        if input {
            self.counters.signs[0][line] *= -1;
            if let Some(switched) = self.counters.switched.get_mut(line) {
                *switched = 1;
            }
            self.schedule.push(Stage::Flip { line })?;
        }
        if outputs {
            // These signs are those of all lines that are transferred.
            self.schedule.flush(self.spec.leaves_of(self.spec.members(0)[0]))?;
            let mut lines = Vec::new();
            for (line, sign) in self.counters.signs[1].iter_mut().enumerate() {
                if chopper.flips_output(draw.uniform(line as u32, 0, block::OUTPUT)) {
                    *sign *= -1;
                    memory::push(&mut lines, line)?;
                }
            }
            self.schedule.push(Stage::FlipOutputs { lines })?;
        }
        self.counters.sweeps += i64::from(is_last);
        Ok(())
    }

    fn accumulation(&mut self, mixed: &Mixed) -> Result<()> {
        let member = self.spec.members(0)[0];
        let (samples, d_size) = (self.batch.samples, self.spec.d_size);
        let mut first = 0;
        for sample in 0..samples {
            let rows = mixed.due(self.counters.updates[0], samples);
            self.counters.updates[0] += 1;
            if rows == 0 && sample + 1 < samples {
                continue;
            }
            self.schedule.push(Stage::Accumulate { samples: first..sample + 1 })?;
            first = sample + 1;
            let mut row = self.counters.row as usize;
            if mixed.random && rows > 0 && rows < d_size {
                let event = self.schedule.events(1)?;
                let uniform = self.draw(0, event, Stream::Select).uniform(0, 0, block::LINE);
                row = index(uniform, d_size);
            }
            for row in (row..row + rows).map(|row| row % d_size) {
                let event = self.schedule.events(1)?;
                let write = self.write(member, event);
                self.schedule.push(Stage::Row { row, write })?;
                self.end(member, rows)?;
            }
            if rows > 0 {
                self.counters.row = ((row + rows) % d_size) as i64;
            }
        }
        Ok(())
    }
}
