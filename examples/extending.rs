//! A device and an algorithm of one's own, in a crate that depends on `mho-core`.
//!
//! Run with `cargo run --release --example extending`. `docs/extending.md` explains it.

use mho_core::compound::{CompoundRule, CustomCompound, Gradients};
use mho_core::devices::{
    Branch, Cell, CellRef, DeviceConfig, MAX_EXTRA, PulsedDevice, PulsedParameters, Response, Rule,
};
use mho_core::layer::RawTile;
use mho_core::tile::Pass;
use mho_core::{Error, IoParameters, Result, Tile, TileConfig};

/// Device whose step has the window of Joglekar and Wolf ("The elusive memristor: properties of
/// basic electrical circuits", Eur. J. Phys. 30, 661, 2009): at the relative weight `x` between
/// the bounds, `1 - |2x - 1|^(2p)` of its size is left.
#[derive(Debug, Clone, PartialEq)]
pub struct JoglekarStep {
    /// Parameters shared by all pulsed devices.
    pub pulsed: PulsedParameters,
    /// Mean exponent.
    pub p: f64,
    /// Relative spread of the exponent.
    pub p_dtod: f64,
}

impl Default for JoglekarStep {
    fn default() -> Self {
        Self { pulsed: PulsedParameters::default(), p: 2.0, p_dtod: 0.1 }
    }
}

/// Positions in the constants of a cell: the drawn exponent, and twice the inverse of the range.
const EXPONENT: usize = 0;
const SCALE: usize = 1;

/// One pulse of [`JoglekarStep`].
#[derive(Debug, Clone, Copy)]
pub struct JoglekarRule {
    std: f32,
}

/// Position between the bounds, from -1 to 1.
fn position(w: f32, cell: CellRef) -> f32 {
    (w - cell.min_bound) * cell.extra[SCALE] - 1.0
}

impl Rule for JoglekarRule {
    fn prepare(self, mut cell: CellRef) -> CellRef {
        let range = cell.max_bound - cell.min_bound;
        cell.extra[SCALE] = if range > 0.0 { 2.0 / range } else { 0.0 };
        cell
    }

    fn mean(self, w: f32, up: bool, cell: CellRef) -> f32 {
        let size = if up { cell.up } else { -cell.down };
        size * (1.0 - position(w, cell).abs().powf(2.0 * cell.extra[EXPONENT]))
    }

    fn noise(self, mean: f32, _w: f32, _up: bool, _cell: CellRef) -> f32 {
        self.std * mean
    }

    fn branch(self, w: f32, up: bool, cell: CellRef) -> Branch {
        let size = if up { cell.up } else { -cell.down };
        let (y, power) = (position(w, cell), 2.0 * cell.extra[EXPONENT]);
        let far = y.abs().max(1e-6);
        let slope = -power * far.powf(power - 1.0) * y.signum() * cell.extra[SCALE];
        let curvature = -power * (power - 1.0) * far.powf(power - 2.0) * cell.extra[SCALE].powi(2);
        Branch::multiplicative(self.mean(w, up, cell), size * slope, size * curvature, self.std)
    }

    fn std(self) -> f32 {
        self.std
    }
}

impl PulsedDevice for JoglekarStep {
    const NAME: &'static str = "JoglekarStep";
    const EXTRA: &'static [&'static str] = &["exponent"];
    const EXTRA_DRAWS: usize = 1;
    type Rule<'a> = JoglekarRule;

    fn pulsed(&self) -> &PulsedParameters {
        &self.pulsed
    }

    fn pulsed_mut(&mut self) -> &mut PulsedParameters {
        &mut self.pulsed
    }

    fn validate(&self, path: &str) -> Result<()> {
        self.pulsed.validate(path)?;
        if self.p.is_finite() && self.p > 0.0 && self.p_dtod.is_finite() {
            return Ok(());
        }
        Err(Error::config(format!("{path}.p"), "must be positive, and p_dtod finite"))
    }

    fn rule(&self) -> JoglekarRule {
        JoglekarRule { std: self.pulsed.dw_min_std as f32 }
    }

    fn response(&self) -> Response {
        Response::new(&[include_str!("joglekar_step.wgsl")], self.rule().std, &[])
    }

    fn extra(&self, _cell: &mut Cell, normals: &[f64]) -> [f64; MAX_EXTRA] {
        [self.p * (1.0 + self.p_dtod * normals[0]).abs(), 0.0, 0.0, 0.0]
    }

    fn extra_varies(&self) -> bool {
        self.p_dtod != 0.0
    }
}

