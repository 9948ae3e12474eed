//! The analog product on the graphics processor: the first pass of a block of samples in one
//! submission, the repeated ones, where an output clipped, in another.

use std::sync::Arc;

use super::buffers::Step;
use super::context::Context;
use super::job::Job;
use super::kernels::{INPUT, OUTPUT, Pipeline, SELECT};
use super::parameters;
use super::plan::{Call, Plan, block_rows};
use super::scratch::Scratch;
use super::side::Side;
use super::tile::GpuTile;
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
        let sample = |at: usize| Sample::new(&self.x[at * given..][..given], self.bias);
        if Sample::new(self.x, self.bias).is_finite() {
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
            mvm.scale.average(&Sample::new(given, self.bias), &mut average, self.is_test)
        };
        let averages = memory::collected((0..samples).map(|at| Ok(scale(at))))?;
        Ok((averages, Some(average)))
    }
}

/// A weight matrix that is read in one direction.
pub(crate) struct Array<'a> {
    pub context: &'a Context,
    pub scratch: &'a mut Scratch,
    pub weights: &'a wgpu::Buffer,
    pub mvm: &'a Mvm,
    pub side: &'a Side,
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
    pub fn product(&mut self, product: Product<'_>) -> Result<()> {
        self.array(product.direction).product(product)
    }

    /// Seconds that the kernels of one product take, the mean of `runs` without transfers and
    /// without repeated passes. Outputs are not read.
    ///
    /// # Errors
    /// As [`GpuTile::product`].
    pub fn time_product(&mut self, product: &Product<'_>, runs: usize) -> Result<f64> {
        self.array(product.direction).time(product, runs)
    }

    fn array(&mut self, direction: Direction) -> Array<'_> {
        let Self { context, spec, state, forward, backward, scratch } = self;
        let side = match direction {
            Direction::Forward => forward,
            Direction::Backward => backward,
        };
        Array { context, scratch, weights: &state.weights, mvm: spec.mvm(direction), side }
    }
}

