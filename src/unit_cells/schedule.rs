//! What happens in one call, stage by stage.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::memory;
use crate::pulse::samples::Samples;

/// Samples of a batch that give pulses to a device, in ascending order.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Run {
    Neighbours(Range<usize>),
    Any(Vec<usize>),
}

impl Run {
    pub(super) fn samples(&self) -> Samples<'_> {
        match self {
            Self::Neighbours(range) => Samples::From(range.clone()),
            Self::Any(list) => Samples::Listed(list),
        }
    }
}

/// A write of pulses to a node: the leaves that receive them, and the event whose draws it takes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Write {
    pub(super) node: usize,
    pub(super) leaves: Vec<usize>,
    pub(super) event: u32,
}

/// A transfer of one line.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    /// Number of the device that is read, and that of its buffers.
    pub(super) from: usize,
    /// Number of the line.
    pub(super) line: usize,
    /// Learning rate of the transfer.
    pub(super) rate: f64,
    /// What values are multiplied by before they go to a buffer, without signs.
    pub(super) scale: f32,
    /// Whether the reference of the line is renewed first.
    pub(super) renews: bool,
    /// Whether pulses are written at all.
    pub(super) writes: bool,
    pub(super) write: Write,
}

/// One step of a call. Nodes and leaves are numbers of those of the specification.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Stage {
    /// Pulses of the batch, of some of the lines that are transferred or of all crosspoints.
    Pulses { leaf: usize, run: Run, lines: Option<Range<usize>>, event: u32 },
    /// Transfer of a line from device to device.
    Transfer(Line),
    /// Reset of a column of all devices of a node.
    Reset { node: usize, column: usize, event: u32 },
    /// Check of all columns of a pair for saturation; each is an event, from this one on.
    Refresh { node: usize, first: u32 },
    /// Flip of the sign of a transferred line.
    Flip { line: usize },
    /// Flips of the signs of the other lines.
    FlipOutputs { lines: Vec<usize> },
    /// Digital accumulation of samples.
    Accumulate { samples: Range<usize> },
    /// Write of a row of the accumulator.
    Row { row: usize, write: Write },
}

/// Stages in the making.
#[derive(Debug)]
pub(super) struct Schedule {
    stages: Vec<Stage>,
    /// What each leaf has not yet taken.
    waiting: Vec<Waiting>,
    /// Number of lines that are transferred one by one, 0 without.
    lines: usize,
    events: u32,
}

/// Samples whose pulses a leaf has not yet taken. What is done with one line needs those of this line only:
/// the others wait, for samples that come together are faster by far. So each block of lines has its own
/// number of samples that it has taken already.
#[derive(Debug, Clone)]
struct Waiting {
    samples: Vec<usize>,
    taken: Vec<usize>,
}

/// Lines of a block: those of one evaluation of the generator, whose trains are drawn together.
const BLOCK: usize = crate::rng::LANES;

/// Events that a call may have: as many as the part of a key can tell apart.
const MOST_EVENTS: usize = 1 << 24;

impl Schedule {
    /// Nothing yet, for so many leaves and lines that are transferred.
    pub(super) fn new(leaves: usize, lines: usize) -> Self {
        let taken = vec![0; lines.div_ceil(BLOCK).max(1)];
        let waiting = vec![Waiting { samples: Vec::new(), taken }; leaves];
        Self { stages: Vec::new(), waiting, lines, events: 0 }
    }

    /// Numbers of `count` new events, from the one that is returned on; 0 is none of them.
    ///
    /// # Errors
    /// [`Error::Argument`] if there are too many.
    pub(super) fn events(&mut self, count: usize) -> Result<u32> {
        let first = self.events + 1;
        if self.events as usize + count >= MOST_EVENTS {
            let why = "has too many transfers for one update; split the batch".to_owned();
            return Err(Error::Argument { argument: "x", why });
        }
        self.events += count as u32;
        Ok(first)
    }

    /// Lets a leaf take the pulses of a sample, some time before the next stage that it takes part in.
    pub(super) fn pulse(&mut self, leaf: usize, sample: usize) -> Result<()> {
        memory::push(&mut self.waiting[leaf].samples, sample)
    }

    /// Lets some leaves take what waits for them.
    pub(super) fn flush(&mut self, leaves: impl Iterator<Item = usize>) -> Result<()> {
        for leaf in leaves {
            let blocks = self.waiting[leaf].taken.len();
            let mut first = 0;
            while first < blocks {
                let taken = &self.waiting[leaf].taken[first..];
                let alike = taken.iter().take_while(|count| **count == taken[0]).count();
                self.take(leaf, first..first + alike)?;
                first += alike;
            }
            let Waiting { samples, taken } = &mut self.waiting[leaf];
            samples.clear();
            taken.fill(0);
        }
        Ok(())
    }

    /// Lets some leaves take what waits for a line that is transferred.
    pub(super) fn flush_line(
        &mut self,
        leaves: impl Iterator<Item = usize>,
        line: usize,
    ) -> Result<()> {
        let block = line / BLOCK;
        for leaf in leaves {
            self.take(leaf, block..block + 1)?;
        }
        Ok(())
    }

    /// Lets some blocks of lines of a leaf take what waits for them; all have taken as much.
    fn take(&mut self, leaf: usize, blocks: Range<usize>) -> Result<()> {
        let Waiting { samples, taken } = &mut self.waiting[leaf];
        let new = &samples[taken[blocks.start]..];
        let (Some(first), Some(last)) = (new.first(), new.last()) else { return Ok(()) };
        let run = if last - first + 1 == new.len() {
            Run::Neighbours(*first..*last + 1)
        } else {
            Run::Any(memory::copied(new)?)
        };
        let is_all = blocks == (0..taken.len());
        let lines = BLOCK * blocks.start..self.lines.min(BLOCK * blocks.end);
        taken[blocks].fill(samples.len());
        let event = self.events(1)?;
        self.push(Stage::Pulses { leaf, run, lines: (!is_all).then_some(lines), event })
    }

    /// Adds a stage, whose leaves have been flushed.
    pub(super) fn push(&mut self, stage: Stage) -> Result<()> {
        memory::push(&mut self.stages, stage)
    }

    /// All stages.
    pub(super) fn finish(mut self) -> Result<Vec<Stage>> {
        self.flush(0..self.waiting.len())?;
        Ok(self.stages)
    }
}
