//! The analog product on the graphics processor: the first pass of a block of samples in one
//! submission, the repeated ones, where an output clipped, in another.

use super::buffers::Step;
use super::kernels::{INPUT, OUTPUT, SELECT};
use super::parameters;
use super::plan::{Call, Plan, block_rows};
use super::tile::{GpuTile, Side};
use super::uses::Uses;
use crate::error::{Error, Result};
use crate::memory;
use crate::mvm::management::Sample;
use crate::mvm::{Direction, Mvm};
use crate::par;
use crate::rng::Key;

/// Dispatches of the first pass.
const FIRST_PASS: usize = 3;
/// Words of the state that the host reads.
const STATE_WORDS: usize = 2;

/// One product of a batch; fields as in [`crate::mvm::Request`].
#[derive(Debug)]
pub struct Product<'a> {
    /// Which way the array is read.
    pub direction: Direction,
    /// Inputs `[samples, lines]`, one line less than the array has when there is a `bias`.
    pub x: &'a [f32],
    /// Input of the last line, where that is an analog bias.
    pub bias: Option<f32>,
    /// Whether the last output line is left out of `y`.
    pub drop_last: bool,
    /// Outputs `[samples, lines]`, one line less than the array has with `drop_last`.
    pub y: &'a mut [f32],
    /// Seed of the tile and number of the call.
    pub key: Key,
    /// Whether the running average of the noise management stays as it is.
    pub is_test: bool,
    /// Running average of the largest absolute input, negative while unset.
    pub running: Option<&'a mut f32>,
    /// Set to 1 where the accepted analog output sits at the ADC bound, to 0 elsewhere; as `y`.
    pub mask: Option<&'a mut [u8]>,
}

impl Product<'_> {
    /// Samples, given inputs and outputs per sample, checked.
    fn sizes(&self, mvm: &Mvm) -> Result<[usize; 3]> {
        let given = mvm.n_in() - usize::from(self.bias.is_some());
        let n_out = mvm.n_out() - usize::from(self.drop_last);
        let samples = match (given, n_out) {
            (0, 0) => 0,
            (0, _) => self.y.len() / n_out,
            _ => self.x.len() / given,
        };
        Error::check_len("x", self.x.len(), samples * given)?;
        Error::check_len("y", self.y.len(), samples * n_out)?;
        if let Some(mask) = &self.mask {
            Error::check_len("mask", mask.len(), samples * n_out)?;
        }
        if u32::try_from(samples).is_err() {
            let why = "has more than 2^32 - 1 samples; split the batch".to_owned();
            return Err(Error::Argument { argument: "x", why });
        }
        if mvm.scale.averages() && !mvm.perfect && self.running.is_none() {
            let why = "missing; noise_management AverageAbsMax keeps a running value".to_owned();
            return Err(Error::Argument { argument: "running", why });
        }
        Ok([samples, given, n_out])
    }

    /// The samples with inputs that are not finite, whose outputs are NaN: kernels of graphics
    /// processors may take such values for any other.
    fn strange(&self, samples: usize, given: usize) -> Result<Vec<usize>> {
        let sample = |at: usize| Sample { given: &self.x[at * given..][..given], bias: self.bias };
        if (Sample { given: self.x, bias: self.bias }).is_finite() {
            return Ok(Vec::new());
        }
        memory::collected((0..samples).filter(|at| !sample(*at).is_finite()).map(Ok))
    }

    /// Scales by the running average, and that average afterwards. They follow from one sample
    /// after another, so they are computed here.
    fn averages(&self, mvm: &Mvm, samples: usize, given: usize) -> Result<(Vec<f32>, Option<f32>)> {
        let Some(running) = self.running.as_ref().filter(|_| mvm.scale.averages() && !mvm.perfect)
        else {
            return Ok((Vec::new(), None));
        };
        let mut average = **running;
        let mut scale = |sample: usize| {
            let given = &self.x[sample * given..][..given];
            mvm.scale.average(&Sample { given, bias: self.bias }, &mut average, self.is_test)
        };
        let averages = memory::collected((0..samples).map(|at| Ok(scale(at))))?;
        Ok((averages, Some(average)))
    }
}

impl GpuTile {
    /// Analog product `y = W x` of a batch, see [`GpuTile::product`].
    ///
    /// # Errors
    /// As [`GpuTile::product`].
    pub fn forward(&mut self, product: Product<'_>) -> Result<()> {
        self.product(Product { direction: Direction::Forward, ..product })
    }

    /// Analog product `g = W^T d` of a batch, see [`GpuTile::product`].
    ///
    /// # Errors
    /// As [`GpuTile::product`].
    pub fn backward(&mut self, product: Product<'_>) -> Result<()> {
        self.product(Product { direction: Direction::Backward, ..product })
    }

