//! A tile: the parsed configuration of one crossbar and, for Rust users, its state.

use crate::config::{TileConfig, check_sizes};
use crate::devices::{Cells, Device, DriftState, Plane, PlaneRef, WeightClip};
use crate::error::{Error, Result, shown};
use crate::memory;
use crate::modifier::Modifier;
use crate::mvm::{Direction, Lines, Mvm, Request};
use crate::par::Par;
use crate::pulse::{self, Update};
use crate::rng::{CHUNK, Draw, Key, Stream};
use crate::simd::{self, Work};

/// Parsed and validated configuration of one tile with its sizes: everything that the kernels need
/// besides the state. Immutable.
#[derive(Debug, Clone)]
pub struct TileSpec {
    config: TileConfig,
    d_size: usize,
    x_size: usize,
    analog_bias: bool,
    dw_min: Option<f64>,
    device: Device,
    forward: Mvm,
    backward: Mvm,
}

impl TileSpec {
    /// Specification of a tile with `d_size` outputs and `x_size` columns, the last of which is the
    /// bias when `analog_bias` is set.
    ///
    /// # Errors
    /// [`Error::Config`] or [`Error::Unsupported`] naming the field, [`Error::Argument`] for sizes.
    pub fn new(
        config: TileConfig,
        d_size: usize,
        x_size: usize,
        analog_bias: bool,
    ) -> Result<Self> {
        Self::with_step(config, d_size, x_size, analog_bias, None)
    }

    /// As [`TileSpec::new`], with another mean step of the devices, as [`Device::unexpected_dw_min`] finds it;
    /// exact devices have none, and none changes nothing.
    ///
    /// # Errors
    /// As there.
    pub fn with_step(
        config: TileConfig,
        d_size: usize,
        x_size: usize,
        analog_bias: bool,
        dw_min: Option<f64>,
    ) -> Result<Self> {
        check_sizes(d_size, x_size)?;
        config.validate()?;
        let dw_min = dw_min.filter(|_| config.device.pulsed().is_some());
        let mut device = config.device.clone();
        if let (Some(dw_min), Some(pulsed)) = (dw_min, device.pulsed_mut()) {
            pulsed.replace_step(dw_min, "device")?;
        }
        let device = Device::new(&device, &config.update, d_size, x_size, analog_bias)?;
        let forward = Mvm::new(&config.forward, Direction::Forward, d_size, x_size)?;
        let backward = Mvm::new(&config.backward, Direction::Backward, d_size, x_size)?;
        Ok(Self { config, d_size, x_size, analog_bias, dw_min, device, forward, backward })
    }

    /// The configuration; the mean step in use is that of [`TileSpec::device`].
    #[must_use]
    pub fn config(&self) -> &TileConfig {
        &self.config
    }

    /// Number of outputs (rows).
    #[must_use]
    pub fn d_size(&self) -> usize {
        self.d_size
    }

    /// Number of columns, including that of an analog bias.
    #[must_use]
    pub fn x_size(&self) -> usize {
        self.x_size
    }

    /// Whether the last column is the bias.
    #[must_use]
    pub fn analog_bias(&self) -> bool {
        self.analog_bias
    }

    /// Mean step that took the place of that of the configuration.
    #[must_use]
    pub fn dw_min(&self) -> Option<f64> {
        self.dw_min
    }

    /// The device at each crosspoint.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The product of one direction.
    #[must_use]
    pub fn mvm(&self, direction: Direction) -> &Mvm {
        match direction {
            Direction::Forward => &self.forward,
            Direction::Backward => &self.backward,
        }
    }

    /// Whether updates count the pulses of every cell.
    #[must_use]
    pub fn counts_pulses(&self) -> bool {
        self.device.config().pulsed().is_some_and(|pulsed| pulsed.count_pulses)
    }
}

/// Whether a pass trains or tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Training: running values of the noise management move.
    Train,
    /// Test: they stay.
    Test,
}

/// Frozen values of one direction, owned.
#[derive(Debug, Clone, Default)]
pub(crate) struct OwnedLines {
    pub(crate) values: Vec<(&'static str, Vec<f32>)>,
}

impl OwnedLines {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, &[f32])> {
        self.values.iter().map(|(name, values)| (*name, values.as_slice()))
    }

    pub(crate) fn set(&mut self, name: &str, values: &[f32]) -> Result<()> {
        let Some((_, old)) = self.values.iter_mut().find(|(key, _)| *key == name) else {
            let why = format!("the product has no {name:?}");
            return Err(Error::Argument { argument: "lines", why });
        };
        Error::check_len("lines", values.len(), old.len())?;
        Error::check_finite("lines", values)?;
        old.copy_from_slice(values);
        Ok(())
    }

