//! Writing rows of the accumulator of mixed precision, on the processor.

use super::buffer::check_buffer;
use super::mixed::Mixed;
use super::schedule::{Run, Write};
use super::writer::Writer;
use crate::error::Result;
use crate::memory;
use crate::pulse::transaction::Rows;

/// About the time that one crosspoint of a row takes that is written.
pub(super) const ROW_NS: f64 = 15.0;

/// A row of the accumulator that is written: its part of all states.
pub(super) struct RowTask<'a> {
    pub(super) chi: Rows<'a>,
    /// Devices that are written, with their row.
    pub(super) leaves: Vec<(usize, Rows<'a>)>,
    pub(super) row: usize,
    pub(super) write: &'a Write,
    pub(super) is_written: bool,
}

impl RowTask<'_> {
    /// Takes the whole steps out of the row, and writes them.
    pub(super) fn run(&mut self, writer: &Writer<'_>, mixed: &Mixed) -> Result<()> {
        let spec = writer.spec;
        let mut steps = memory::room(spec.x_size)?;
        self.chi.save(0);
        steps.extend(self.chi.state.iter_mut().map(|chi| mixed.digest(chi)));
        check_buffer(&steps)?;
        if steps.iter().all(|steps| *steps == 0.0) {
            return Ok(());
        }
        let mut hot = memory::filled(0.0, spec.d_size)?;
        hot[self.row] = 1.0;
        let source = writer.source(self.write, [&steps, &hot], mixed.rate(), &mixed.write);
        source.check()?;
        for (leaf, rows) in &mut self.leaves {
            writer.apply(*leaf, &source, &Run::Neighbours(0..1), self.write.event, rows)?;
        }
        self.is_written = true;
        Ok(())
    }
}
