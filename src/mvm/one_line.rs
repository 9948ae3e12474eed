//! Reads of single lines of an array: what one input line alone brings to the outputs.

use super::direction::Direction;
use super::lines::Lines;
use super::request::Request;
use super::spec::Mvm;
use crate::config::IoParameters;
use crate::error::{Error, Result};
use crate::rng::Key;
use crate::scratch;

/// Reads of columns ([`Direction::Forward`]) or rows ([`Direction::Backward`]) of an array, with all that a
/// product with a one-hot input goes through, but without the product: the other lines carry nothing.
#[derive(Debug, Clone)]
pub struct OneLine {
    /// The product with all lines.
    whole: Mvm,
    /// That with one.
    narrow: Mvm,
}

impl OneLine {
    /// Reads of an array with weights `[d_size, x_size]`.
    ///
    /// # Errors
    /// As for [`Mvm::new`].
    pub fn new(
        io: &IoParameters,
        direction: Direction,
        d_size: usize,
        x_size: usize,
    ) -> Result<Self> {
        let whole = Mvm::new(io, direction, d_size, x_size)?;
        let mut narrow = whole.clone();
        match direction {
            Direction::Forward => narrow.x_size = 1,
            Direction::Backward => narrow.d_size = 1,
        }
        Ok(Self { whole, narrow })
    }

    /// The product that the reads are part of.
    #[must_use]
    pub fn mvm(&self) -> &Mvm {
        &self.whole
    }

    /// Names and numbers of the frozen values that a read uses.
    #[must_use]
    pub fn frozen(&self) -> Vec<(&'static str, usize)> {
        let Mvm { output, array, perfect, read_asymmetry, .. } = &self.whole;
        let outputs = self.whole.n_out();
        let all = [
            ("out_noise_values", outputs, output.line_noise),
            ("v_offset", outputs, array.offsets()),
            ("w_asymmetry", self.whole.d_size * self.whole.x_size, *read_asymmetry),
            ("out_nonlinearity", outputs, output.nonlinear),
            ("out_nonlinearity_factor", 1, output.nonlinear),
        ];
        all.into_iter().filter(|all| all.2 && !perfect).map(|(name, len, _)| (name, len)).collect()
    }

    /// Writes to `y` what an input of 1 on line number `line` and of 0 on all others gives; `key` is that of
    /// one read, since all reads draw at the same positions.
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::Argument`] for slices or a line that do not fit,
    /// [`Error::Interrupted`], [`Error::Memory`].
    pub fn read(
        &self,
        weights: &[f32],
        line: usize,
        key: Key,
        lines: Lines<'_>,
        y: &mut [f32],
    ) -> Result<()> {
        let count = self.whole.n_in();
        Error::check_len("weights", weights.len(), self.whole.d_size * self.whole.x_size)?;
        if line >= count {
            let why = format!("must be below {count}, got {line}");
            return Err(Error::Argument { argument: "line", why });
        }
        // With noise all lines carry something.
        if self.whole.input.noise > 0.0 {
            return scratch::floats(count, |x| {
                x.fill(0.0);
                x[line] = 1.0;
                run(&self.whole, x, weights, key, lines, y)
            });
        }
        let mut narrow = self.narrow.clone();
        narrow.array.first = line;
        let outputs = self.whole.n_out();
        // Either is empty unless the parameters use it.
        scratch::floats(outputs + lines.w_asymmetry.len().min(outputs), |own| {
            let (weights, asymmetry) =
                (self.line(weights, line), self.line(lines.w_asymmetry, line));
            let (values, factors) = own.split_at_mut(outputs);
            values.iter_mut().zip(weights).for_each(|(to, from)| *to = *from);
            factors.iter_mut().zip(asymmetry).for_each(|(to, from)| *to = *from);
            run(&narrow, &[1.0], values, key, Lines { w_asymmetry: factors, ..lines }, y)
        })
    }

    /// The values of one line.
    fn line<'a>(&self, values: &'a [f32], line: usize) -> impl Iterator<Item = &'a f32> {
        let columns = self.whole.x_size;
        let (first, step) = match self.whole.direction {
            Direction::Forward => (line, columns),
            Direction::Backward => (line * columns, 1),
        };
        values.iter().skip(first).step_by(step).take(self.whole.n_out())
    }
}

/// The product of one input.
fn run(
    mvm: &Mvm,
    x: &[f32],
    weights: &[f32],
    key: Key,
    lines: Lines<'_>,
    y: &mut [f32],
) -> Result<()> {
    // The largest input is 1 in all reads, and so is its average.
    let mut running = 1.0;
    mvm.run(Request {
        x,
        bias: None,
        drop_last: false,
        weights,
        y,
        key,
        is_test: true,
        lines,
        running: Some(&mut running),
        mask: None,
    })
}