    fn get(&self, name: &str) -> &[f32] {
        self.values.iter().find(|(key, _)| *key == name).map_or(&[], |(_, values)| values)
    }

    pub(crate) fn check(&self, field: &'static str) -> Result<()> {
        self.values.iter().try_for_each(|(name, values)| Error::check_drawn(field, name, values))
    }

    pub(crate) fn borrow(&self) -> Lines<'_> {
        Lines {
            out_noise_values: self.get("out_noise_values"),
            v_offset: self.get("v_offset"),
            w_asymmetry: self.get("w_asymmetry"),
            out_nonlinearity: self.get("out_nonlinearity"),
            out_nonlinearity_factor: self
                .get("out_nonlinearity_factor")
                .first()
                .copied()
                .unwrap_or(1.0),
        }
    }

    pub(crate) fn running(&self) -> Option<f32> {
        self.get("running_abs_max").first().copied()
    }

    pub(crate) fn set_running(&mut self, value: Option<f32>) {
        let slot = self.values.iter_mut().find(|(key, _)| *key == "running_abs_max");
        if let (Some((_, values)), Some(value)) = (slot, value) {
            values.clear();
            values.push(value);
        }
    }
}

/// A tile that owns its state.
///
/// All of its random numbers follow from its seed and the number of the call. A clone has both, so it
/// draws in its next calls what the original draws in those; build another tile with another seed for
/// independent noise.
///
/// Every call has a number of its own here. In the Python package the gradient of a product draws with
/// the number of that product, for autograd may go through several products before it comes back: the
/// draws of [`Tile::backward`] are those of `tile.tile.backward()` of the package, which is a call as
/// here, and not those of `y.backward()`.
///
/// ```
/// use mho_core::{Tile, TileConfig, tile::Pass};
///
/// let mut tile = Tile::new(2, 3, &TileConfig::default(), 1)?;
/// tile.set_weights(&[0.1, -0.2, 0.3, 0.0, 0.2, -0.1])?;
/// let mut y = [0.0; 2];
/// tile.forward(&[1.0, 0.5, -0.5], &mut y, Pass::Train)?;
/// tile.update(&[1.0, 0.5, -0.5], &[0.2, -0.1], 0.01)?;
/// # Ok::<(), mho_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Tile {
    pub(crate) spec: TileSpec,
    pub(crate) weights: Vec<f32>,
    pub(crate) planes: Vec<(&'static str, Plane)>,
    pub(crate) persistent: Option<Vec<f32>>,
    pub(crate) forward_lines: OwnedLines,
    pub(crate) backward_lines: OwnedLines,
    pub(crate) drift: Option<OwnedDrift>,
    pub(crate) counts: Option<Vec<i64>>,
    pub(crate) seed: u64,
    pub(crate) calls: u64,
    /// What the column of an analog bias sees.
    pub(crate) bias_input: f32,
}

/// What calls change in a tile.
#[derive(Debug)]
pub(crate) struct Saved {
    weights: Vec<f32>,
    persistent: Option<Vec<f32>>,
    drift: Option<OwnedDrift>,
    counts: Option<Vec<i64>>,
    running: [Option<f32>; 2],
    calls: u64,
}

/// What drift remembers, owned.
#[derive(Debug, Clone)]
pub(crate) struct OwnedDrift {
    pub(crate) clock: f64,
    pub(crate) start: Vec<f64>,
    pub(crate) written: Vec<f32>,
    pub(crate) previous: Vec<f32>,
}

impl OwnedDrift {
    pub(crate) fn new(weights: &[f32]) -> Result<Self> {
        let start = memory::filled(0.0, weights.len())?;
        let (written, previous) = (memory::copied(weights)?, memory::copied(weights)?);
        Ok(Self { clock: 0.0, start, written, previous })
    }

    pub(crate) fn borrow(&mut self) -> DriftState<'_> {
        let Self { clock, start, written, previous } = self;
        DriftState { clock, start, written, previous }
    }
}

impl Tile {
    /// A tile with `outputs` rows and `inputs` columns and weights of zero, or of the bound next to
    /// it for devices that cannot have that, without write noise; every random value follows from
    /// `seed`.
    ///
    /// # Errors
    /// As [`TileSpec::new`], or a value that is drawn is beyond `f32`; [`Error::Memory`],
    /// [`Error::Interrupted`].
    pub fn new(outputs: usize, inputs: usize, config: &TileConfig, seed: u64) -> Result<Self> {
        Self::construct(TileSpec::new(config.clone(), outputs, inputs, false)?, seed)
    }

