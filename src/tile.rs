//! A tile: the parsed configuration of one crossbar and, for Rust users, its state.

use crate::config::{TileConfig, check_sizes};
use crate::devices::{Cells, Device, DriftState, Plane, PlaneRef};
use crate::error::{Error, Result};
use crate::mvm::{Direction, Lines, Mvm, Request};
use crate::pulse::{self, Update};
use crate::rng::{Key, Stream};

/// Parsed and validated configuration of one tile with its sizes: everything that the kernels need
/// besides the state. Immutable.
#[derive(Debug, Clone)]
pub struct TileSpec {
    config: TileConfig,
    d_size: usize,
    x_size: usize,
    analog_bias: bool,
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
        check_sizes(d_size, x_size)?;
        config.validate()?;
        let device = Device::new(&config.device, &config.update, d_size, x_size, analog_bias)?;
        let forward = Mvm::new(&config.forward, Direction::Forward, d_size, x_size)?;
        let backward = Mvm::new(&config.backward, Direction::Backward, d_size, x_size)?;
        Ok(Self { config, d_size, x_size, analog_bias, device, forward, backward })
    }

    /// The configuration.
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
struct OwnedLines {
    values: Vec<(&'static str, Vec<f32>)>,
}

impl OwnedLines {
    fn get(&self, name: &str) -> &[f32] {
        self.values.iter().find(|(key, _)| *key == name).map_or(&[], |(_, values)| values)
    }

    fn check(&self, field: &'static str) -> Result<()> {
        self.values.iter().try_for_each(|(name, values)| Error::check_drawn(field, name, values))
    }

    fn borrow(&self) -> Lines<'_> {
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

    fn running(&self) -> Option<f32> {
        self.get("running_abs_max").first().copied()
    }

    fn set_running(&mut self, value: Option<f32>) {
        let slot = self.values.iter_mut().find(|(key, _)| *key == "running_abs_max");
        if let (Some((_, values)), Some(value)) = (slot, value) {
            values.clear();
            values.push(value);
        }
    }
}

/// A tile that owns its state.
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
    spec: TileSpec,
    weights: Vec<f32>,
    planes: Vec<(&'static str, Plane)>,
    persistent: Option<Vec<f32>>,
    forward_lines: OwnedLines,
    backward_lines: OwnedLines,
    drift: Option<OwnedDrift>,
    counts: Option<Vec<i64>>,
    seed: u64,
    calls: u64,
}

/// What drift remembers, owned.
#[derive(Debug, Clone)]
struct OwnedDrift {
    clock: f64,
    start: Vec<f64>,
    written: Vec<f32>,
    previous: Vec<f32>,
}

impl OwnedDrift {
    fn new(weights: &[f32]) -> Self {
        let start = vec![0.0; weights.len()];
        Self { clock: 0.0, start, written: weights.to_vec(), previous: weights.to_vec() }
    }