impl Array<'_> {
    /// Computes the product of a batch, see [`GpuTile::product`].
    ///
    /// # Errors
    /// As there.
    pub fn product(&mut self, mut product: Product<'_>) -> Result<()> {
        let mvm = self.mvm;
        let [samples, given, n_out] = product.sizes(mvm)?;
        if samples == 0 || n_out == 0 {
            return Ok(());
        }
        let uses = Uses::of(mvm);
        let (averages, average) = product.averages(mvm, samples, given)?;
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
            self.block(&uses, call, [x, averages], y, mask)?;
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

    fn time(&mut self, product: &Product<'_>, runs: usize) -> Result<f64> {
        let mvm = self.mvm;
        let [samples, given, n_out] = product.sizes(mvm)?;
        let uses = Uses::of(mvm);
        let call = Call { key: product.key, first: 0, samples, given, bias: product.bias };
        self.side.check(mvm.direction.name())?;
        let plan = Plan::new(mvm, &uses, &call, n_out, self.side.factor);
        let (averages, _) = product.averages(mvm, samples, given)?;
        self.guarded("timing a product", |array| {
            let context = array.context;
            let inputs = [product.x, &averages[..]];
            let (mut job, _) = array.prepare(&uses, &plan, &call, inputs, false)?;
            job.steps.truncate(FIRST_PASS);
            context.submit(&job.steps, None, &[]);
            context.wait()?;
            let start = std::time::Instant::now();
            (0..runs).for_each(|_| context.submit(&job.steps, None, &[]));
            context.wait()?;
            Ok(start.elapsed().as_secs_f64() / runs as f64)
        })
    }

    /// Runs `f` and returns what it reports to the device as an error; working memory is then made anew.
    fn guarded<R>(&mut self, what: &str, f: impl FnOnce(&mut Self) -> Result<R>) -> Result<R> {
        let result = self.context.guard(what, || f(self));
        if result.is_err() {
            *self.scratch = Scratch::default();
        }
        result
    }

    fn block(
        &mut self,
        uses: &Uses,
        call: Call,
        inputs: [&[f32]; 2],
        y: &mut [f32],
        mut mask: Option<&mut [u8]>,
    ) -> Result<()> {
        let mvm = self.mvm;
        self.side.check(mvm.direction.name())?;
        let plan = Plan::new(mvm, uses, &call, y.len() / call.samples, self.side.factor);
        self.guarded("computing a product", |array| {
            let context = array.context;
            let (job, outputs) = array.prepare(uses, &plan, &call, inputs, mask.is_some())?;
            let words = y.len() * (1 + usize::from(mask.is_some()));
            let state = array.scratch.state.get(context, "rows to repeat", STATE_WORDS)?;
            let staging = array.scratch.staging.readable(context, words + STATE_WORDS);
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
            let (first, others) = job.steps.split_at(FIRST_PASS);
            context.submit(first, Some(&staging), &copies);
            let clipped = context.read(&staging, words + STATE_WORDS, &mut take)?;
            if clipped && !others.is_empty() {
                context.submit(others, Some(&staging), &copies);
                context.read(&staging, words + STATE_WORDS, take)?;
            }
            Ok(())
        })
    }

    /// Dispatches of one block for inputs and scales of the host, and its outputs.
    fn prepare(
        &mut self,
        uses: &Uses,
        plan: &Plan,
        call: &Call,
        inputs: [&[f32]; 2],
        mask: bool,
    ) -> Result<(Job, wgpu::Buffer)> {
        let (context, scratch) = (self.context, &mut *self.scratch);
        let x = scratch.x.get(context, "inputs", inputs[0].len() + inputs[1].len())?;
        context.write(&x, 0, inputs[0]);
        context.write(&x, inputs[0].len(), inputs[1]);
        let words = call.samples * plan.n_out * (1 + usize::from(mask));
        let outputs = scratch.y.get(context, "outputs", words)?;
        let mut job = Job::new(context, scratch, passes(self.mvm));
        let inputs = Inputs { x: &x, first: 0, averages: inputs[0].len() };
        self.steps(&mut job, uses, plan, call, &inputs, &outputs, mask)?;
        job.write(context);
        Ok((job, outputs))
    }

    /// Adds the dispatches that read line number `line` of the array, as a product with 1 on this line and
    /// 0 on all others, and all passes. `hot` is [`hot`]; the outputs go to `y`.
    pub fn read_line(
        &mut self,
        job: &mut Job,
        hot: &wgpu::Buffer,
        line: usize,
        key: Key,
        y: &wgpu::Buffer,
    ) -> Result<()> {
        let mvm = self.mvm;
        self.side.check(mvm.direction.name())?;
        let (given, middle) = (mvm.n_in(), mvm.n_in() - 1);
        let uses = Uses::of(mvm);
        let call = Call { key, first: 0, samples: 1, given, bias: None };
        let plan = Plan::new(mvm, &uses, &call, mvm.n_out(), self.side.factor);
        // The largest input is 1 in all reads, and so is its average.
        let inputs = Inputs { x: hot, first: middle - line, averages: middle };
        self.steps(job, &uses, &plan, &call, &inputs, y, false)
    }

    /// Adds all dispatches of one block, whose outputs go to `y`.
    #[allow(clippy::too_many_arguments, reason = "what one block is made of")]
    fn steps(
        &mut self,
        job: &mut Job,
        uses: &Uses,
        plan: &Plan,
        call: &Call,
        inputs: &Inputs<'_>,
        y: &wgpu::Buffer,
        mask: bool,
    ) -> Result<()> {
        let Self { context, scratch, weights, mvm, side } = self;
        let rows = call.samples;
        let prepared = scratch.prepared.get(context, "line voltages", plan.voltage_words())?;
        let scales = scratch.rows.get(context, "scales", rows * 6)?;
        let sums = scratch.sums.get(context, "sums", plan.sum_words())?;
        // Its flags are set to zero by the first pass: a call that ends after it leaves them set.
        let state = scratch.state.get(context, "rows to repeat", 2 + 2 * rows)?;
        let asymmetry = side.asymmetry.as_ref().unwrap_or(weights);

        let select = context.pipeline(&SELECT, &[], &[])?;
        let input = context.pipeline(&INPUT, &uses.input(), &[])?;
        let mut constants = uses.product(plan.signs);
        if plan.tile_rows == 64 {
            constants.extend(uses.sums());
        }
        let tile = context.pipeline(plan.tile, &constants, &[])?;
        let output = context.pipeline(&OUTPUT, &uses.output(mask), &[])?;
        let select_group = job.bind(context, &select, &[&state]);
        let input_group = job.bind(context, &input, &[inputs.x, &state, &prepared, &scales]);
        let buffers = [&state, &prepared, *weights, asymmetry, &sums];
        let tile_group = job.bind(context, &tile, &buffers);
        let output_group = job.bind(context, &output, &[&scales, &sums, &side.lines, &state, y]);

        for pass in 0..passes(mvm) {
            let words = parameters::words(mvm, plan, call, pass as u32, inputs.places());
            let parameters = job.place(&words);
            let mut step = |pipeline: &Arc<Pipeline>, group: &wgpu::BindGroup, grid| {
                let (pipeline, group) = (Arc::clone(pipeline), group.clone());
                job.steps.push(Step { pipeline, group, parameters, grid });
            };
            if pass > 0 {
                step(&select, &select_group, [1, 1, 1]);
            }
            step(&input, &input_group, [rows as u32, 1, 1]);
            step(&tile, &tile_group, plan.product_grid());
            step(&output, &output_group, plan.output_grid());
        }
        Ok(())
    }
}

/// Inputs of a product in a buffer.
struct Inputs<'a> {
    x: &'a wgpu::Buffer,
    /// Where the inputs begin, and the scales by the running average.
    first: usize,
    averages: usize,
}

impl Inputs<'_> {
    fn places(&self) -> [u32; 2] {
        [self.first as u32, self.averages as u32]
    }
}

/// A buffer for [`Array::read_line`] of arrays with `lines` lines.
///
/// # Errors
/// [`Error::Backend`].
pub(crate) fn hot(context: &Context, lines: usize) -> Result<wgpu::Buffer> {
    let buffer = context.storage("lines that are read", 2 * lines - 1)?;
    let mut values = memory::filled(0.0f32, 2 * lines - 1)?;
    values[lines - 1] = 1.0;
    context.write(&buffer, 0, &values);
    Ok(buffer)
}

/// Passes of a product, with all that outputs which clip may need. Each has parameters of its own.
pub(crate) fn passes(mvm: &Mvm) -> usize {
    let again = |pass: &u32| !mvm.perfect && mvm.repeats.again(*pass);
    1 + (0..).take_while(again).count()
}