    /// As [`Tile::new`], with one more column of weights, the bias: inputs and outputs of products and
    /// updates have as many elements as without it, and the column sees [`Tile::bias_input`].
    ///
    /// # Errors
    /// As there.
    pub fn with_analog_bias(
        outputs: usize,
        inputs: usize,
        config: &TileConfig,
        seed: u64,
    ) -> Result<Self> {
        let columns = inputs.saturating_add(1);
        Self::construct(TileSpec::new(config.clone(), outputs, columns, true)?, seed)
    }

    fn construct(spec: TileSpec, seed: u64) -> Result<Self> {
        let planes = spec.device.construct(seed)?;
        for (name, plane) in &planes {
            Error::check_drawn("device", name, plane.values())?;
        }
        let forward_lines = OwnedLines { values: spec.forward.construct_lines(seed)? };
        let backward_lines = OwnedLines { values: spec.backward.construct_lines(seed)? };
        forward_lines.check("forward")?;
        backward_lines.check("backward")?;
        let mut weights = memory::filled(0.0, spec.d_size * spec.x_size)?;
        let borrowed: Vec<PlaneRef<'_>> = planes.iter().map(|(_, plane)| plane.as_ref()).collect();
        spec.device.bound(&mut weights, &borrowed)?;
        let persistent = spec.device.write_noise().map(|_| memory::copied(&weights)).transpose()?;
        let counts =
            spec.counts_pulses().then(|| memory::filled(0, 2 * weights.len())).transpose()?;
        Ok(Self {
            spec,
            weights,
            planes,
            persistent,
            forward_lines,
            backward_lines,
            drift: None,
            counts,
            seed,
            calls: 0,
            bias_input: 1.0,
        })
    }

    /// The parsed configuration.
    #[must_use]
    pub fn spec(&self) -> &TileSpec {
        &self.spec
    }

    /// The seed that all random numbers follow from.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Number of calls so far: the position in the random numbers.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// What the column of an analog bias sees: 1, or what [`Tile::set_bias_input`] has said.
    #[must_use]
    pub fn bias_input(&self) -> f32 {
        self.bias_input
    }

    /// Changes what the column of an analog bias sees. A layer that divides its inputs by a range says one
    /// over that range, for it multiplies the outputs by it. It belongs to the layer, so it is not part of
    /// the state.
    ///
    /// # Errors
    /// [`Error::Argument`] for a value that is not finite.
    pub fn set_bias_input(&mut self, bias_input: f32) -> Result<()> {
        Error::check_finite("bias_input", &[bias_input])?;
        self.bias_input = bias_input;
        Ok(())
    }

    /// Weights, `[outputs, inputs]` row-major; the last column is that of an analog bias.
    #[must_use]
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// Values that were drawn once for the lines of a product, and the running value of its noise
    /// management, with their names.
    pub fn lines(&self, direction: Direction) -> impl Iterator<Item = (&'static str, &[f32])> {
        let lines = match direction {
            Direction::Forward => &self.forward_lines,
            Direction::Backward => &self.backward_lines,
        };
        lines.iter()
    }

    /// Writes one of [`Tile::lines`].
    ///
    /// # Errors
    /// [`Error::Argument`] for a name that there is not, or a value that is not finite, [`Error::Shape`];
    /// the tile is then as before.
    pub fn set_lines(&mut self, direction: Direction, name: &str, values: &[f32]) -> Result<()> {
        match direction {
            Direction::Forward => self.forward_lines.set(name, values),
            Direction::Backward => self.backward_lines.set(name, values),
        }
    }

    /// Time of the last drift in units of `t_0`; `None` before the first one.
    #[must_use]
    pub fn drift_clock(&self) -> Option<f64> {
        self.drift.as_ref().map(|drift| drift.clock)
    }