    /// Computes the product of a batch; draws and roundings are those of [`Mvm::run`].
    ///
    /// # Errors
    /// [`Error::Shape`] when slices do not fit, [`Error::Argument`] for a missing running average, [`Error::Backend`] when the device fails,
    /// [`Error::Interrupted`]; `running` is then as before.
    pub fn product(&mut self, mut product: Product<'_>) -> Result<()> {
        let mvm = self.spec.mvm(product.direction).clone();
        let [samples, given, n_out] = product.sizes(&mvm)?;
        if samples == 0 || n_out == 0 {
            return Ok(());
        }
        let uses = Uses::of(&mvm);
        let (averages, average) = product.averages(&mvm, samples, given)?;
        let strange = product.strange(samples, given)?;
        let mut finite = Vec::new();
        if !strange.is_empty() {
            finite.extend_from_slice(product.x);
            product.bias = product.bias.map(|bias| if bias.is_finite() { bias } else { 0.0 });
        }
        for sample in &strange {
            finite[sample * given..][..given].fill(0.0);
        }
        let inputs = if strange.is_empty() { product.x } else { &finite };
        let most = self.context.most_words();
        let rows = block_rows(&uses, 2, mvm.n_in(), n_out, most);
        for first in (0..samples).step_by(rows) {
            par::check_interrupt()?;
            let count = rows.min(samples - first);
            let call = Call { key: product.key, first, samples: count, given, bias: product.bias };
            let x = &inputs[first * given..][..count * given];
            let averages = averages.get(first..first + count).unwrap_or(&[]);
            let part = first * n_out..(first + count) * n_out;
            let y = &mut product.y[part.clone()];
            let mask = product.mask.as_deref_mut().map(|mask| &mut mask[part]);
            self.block(&mvm, &uses, call, [x, averages], y, mask)?;
        }
        for sample in strange {
            let part = sample * n_out..(sample + 1) * n_out;
            product.y[part.clone()].fill(f32::NAN);
            if let Some(mask) = product.mask.as_deref_mut() {
                mask[part].fill(0);
            }
        }
        if let (Some(running), Some(average)) = (product.running, average) {
            *running = average;
        }
        Ok(())
    }

    /// Seconds that the kernels of one product take, the mean of `runs` without transfers and
    /// without repeated passes. Outputs are not read.
    ///
    /// # Errors
    /// As [`GpuTile::product`].
    pub fn time_product(&mut self, product: &Product<'_>, runs: usize) -> Result<f64> {
        let mvm = self.spec.mvm(product.direction).clone();
        let [samples, given, n_out] = product.sizes(&mvm)?;
        let uses = Uses::of(&mvm);
        let call = Call { key: product.key, first: 0, samples, given, bias: product.bias };
        let plan = Plan::new(&mvm, &uses, &call, n_out, self.side(mvm.direction)?.factor);
        let context = std::sync::Arc::clone(&self.context);
        let (averages, _) = product.averages(&mvm, samples, given)?;
        self.guarded("timing a product", |tile| {
            let inputs = [product.x, &averages[..]];
            let mut steps = tile.steps(&mvm, &uses, &plan, &call, inputs, false)?;
            steps.truncate(FIRST_PASS);
            context.submit(&steps, None, &[]);
            context.wait()?;
            let start = std::time::Instant::now();
            (0..runs).for_each(|_| context.submit(&steps, None, &[]));
            context.wait()?;
            Ok(start.elapsed().as_secs_f64() / runs as f64)
        })
    }

    fn block(
        &mut self,
        mvm: &Mvm,
        uses: &Uses,
        call: Call,
        inputs: [&[f32]; 2],
        y: &mut [f32],
        mut mask: Option<&mut [u8]>,
    ) -> Result<()> {
        let side = self.side(mvm.direction)?;
        let plan = Plan::new(mvm, uses, &call, y.len() / call.samples, side.factor);
        let context = std::sync::Arc::clone(&self.context);
        self.guarded("computing a product", |tile| {
            let steps = tile.steps(mvm, uses, &plan, &call, inputs, mask.is_some())?;
            let words = y.len() * (1 + usize::from(mask.is_some()));
            let outputs = tile.scratch.y.get(&context, "outputs", words)?;
            let state = tile.scratch.state.get(&context, "rows to repeat", STATE_WORDS)?;
            let staging = tile.scratch.staging.readable(&context, words + STATE_WORDS);
            let copies = [(&state, STATE_WORDS), (&outputs, words)];
            let mut take = |values: &[u32]| {
                let (state, values) = values.split_at(STATE_WORDS);
                let (outputs, flags) = values.split_at(y.len());
                y.copy_from_slice(bytemuck::cast_slice(outputs));
                for (mask, flag) in mask.iter_mut().flat_map(|mask| mask.iter_mut()).zip(flags) {
                    *mask = u8::from(*flag != 0);
                }
                // The word that says whether a row clipped.
                state[1] != 0
            };
            // Outputs rarely clip: the other passes are submitted only when one did.
            let (first, others) = steps.split_at(FIRST_PASS);
            context.submit(first, Some(&staging), &copies);
            let clipped = context.read(&staging, words + STATE_WORDS, &mut take)?;
            if clipped && !others.is_empty() {
                context.submit(others, Some(&staging), &copies);
                context.read(&staging, words + STATE_WORDS, take)?;
            }
            Ok(())
        })
    }