/// Periodic carry (Ambrogio et al., "Equivalent-accuracy accelerated neural-network training using analogue
/// memory", Nature 558, 60, 2018): gradients go to device 0. Every `period` samples its columns are read and added to
/// device 1, and it starts anew. The weight is the sum of both.
#[derive(Debug, Clone)]
pub struct PeriodicCarry {
    /// Samples between two carries.
    pub period: usize,
    seen: usize,
}

impl PeriodicCarry {
    /// A rule that has seen no sample.
    pub fn new(period: usize) -> Self {
        Self { period, seen: 0 }
    }
}

impl CompoundRule for PeriodicCarry {
    fn update(&mut self, devices: &mut [Tile], gradients: &Gradients<'_>) -> Result<()> {
        let [fast, slow] = devices else {
            return Err(Error::Argument { argument: "devices", why: "must be two".to_owned() });
        };
        for (x, d) in gradients.samples() {
            fast.update(x, d, gradients.learning_rate)?;
            self.seen += 1;
            if !self.seen.is_multiple_of(self.period) {
                continue;
            }
            for column in 0..x.len() {
                let mut line = vec![0.0; x.len()];
                line[column] = 1.0;
                let mut values = fast.forward_batch(&line, Pass::Test)?;
                values.iter_mut().for_each(|value| *value = -*value);
                slow.update(&line, &values, 1.0)?;
            }
            fast.set_weights(&vec![0.0; x.len() * d.len()])?;
        }
        Ok(())
    }

    fn combine(&self, devices: &[Tile], weights: &mut [f32]) {
        for (at, weight) in weights.iter_mut().enumerate() {
            *weight = devices.iter().map(|device| device.weights()[at]).sum();
        }
    }
}

/// Relative distance of the weights of `tile` from those of a teacher, after it has seen that one's outputs.
///
/// # Errors
/// Those of the tile.
pub fn learn(tile: &mut impl RawTile, samples: usize) -> Result<f32> {
    let (rows, columns) = (tile.d_size(), tile.x_size());
    let value = |at: usize| (at as f32 * 1.37).sin();
    let teacher: Vec<f32> = (0..rows * columns).map(|at| 0.3 * value(at)).collect();
    for sample in 0..samples {
        let x: Vec<f32> = (0..columns).map(|at| value((at + 1) * (sample + 1))).collect();
        let mut y = vec![0.0; rows];
        tile.forward(&x, &mut y, None, Pass::Train)?;
        for (y, row) in y.iter_mut().zip(teacher.chunks_exact(columns)) {
            *y -= row.iter().zip(&x).map(|(w, x)| w * x).sum::<f32>();
        }
        tile.update(&x, &y, 0.05)?;
    }
    let square = |values: &mut dyn Iterator<Item = f32>| values.map(|v| v * v).sum::<f32>();
    let off = square(&mut tile.weights().iter().zip(&teacher).map(|(w, t)| w - t));
    Ok((off / square(&mut teacher.iter().copied())).sqrt())
}

fn main() -> Result<()> {
    let device = DeviceConfig::custom(JoglekarStep { p: 3.0, ..JoglekarStep::default() });
    let config = TileConfig::new(device).with(|config| {
        config.forward = IoParameters::perfect();
        config.update.desired_bl = 300;
    });
    let mut tile = Tile::new(10, 20, &config, 42)?;
    println!("own device, plain pulses: {:.3} off", learn(&mut tile, 2000)?);
    let (devices, rule) = ([config.clone(), config.clone()], PeriodicCarry::new(10));
    let mut tile = CustomCompound::new([10, 20], &config, &devices, rule, 42)?;
    println!("own device, own algorithm: {:.3} off", learn(&mut tile, 2000)?);
    Ok(())
}