    /// Values of a hidden parameter, `[outputs, inputs]` row-major, or `None` for an unknown name.
    #[must_use]
    pub fn hidden_parameter(&self, name: &str) -> Option<PlaneRef<'_>> {
        if name == "persistent_weights" {
            return self.persistent.as_deref().map(PlaneRef::Values);
        }
        let (_, plane) = self.planes.iter().find(|(key, _)| *key == name)?;
        Some(plane.as_ref())
    }

    /// Writes hidden parameters, `[outputs, inputs]` each, and brings the weights into the new bounds; those
    /// that are not named stay. Persistent weights are among them. If the mean step contradicts `dw_min` of
    /// the configuration, the tile uses a `dw_min` of its own from then on, [`TileSpec::dw_min`].
    ///
    /// # Errors
    /// [`Error::Argument`] for an unknown name, values that are not finite or bounds that are crossed,
    /// [`Error::Shape`], [`Error::Memory`]; the tile is then as before.
    pub fn set_hidden_parameters(&mut self, values: &[(&str, &[f32])]) -> Result<()> {
        let mut planes = self.planes.clone();
        let mut persistent = self.persistent.as_deref().map(memory::copied).transpose()?;
        for (name, values) in values {
            let why = || format!("{} has no {name:?}", self.spec.device.name());
            let unknown = || Error::Argument { argument: "hidden", why: why() };
            Error::check_len("hidden", values.len(), self.weights.len())?;
            Error::check_finite("hidden", values)?;
            if *name == "persistent_weights" {
                persistent.as_mut().ok_or_else(unknown)?.copy_from_slice(values);
            } else {
                let plane = planes.iter_mut().find(|(key, _)| key == name).ok_or_else(unknown)?;
                plane.1 = Plane::Values(memory::copied(values)?);
            }
        }
        let mut weights = memory::copied(&self.weights)?;
        let borrowed: Vec<PlaneRef<'_>> = planes.iter().map(|(_, plane)| plane.as_ref()).collect();
        self.spec.device.check_planes(&borrowed)?;
        let spec = match self.spec.device.unexpected_dw_min(&borrowed) {
            None => None,
            step => Some(TileSpec::with_step(
                self.spec.config.clone(),
                self.spec.d_size,
                self.spec.x_size,
                self.spec.analog_bias,
                step,
            )?),
        };
        let cells = Cells {
            weights: &mut weights,
            persistent: persistent.as_deref_mut(),
            planes: &borrowed,
        };
        self.spec.device.enter_bounds(cells)?;
        (self.weights, self.planes, self.persistent) = (weights, planes, persistent);
        if let Some(spec) = spec {
            self.spec = spec;
        }
        Ok(())
    }

    /// As [`Tile::set_hidden_parameters`], for one of them.
    ///
    /// # Errors
    /// As there.
    pub fn set_hidden_parameter(&mut self, name: &str, values: &[f32]) -> Result<()> {
        self.set_hidden_parameters(&[(name, values)])
    }

    /// Writes the weights; the devices clip them to their bounds.
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::Argument`] for a wrong number of values or values that are not
    /// finite; the tile is then as before.
    pub fn set_weights(&mut self, weights: &[f32]) -> Result<()> {
        Error::check_len("weights", weights.len(), self.weights.len())?;
        Error::check_finite("weights", weights)?;
        self.weights.copy_from_slice(weights);
        self.apply(Device::set_weights)
    }

    /// Fills the weights with uniform draws in `[low, high)`, clipped to the bounds.
    ///
    /// # Errors
    /// [`Error::Argument`] for limits that are not finite, not in order, or whose distance `f32` does
    /// not hold; the tile is then as before.
    pub fn set_weights_uniform(&mut self, low: f32, high: f32) -> Result<()> {
        Error::check_finite("low, high", &[low, high])?;
        if low > high || !(high - low).is_finite() {
            let why = format!(
                "got {} and {}; expected limits in order, with a finite distance",
                shown(low),
                shown(high)
            );
            return Err(Error::Argument { argument: "low, high", why });
        }
        self.numbered(|tile, key| {
            fill_uniform(&mut tile.weights, low, high, key)?;
            Ok(())
        })?;
        self.apply(Device::set_weights)
    }

    /// Decay by `alpha` calls, see [`Device::decay`].
    ///
    /// # Errors
    /// [`Error::Argument`] for an `alpha` that is negative or beyond f32; the tile is then as before.
    pub fn decay(&mut self, alpha: f64) -> Result<()> {
        self.apply(|device, cells, key| device.decay(cells, alpha, key))
    }

    /// One step of a random walk, see [`Device::diffuse`].
    ///
    /// # Errors
    /// None for a tile made by [`Tile::new`].
    pub fn diffuse(&mut self) -> Result<()> {
        self.apply(Device::diffuse)
    }

    /// Reset of columns, see [`Device::reset_columns`].
    ///
    /// # Errors
    /// [`Error::Argument`] for a bad column or probability.
    pub fn reset_columns(&mut self, start: usize, count: i64, probability: f64) -> Result<()> {
        self.apply(|device, cells, key| device.reset_columns(cells, start, count, probability, key))
    }

    /// Symmetric clipping, see [`Device::clip_weights`].
    ///
    /// # Errors
    /// As there; the tile is then as before.
    pub fn clip_weights(&mut self, clip: WeightClip) -> Result<()> {
        self.apply(|device, cells, key| device.clip_weights(cells, clip, key))
    }

    /// Drift for `delta_t`, see [`Device::drift`]; nothing happens without drift in the
    /// configuration. The clock starts at the first call.
    ///
    /// # Errors
    /// [`Error::Argument`] for a time that is negative or not finite.
    pub fn drift(&mut self, delta_t: f64) -> Result<()> {
        let Some(parameters) = self.spec.config.device.drift() else { return Ok(()) };
        let acting = self.persistent.as_deref().unwrap_or(&self.weights);
        let (mut state, is_old) = match self.drift.take() {
            Some(state) => (state, true),
            None => (OwnedDrift::new(acting)?, false),
        };
        let result = self.apply(|device, cells, key| {
            device.drift(cells, &parameters, state.borrow(), delta_t, key)
        });
        // A drift that fails has changed nothing, and has not started the clock.
        self.drift = (is_old || result.is_ok()).then_some(state);
        result
    }

    /// Writes what a modifier makes of the weights for the passes of a training step, `[outputs, inputs]`;
    /// the weights stay.
    ///
    /// # Errors
    /// [`Error::Shape`] when `modified` has another length; the tile is then as before.
    pub fn modify_weights(&mut self, modifier: &Modifier, modified: &mut [f32]) -> Result<()> {
        self.numbered(|tile, key| modifier.modify(&tile.weights, modified, tile.spec.x_size, key))
    }

    /// Coincidences of every cell so far, `[2, outputs, inputs]`: those down (`x d > 0`), then
    /// those up; `None` unless the device counts them.
    #[must_use]
    pub fn pulse_counters(&self) -> Option<&[i64]> {
        self.counts.as_deref()
    }

    /// Analog product `y = W x` for a batch: `x` is `[batch, inputs]`, `y` is `[batch, outputs]`.
    ///
    /// # Errors
    /// [`Error::Shape`] when the slices do not fit, [`Error::Memory`], [`Error::Interrupted`]; the
    /// tile is then as before.
    pub fn forward(&mut self, x: &[f32], y: &mut [f32], pass: Pass) -> Result<()> {
        self.product(Direction::Forward, x, y, None, pass)
    }

    /// The same, and where outputs are at the bound of their converter.
    pub(crate) fn forward_masked(
        &mut self,
        x: &[f32],
        y: &mut [f32],
        mask: Option<&mut [u8]>,
        pass: Pass,
    ) -> Result<()> {
        self.product(Direction::Forward, x, y, mask, pass)
    }

    /// Analog product `g = W^T d` for a batch: `d` is `[batch, outputs]`, `g` is `[batch, inputs]`.
    ///
    /// # Errors
    /// As for [`Tile::forward`].
    pub fn backward(&mut self, d: &[f32], g: &mut [f32], pass: Pass) -> Result<()> {
        self.product(Direction::Backward, d, g, None, pass)
    }

    /// Pulsed update `W += -learning_rate d x^T`, one sample after another.
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::Argument`] for bad arguments, [`Error::Memory`],
    /// [`Error::Interrupted`], [`Error::Panic`]; the tile is then as before.
    pub fn update(&mut self, x: &[f32], d: &[f32], learning_rate: f64) -> Result<()> {
        self.numbered(|tile, key| {
            let bias = tile.spec.analog_bias.then_some(tile.bias_input);
            let Self { spec, weights, planes, persistent, counts, .. } = tile;
            let planes: Vec<PlaneRef<'_>> =
                planes.iter().map(|(_, plane)| plane.as_ref()).collect();
            pulse::update(Update {
                device: &spec.device,
                weights,
                planes: &planes,
                persistent: persistent.as_deref_mut(),
                x,
                bias,
                d,
                learning_rate,
                key,
                counts: counts.as_deref_mut(),
            })
        })
    }

    /// What calls change, to be put back by [`Tile::restore`].
    pub(crate) fn saved(&self) -> Result<Saved> {
        Ok(Saved {
            weights: memory::copied(&self.weights)?,
            persistent: self.persistent.as_deref().map(memory::copied).transpose()?,
            drift: self.drift.clone(),
            counts: self.counts.as_deref().map(memory::copied).transpose()?,
            running: [self.forward_lines.running(), self.backward_lines.running()],
            calls: self.calls,
        })
    }

    /// Puts back what was saved.
    pub(crate) fn restore(&mut self, saved: Saved) {
        let Saved { weights, persistent, drift, counts, running: [forward, backward], calls } =
            saved;
        (self.weights, self.persistent, self.counts) = (weights, persistent, counts);
        (self.drift, self.calls) = (drift, calls);
        self.forward_lines.set_running(forward);
        self.backward_lines.set_running(backward);
    }

    /// Runs an operation on the cells.
    fn apply(&mut self, f: impl FnOnce(&Device, Cells<'_>, Key) -> Result<()>) -> Result<()> {
        self.numbered(|tile, key| {
            let Self { spec, weights, planes, persistent, .. } = tile;
            let planes: Vec<PlaneRef<'_>> =
                planes.iter().map(|(_, plane)| plane.as_ref()).collect();
            let persistent = persistent.as_deref_mut();
            f(&spec.device, Cells { weights, persistent, planes: &planes }, key)
        })
    }

    fn product(
        &mut self,
        direction: Direction,
        x: &[f32],
        y: &mut [f32],
        mask: Option<&mut [u8]>,
        pass: Pass,
    ) -> Result<()> {
        self.numbered(|tile, key| {
            let owned = match direction {
                Direction::Forward => &mut tile.forward_lines,
                Direction::Backward => &mut tile.backward_lines,
            };
            let mut running = owned.running();
            let (has_bias, forward) = (tile.spec.analog_bias, direction == Direction::Forward);
            tile.spec.mvm(direction).run(Request {
                x,
                bias: (has_bias && forward).then_some(tile.bias_input),
                // The bias column of a transposed product is computed and dropped.
                drop_last: has_bias && !forward,
                weights: &tile.weights,
                y,
                key,
                is_test: pass == Pass::Test,
                lines: owned.borrow(),
                running: running.as_mut(),
                mask,
            })?;
            owned.set_running(running);
            Ok(())
        })
    }

    /// Runs a call with the key of the next one; a call that fails has not been one.
    fn numbered<R>(&mut self, call: impl FnOnce(&mut Self, Key) -> Result<R>) -> Result<R> {
        let number = next_call(self.calls)?;
        let result = call(self, Key::new(self.seed, number))?;
        self.calls = number;
        Ok(result)
    }
}