    fn borrow(&mut self) -> DriftState<'_> {
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
    /// As [`TileSpec::new`], or a value that is drawn is beyond `f32`.
    pub fn new(outputs: usize, inputs: usize, config: &TileConfig, seed: u64) -> Result<Self> {
        let spec = TileSpec::new(config.clone(), outputs, inputs, false)?;
        let planes = spec.device.construct(seed);
        for (name, plane) in &planes {
            Error::check_drawn("device", name, plane.values())?;
        }
        let forward_lines = OwnedLines { values: spec.forward.construct_lines(seed) };
        let backward_lines = OwnedLines { values: spec.backward.construct_lines(seed) };
        forward_lines.check("forward")?;
        backward_lines.check("backward")?;
        let mut weights = vec![0.0; outputs * inputs];
        let borrowed: Vec<PlaneRef<'_>> = planes.iter().map(|(_, plane)| plane.as_ref()).collect();
        spec.device.bound(&mut weights, &borrowed);
        let persistent = spec.device.write_noise().map(|_| weights.clone());
        let is_counted = spec.device.config().pulsed().is_some_and(|pulsed| pulsed.count_pulses);
        let counts = is_counted.then(|| vec![0; 2 * weights.len()]);
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
        })
    }

    /// The parsed configuration.
    #[must_use]
    pub fn spec(&self) -> &TileSpec {
        &self.spec
    }

    /// Weights, `[outputs, inputs]` row-major.
    #[must_use]
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// Values of a hidden parameter, `[outputs, inputs]` row-major, or `None` for an unknown name.
    #[must_use]
    pub fn hidden_parameter(&self, name: &str) -> Option<Vec<f32>> {
        if name == "persistent_weights" {
            return self.persistent.clone();
        }
        let (_, plane) = self.planes.iter().find(|(key, _)| *key == name)?;
        Some(match plane {
            Plane::Constant(value) => vec![*value; self.weights.len()],
            Plane::Values(values) => values.clone(),
        })
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
    /// None for a tile made by [`Tile::new`].
    pub fn set_weights_uniform(&mut self, low: f32, high: f32) -> Result<()> {
        let key = self.next_key();
        fill_uniform(&mut self.weights, low, high, key);
        self.apply(Device::set_weights)
    }

    /// Decay by `alpha` calls, see [`Device::decay`].
    ///
    /// # Errors
    /// None for a tile made by [`Tile::new`].
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

    /// Drift for `delta_t`, see [`Device::drift`]; nothing happens without drift in the
    /// configuration. The clock starts at the first call.
    ///
    /// # Errors
    /// [`Error::Argument`] for a time that is negative or not finite.
    pub fn drift(&mut self, delta_t: f64) -> Result<()> {
        let Some(parameters) = self.spec.config.device.drift() else { return Ok(()) };
        let acting = self.persistent.as_deref().unwrap_or(&self.weights);
        let mut state = self.drift.clone().unwrap_or_else(|| OwnedDrift::new(acting));
        self.apply(|device, cells, key| {
            device.drift(cells, &parameters, state.borrow(), delta_t, key)
        })?;
        self.drift = Some(state);
        Ok(())
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
    /// [`Error::Shape`] when the slices do not fit.
    pub fn forward(&mut self, x: &[f32], y: &mut [f32], pass: Pass) -> Result<()> {
        self.product(Direction::Forward, x, y, pass)
    }

    /// Analog product `g = W^T d` for a batch: `d` is `[batch, outputs]`, `g` is `[batch, inputs]`.
    ///
    /// # Errors
    /// [`Error::Shape`] when the slices do not fit.
    pub fn backward(&mut self, d: &[f32], g: &mut [f32], pass: Pass) -> Result<()> {
        self.product(Direction::Backward, d, g, pass)
    }

    /// Pulsed update `W += -learning_rate d x^T`, one sample after another.
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::Argument`] for bad arguments, [`Error::Interrupted`]; the
    /// weights are then as before.
    pub fn update(&mut self, x: &[f32], d: &[f32], learning_rate: f64) -> Result<()> {
        let key = self.next_key();
        let Self { spec, weights, planes, persistent, counts, .. } = self;
        let planes: Vec<PlaneRef<'_>> = planes.iter().map(|(_, plane)| plane.as_ref()).collect();
        pulse::update(Update {
            device: &spec.device,
            weights,
            planes: &planes,
            persistent: persistent.as_deref_mut(),
            x,
            bias: None,
            d,
            learning_rate,
            key,
            counts: counts.as_deref_mut(),
        })
    }

    /// Runs an operation on the cells.
    fn apply(&mut self, f: impl FnOnce(&Device, Cells<'_>, Key) -> Result<()>) -> Result<()> {
        let key = self.next_key();
        let Self { spec, weights, planes, persistent, .. } = self;
        let planes: Vec<PlaneRef<'_>> = planes.iter().map(|(_, plane)| plane.as_ref()).collect();
        f(
            &spec.device,
            Cells { weights, persistent: persistent.as_deref_mut(), planes: &planes },
            key,
        )
    }

    fn product(
        &mut self,
        direction: Direction,
        x: &[f32],
        y: &mut [f32],
        pass: Pass,
    ) -> Result<()> {
        let key = self.next_key();
        let owned = match direction {
            Direction::Forward => &mut self.forward_lines,
            Direction::Backward => &mut self.backward_lines,
        };
        let mut running = owned.running();
        let result = self.spec.mvm(direction).run(Request {
            x,
            bias: None,
            drop_last: false,
            weights: &self.weights,
            y,
            key,
            is_test: pass == Pass::Test,
            lines: owned.borrow(),
            running: running.as_mut(),
            mask: None,
        });
        owned.set_running(running);
        result
    }

    fn next_key(&mut self) -> Key {
        self.calls += 1;
        Key::new(self.seed, self.calls)
    }
}

/// Fills `weights` with uniform draws in `[low, high)`.
pub(crate) fn fill_uniform(weights: &mut [f32], low: f32, high: f32, key: Key) {
    key.stream(Stream::Weights).fill_uniform(0, 0, weights);
    for w in weights {
        *w = (high - low).mul_add(*w, low);
    }
}
