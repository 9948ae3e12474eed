//! Frozen values of the products of one direction.

use super::context::Context;
use crate::error::{Error, Result};
use crate::mvm::{Lines, Mvm};

/// Frozen values of one direction.
#[derive(Debug)]
pub(crate) struct Side {
    /// Per output line: noise, voltage offset, strength of the compression, nothing.
    pub lines: wgpu::Buffer,
    /// Factors on the weights for negative inputs.
    pub asymmetry: Option<wgpu::Buffer>,
    /// Factor that calibrates the output compression.
    pub factor: f32,
    /// Whether the values are there.
    known: bool,
}

impl Side {
    /// Those of products `mvm`, which are there where the options use none.
    pub fn new(context: &Context, mvm: &Mvm) -> Result<Self> {
        let lines = context.storage("frozen values", 4 * mvm.n_out())?;
        let used = mvm.read_asymmetry && !mvm.perfect;
        let cells = mvm.d_size * mvm.x_size;
        let asymmetry = used.then(|| context.storage("read asymmetry", cells)).transpose()?;
        let mut side = Self { lines, asymmetry, factor: 1.0, known: false };
        if let (Ok(packed), None) = (pack(mvm, &Lines::default()), &side.asymmetry) {
            context.write(&side.lines, 0, &packed);
            side.known = true;
        }
        Ok(side)
    }

    /// Writes the frozen values of products `mvm`.
    ///
    /// # Errors
    /// [`Error::Shape`] when a slice that the options use does not fit. [`Error::Backend`]; products are
    /// then refused until the values are written.
    pub fn set(&mut self, context: &Context, mvm: &Mvm, lines: &Lines<'_>) -> Result<()> {
        let packed = pack(mvm, lines)?;
        if self.asymmetry.is_some() {
            Error::check_len("w_asymmetry", lines.w_asymmetry.len(), mvm.d_size * mvm.x_size)?;
        }
        // One of the two without the other would be values of no one.
        self.known = false;
        context.guard("writing frozen values", || {
            if let Some(buffer) = &self.asymmetry {
                context.write(buffer, 0, lines.w_asymmetry);
            }
            context.write(&self.lines, 0, &packed);
            Ok(())
        })?;
        self.factor = lines.out_nonlinearity_factor;
        self.known = true;
        Ok(())
    }

    /// Checks that the values are there; `name` is that of the direction.
    ///
    /// # Errors
    /// [`Error::State`].
    pub fn check(&self, name: &str) -> Result<()> {
        if self.known {
            return Ok(());
        }
        let why = format!("the frozen values of the {name} pass are not written");
        Err(Error::State { why })
    }
}

/// The frozen values per output line that the kernels read.
fn pack(mvm: &Mvm, lines: &Lines<'_>) -> Result<Vec<f32>> {
    let n_out = mvm.n_out();
    let used = |name: &'static str, used: bool, values: &[f32]| {
        if used && !mvm.perfect { Error::check_len(name, values.len(), n_out) } else { Ok(()) }
    };
    used("out_noise_values", mvm.output.line_noise, lines.out_noise_values)?;
    used("v_offset", mvm.array.offsets(), lines.v_offset)?;
    used("out_nonlinearity", mvm.output.nonlinear, lines.out_nonlinearity)?;
    let noise = |at: usize| {
        if mvm.output.line_noise { lines.out_noise_values[at] } else { mvm.output.noise }
    };
    let value = |values: &[f32], at: usize| values.get(at).copied().unwrap_or(0.0);
    Ok((0..n_out)
        .flat_map(|at| {
            let noise = if mvm.perfect { 0.0 } else { noise(at) };
            [noise, value(lines.v_offset, at), value(lines.out_nonlinearity, at), 0.0]
        })
        .collect())
}