/// The number of the call after that many.
///
/// # Errors
/// [`Error::State`] at the end of the numbers.
pub(crate) fn next_call(calls: u64) -> Result<u64> {
    // Those that int64 holds, as states have it.
    calls.checked_add(1).filter(|calls| i64::try_from(*calls).is_ok()).ok_or_else(|| {
        let why =
            "the tile has made 2^63 - 1 calls, which are all that its seed has random numbers for";
        Error::State { why: why.to_owned() }
    })
}

/// Fills `weights` with uniform draws in `[low, high)`.
///
/// # Errors
/// [`Error::Memory`].
pub fn fill_uniform(weights: &mut [f32], low: f32, high: f32, key: Key) -> Result<()> {
    /// Weights of one task, whole chunks of draws: some microseconds of work.
    const PIECE: usize = 128 * CHUNK;
    const DRAW_NS: f64 = 0.7;
    let draw = key.stream(Stream::Weights);
    let par = Par::of(DRAW_NS * weights.len() as f64);
    par.for_each(weights.chunks_mut(PIECE).enumerate(), |(at, weights)| {
        simd::run(Uniform { draw, first: at * PIECE, low, high, weights });
        Ok(())
    })
}

/// Some of the weights of [`fill_uniform`].
struct Uniform<'a> {
    draw: Draw,
    first: usize,
    low: f32,
    high: f32,
    weights: &'a mut [f32],
}