    /// All dispatches of one block.
    fn steps(
        &mut self,
        mvm: &Mvm,
        uses: &Uses,
        plan: &Plan,
        call: &Call,
        inputs: [&[f32]; 2],
        mask: bool,
    ) -> Result<Vec<Step>> {
        let context = std::sync::Arc::clone(&self.context);
        let rows = call.samples;
        let passes = self.write_parameters(mvm, plan, call);
        let scratch = &mut self.scratch;
        let x = scratch.x.get(&context, "inputs", inputs[0].len() + inputs[1].len())?;
        context.write(&x, 0, inputs[0]);
        context.write(&x, inputs[0].len(), inputs[1]);
        let prepared = scratch.prepared.get(&context, "line voltages", plan.voltage_words())?;
        let scales = scratch.rows.get(&context, "scales", rows * 6)?;
        let sums = scratch.sums.get(&context, "sums", plan.sum_words())?;
        // Its flags are set to zero by the first pass: a call that ends after it leaves them set.
        let state = scratch.state.get(&context, "rows to repeat", 2 + 2 * rows)?;
        let y = scratch.y.get(&context, "outputs", rows * plan.n_out * (1 + usize::from(mask)))?;
        let parameters = scratch.parameters.parameters(&context, passes);
        let Side { lines, asymmetry, .. } = match mvm.direction {
            Direction::Forward => &self.forward,
            Direction::Backward => &self.backward,
        };
        let asymmetry = asymmetry.as_ref().unwrap_or(&self.state.weights);

        let select = context.pipeline(&SELECT, &[], &[])?;
        let input = context.pipeline(&INPUT, &uses.input(), &[])?;
        let mut constants = uses.product(plan.signs);
        if plan.tile_rows == 64 {
            constants.extend(uses.sums());
        }
        let tile = context.pipeline(plan.tile, &constants, &[])?;
        let output = context.pipeline(&OUTPUT, &uses.output(mask), &[])?;
        let select_group = context.bind(&select, &parameters, &[&state]);
        let input_group = context.bind(&input, &parameters, &[&x, &state, &prepared, &scales]);
        let buffers = [&state, &prepared, &self.state.weights, asymmetry, &sums];
        let tile_group = context.bind(&tile, &parameters, &buffers);
        let output_group = context.bind(&output, &parameters, &[&scales, &sums, lines, &state, &y]);

        let mut steps = Vec::with_capacity(4 * passes);
        for pass in 0..passes {
            let mut step = |pipeline, group: &wgpu::BindGroup, grid| {
                let (pipeline, group) = (std::sync::Arc::clone(pipeline), group.clone());
                steps.push(Step { pipeline, group, parameters: pass, grid });
            };
            if pass > 0 {
                step(&select, &select_group, [1, 1, 1]);
            }
            step(&input, &input_group, [rows as u32, 1, 1]);
            step(&tile, &tile_group, plan.product_grid());
            step(&output, &output_group, plan.output_grid());
        }
        Ok(steps)
    }

    /// Writes the parameters of all passes and counts those.
    fn write_parameters(&mut self, mvm: &Mvm, plan: &Plan, call: &Call) -> usize {
        let again = |pass: &u32| !mvm.perfect && mvm.repeats.again(*pass);
        let passes = 1 + (0..).take_while(again).count();
        let mut all = Vec::with_capacity(passes * super::buffers::PARAMETER_BYTES / 4);
        for pass in 0..passes {
            all.extend(parameters::words(mvm, plan, call, pass as u32));
            all.resize((pass + 1) * super::buffers::PARAMETER_BYTES / 4, 0);
        }
        let buffer = self.scratch.parameters.parameters(&self.context, passes);
        self.context.write(&buffer, 0, &all);
        passes
    }
}