impl Work for Uniform<'_> {
    type Home = Self;

    #[inline(always)]
    fn run(self) {
        self.draw.fill_uniform_from(self.first, 0, 0, self.weights);
        for w in self.weights {
            *w = (self.high - self.low).mul_add(*w, self.low);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::{
        AnalogMvType, BoundManagement, IoParameters, NoiseManagement, PulseType, UpdateParameters,
        WeightNoise,
    };
    use crate::devices::{
        CellRef, CustomDevice, DeviceConfig, PulsedDevice, Rule, Visitor, random,
    };
    use crate::par;
    use crate::pulse::trains::SHARED_BLOCK;
    use crate::rng::record::{self, Position};

    /// Whether a draw may be asked for again by what it was made for: roundings of a probability by each
    /// slice of a sample, write noise by each chunk that moves a weight, and one evaluation for four
    /// samples with a single slot by each chunk that has one of them.
    fn repeats(position: &Position) -> bool {
        let shared = [Stream::PulseX, Stream::PulseD].iter().any(|side| position.is_of(*side))
            && position.block() == SHARED_BLOCK;
        shared || [Stream::PulseRound, Stream::WriteNoise].iter().any(|s| position.is_of(*s))
    }

    /// Checks that no draw serves two purposes. `drawn` has those of one call per element.
    fn check(drawn: &[Vec<Position>]) -> std::result::Result<(), TestCaseError> {
        let mut all = Vec::new();
        for call in drawn {
            let mut call = call.clone();
            call.sort_unstable();
            let twice = call.windows(2).find(|two| two[0] == two[1] && !repeats(&two[0]));
            prop_assert!(twice.is_none(), "{twice:?} in one call");
            call.dedup();
            all.append(&mut call);
        }
        // Which merges what is sorted already.
        all.sort();
        let twice = all.windows(2).find(|two| two[0] == two[1]);
        prop_assert!(twice.is_none(), "{twice:?} in two calls");
        Ok(())
    }

    prop_compose! {
        fn io()(
            management in prop::sample::select(&[
                NoiseManagement::None, NoiseManagement::AbsMax, NoiseManagement::AverageAbsMax,
            ]),
            mv_type in prop::sample::select(&[
                AnalogMvType::OnePass, AnalogMvType::PosNegSeparate,
                AnalogMvType::PosNegSeparateDigitalSum,
            ]),
            w_noise_type in prop::sample::select(&[
                WeightNoise::None, WeightNoise::AdditiveConstant, WeightNoise::PcmRead,
            ]),
            bound in prop::sample::select(&[
                BoundManagement::None, BoundManagement::Iterative,
                BoundManagement::IterativeWorstCase,
            ]),
            out_bound in 0.05..2.0,
            rounds in any::<(bool, bool)>(),
        ) -> IoParameters {
            IoParameters {
                noise_management: management,
                mv_type,
                w_noise_type,
                w_noise: 0.1,
                bound_management: bound,
                out_bound,
                inp_noise: 0.1,
                inp_sto_round: rounds.0,
                out_sto_round: rounds.1,
                out_noise_std: 0.1,
                v_offset_std: 0.1,
                out_nonlinearity: 0.1,
                w_read_asymmetry_dtod: 0.1,
                ..IoParameters::default()
            }
        }
    }

    prop_compose! {
        fn update()(
            pulse_type in prop::sample::select(&[
                PulseType::StochasticCompressed, PulseType::MeanCount,
                PulseType::DeterministicImplicit, PulseType::NoneWithDevice,
            ]),
            // Several chunks of one sample, too.
            desired_bl in prop_oneof![1i64..40, 4000i64..9000],
            managed in any::<bool>(),
            sto_round in any::<bool>(),
            exact_pulses in any::<bool>(),
        ) -> UpdateParameters {
            let update_bl_management = managed;
            let res = if sto_round { 0.01 } else { 0.0 };
            UpdateParameters {
                pulse_type, desired_bl, update_bl_management, sto_round, res, exact_pulses,
                ..UpdateParameters::default()
            }
        }
    }

    fn values(len: usize, key: u64) -> Vec<f32> {
        let mut out = vec![0.0; len];
        Key::new(9, key).stream(Stream::Read).fill_normal(0, 0, &mut out);
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn no_draw_serves_two_purposes(
            name in prop::sample::select(DeviceConfig::PULSED),
            io in io(),
            update in update(),
            sizes in (1usize..90, 1usize..90),
            samples in prop_oneof![1usize..5, 30usize..50],
            near_bounds in any::<bool>(),
            seed in any::<u64>(),
        ) {
            // What other threads draw is not recorded.
            par::set_num_threads(1).unwrap();
            // Many pulses take long.
            let many = update.desired_bl > 100;
            let samples = if many { samples.min(2) } else { samples };
            let mut device = DeviceConfig::pulsed_default(name).unwrap();
            let pulsed = device.pulsed_mut().unwrap();
            pulsed.corrupt_devices_prob = 0.1;
            (pulsed.lifetime, pulsed.lifetime_dtod) = (100.0, 0.1);
            (pulsed.diffusion, pulsed.diffusion_dtod) = (0.01, 0.1);
            (pulsed.reset_dtod, pulsed.drift.nu) = (0.1, 0.1);
            (pulsed.drift.nu_dtod, pulsed.drift.nu_std, pulsed.drift.w_noise_std) = (0.1, 0.1, 0.1);
            if let DeviceConfig::PowStep(device) = &mut device {
                device.write_noise_std = 0.5;
            }
            let config = TileConfig {
                device, forward: io.clone(), backward: io, update,
            };
            let (rows, columns) = sizes;
            let (x, d) = (values(samples * columns, 1), values(samples * rows, 2));
            let (mut y, mut g) = (vec![0.0; d.len()], vec![0.0; x.len()]);
            let mut tile = None;
            let mut drawn = vec![
                record::during(|| tile = Tile::new(rows, columns, &config, seed).ok()),
            ];
            let mut tile = tile.unwrap();
            let range = if near_bounds { 0.6 } else { 0.1 };
            drawn.push(record::during(|| tile.set_weights_uniform(-range, range).unwrap()));
            // A product and its transpose may share a call, as they do in the Python package.
            drawn.push(record::during(|| {
                let key = Key::new(seed, 1 << 40);
                let (lines, back) = (tile.forward_lines.clone(), tile.backward_lines.clone());
                for (direction, lines, x, y) in [
                    (Direction::Forward, lines, &x, &mut y), (Direction::Backward, back, &d, &mut g),
                ] {
                    let mut running = lines.running();
                    tile.spec.mvm(direction).run(Request {
                        x, bias: None, drop_last: false, weights: &tile.weights, y, key,
                        is_test: false, lines: lines.borrow(), running: running.as_mut(), mask: None,
                    }).unwrap();
                }
            }));
            drawn.push(record::during(|| tile.forward(&x, &mut y, Pass::Train).unwrap()));
            drawn.push(record::during(|| tile.backward(&d, &mut g, Pass::Train).unwrap()));
            for rate in [0.01, 0.3] {
                drawn.push(record::during(|| tile.update(&x, &d, rate).unwrap()));
            }
            drawn.push(record::during(|| tile.diffuse().unwrap()));
            drawn.push(record::during(|| tile.decay(1.0).unwrap()));
            drawn.push(record::during(|| tile.drift(10.0).unwrap()));
            drawn.push(record::during(|| tile.reset_columns(0, -1, 0.5).unwrap()));
            // Decay draws nothing, nor do updates without pulses.
            prop_assert!(drawn.iter().filter(|call| call.is_empty()).count() <= 3);
            check(&drawn)?;
        }
    }

    /// Weight of a cell after one pulse without noise, as the rule of its device has it.
    struct OnePulse {
        w: f32,
        up: bool,
        /// Bounds with the reference subtracted, steps, what the device adds.
        cell: CellRef,
    }

    impl Visitor for OnePulse {
        type Output = f32;

        fn pulsed<D: PulsedDevice>(self, device: &D) -> f32 {
            let Self { w, up, cell } = self;
            let rule = device.rule();
            let moved = rule.step(w, up, rule.prepare(cell), 0.0);
            if moved.is_nan() { w } else { moved.max(cell.min_bound).min(cell.max_bound) }
        }

        fn custom(self, _: &CustomDevice) -> f32 {
            self.w
        }

        fn exact(self) -> f32 {
            self.w
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// One pulse at each crosspoint is that of the formula; with noise, weights stay finite and within
        /// the bounds.
        #[test]
        fn random_devices(
            name in prop::sample::select(DeviceConfig::PULSED),
            seed in any::<u64>(),
            up in any::<bool>(),
            noisy in any::<bool>(),
        ) {
            let mut device = random::device(name, seed).unwrap();
            let pulsed = device.pulsed_mut().unwrap();
            if !noisy {
                pulsed.dw_min_std = 0.0;
            }
            let granularity = {
                let update = UpdateParameters::default();
                Device::new(&device, &update, 1, 1, false).unwrap().granularity()
            };
            // Lines that fire surely, once.
            let update = UpdateParameters {
                desired_bl: 1,
                fixed_bl: true,
                update_management: false,
                update_bl_management: false,
                ..UpdateParameters::default()
            };
            let config = TileConfig { device, update, ..TileConfig::default() };
            let (rows, columns) = (5, 37);
            let mut tile = Tile::new(rows, columns, &config, seed).unwrap();
            tile.set_weights(&values(rows * columns, seed)).unwrap();
            let rate = 4.0 * granularity;
            // Infinitely fine steps make no pulses.
            prop_assume!(rate > 0.0 && rate < f64::from(f32::MAX));
            let acting = |tile: &Tile| match &tile.persistent {
                Some(persistent) => persistent.clone(),
                None => tile.weights.clone(),
            };
            let before = acting(&tile);
            let error = if up { -1.0 } else { 1.0 };
            tile.update(&vec![1.0; columns], &vec![error; rows], rate).unwrap();
            let after = acting(&tile);
            let planes: Vec<_> = tile.planes.iter().map(|(_, plane)| plane.as_ref()).collect();
            let device = tile.spec.device();
            let bounds = device.bounds(&planes).unwrap();
            let extra = device.first_extra();
            for at in 0..rows * columns {
                let [min_bound, max_bound] = bounds.at(at);
                prop_assert!(tile.weights[at].is_finite());
                prop_assert!((min_bound..=max_bound).contains(&after[at]));
                if noisy {
                    continue;
                }
                let plane = |position: usize| planes.get(position).map_or(0.0, |plane| plane.at(at));
                let cell = CellRef {
                    max_bound,
                    min_bound,
                    up: plane(2),
                    down: plane(3),
                    extra: [0, 1, 2, 3].map(|added| plane(extra + added)),
                };
                let expected = device.config().visit(OnePulse { w: before[at], up, cell });
                // Roundings of a few operations on numbers of this size.
                let size = max_bound.abs().max(min_bound.abs()).max(expected.abs());
                prop_assert!(
                    (after[at] - expected).abs() <= 1e-5 * size,
                    "cell {at}: {} to {} instead of {expected}, {cell:?}", before[at], after[at]
                );
            }
        }
    }
}
