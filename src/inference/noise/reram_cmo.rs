//! Programming error, relaxation and read noise of CMO/HfOx resistive memory.

use serde::{Deserialize, Serialize};

use super::dictionary::Dictionary;
use super::draws::{BLOCK, RowDraws};
use super::formulas::{
    Spread, block, check_finite, check_g_max, check_positive, read_noise_growth,
};
use super::model::NoiseModel;
use super::reram_wan::SpreadTable;
use crate::config::{finite, params, require};
use crate::devices::math::log2;
use crate::error::{Error, Result, shown};
use crate::inference::converter::{ConductanceConverter, SingleDeviceConductanceConverter};
use crate::simd::{self, Work, clip, larger};

/// Deviation of the programming error in µS over the conductance in µS, by acceptance range in percent.
const COEFFICIENTS: [(f64, [f64; 2]); 2] =
    [(0.2, [0.000_811_07, 0.001_068_79]), (2.0, [0.011_218_539_1, 0.011_290_274_18])];

/// Relaxation over the natural logarithm of the time in seconds, in µS.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Dictionary<String, Vec<f64>>", into = "Dictionary<String, Vec<f64>>")]
#[non_exhaustive]
pub struct Relaxation {
    /// Slope of the mean.
    pub mean: f64,
    /// Slope and offset of the spread.
    pub std: [f64; 2],
}

impl Relaxation {
    /// A relaxation with the slope of its mean, and slope and offset of its spread.
    #[must_use]
    pub fn new(mean: f64, std: [f64; 2]) -> Self {
        Self { mean, std }
    }
}

impl TryFrom<Dictionary<String, Vec<f64>>> for Relaxation {
    type Error = String;

    fn try_from(dictionary: Dictionary<String, Vec<f64>>) -> std::result::Result<Self, String> {
        let [mean, std] = dictionary.of(["mean", "std"])?;
        let why = "needs one value under 'mean' and two under 'std'";
        let [mean] = <[f64; 1]>::try_from(mean).map_err(|_| why)?;
        Ok(Self { mean, std: std.try_into().map_err(|_| why)? })
    }
}

impl From<Relaxation> for Dictionary<String, Vec<f64>> {
    fn from(relaxation: Relaxation) -> Self {
        let Relaxation { mean, std } = relaxation;
        vec![("mean".to_owned(), vec![mean]), ("std".to_owned(), std.to_vec())].into()
    }
}

/// Read noise `K log10(g) sqrt(ln((t + t_read) / (2 t_read)))` of a conductance `g` in µS.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Dictionary<String, f64>", into = "Dictionary<String, f64>")]
#[non_exhaustive]
#[allow(non_snake_case, reason = "names of the literature")]
pub struct ReadNoise {
    /// Strength, in µS.
    pub K: f64,
    /// Duration of a read, in seconds.
    pub t_read: f64,
}

impl ReadNoise {
    /// Read noise of a strength in µS, for reads of a duration in seconds.
    #[must_use]
    pub fn new(k: f64, t_read: f64) -> Self {
        Self { K: k, t_read }
    }
}

impl TryFrom<Dictionary<String, f64>> for ReadNoise {
    type Error = String;

    fn try_from(dictionary: Dictionary<String, f64>) -> std::result::Result<Self, String> {
        let [k, t_read] = dictionary.of(["K", "t_read"])?;
        Ok(Self::new(k, t_read))
    }
}

impl From<ReadNoise> for Dictionary<String, f64> {
    fn from(noise: ReadNoise) -> Self {
        vec![("K".to_owned(), noise.K), ("t_read".to_owned(), noise.t_read)].into()
    }
}

params! {
    /// Noise of bidirectional devices programmed with a verify loop (Falcone et al., "All-in-one analog AI
    /// hardware", Adv. Funct. Mater., 2025).
    pub struct ReRamCMONoiseModel {
        /// Conversion between weights and conductances: one device per weight.
        g_converter: CmoConverter = CmoConverter::default();
        /// Whether drift starts from the conductances that programming arrived at.
        keep_conductances: bool = false;
        /// Largest conductance of the converter, in µS.
        g_max: real = 88.199_997;
        /// Smallest conductance of the converter, in µS.
        g_min: real = 9.0;
        /// For each acceptance range in percent offset in µS and slope of the deviation of the programming
        /// error over the target conductance.
        coeff_dict: SpreadTable =
            SpreadTable(COEFFICIENTS.map(|(range, c)| (range, c.to_vec())).to_vec());
        /// Relaxation.
        decay_dict: Relaxation =
            Relaxation { mean: -0.089_002_06, std: [0.042_011_37, 0.411_833_42] };
        /// Read noise.
        read_dict: ReadNoise = ReadNoise { K: 0.027_731_648_3, t_read: 1e-6 };
        /// Factor on the programming error.
        prog_noise_scale: real = 1.0;
        /// Factor on the read noise.
        read_noise_scale: real = 1.0;
        /// Factor on the relaxation.
        drift_scale: real = 1.0;
        /// Acceptance range of the verify loop in percent, 2 is two percent; the smallest of `coeff_dict`
        /// where that has no such entry, as for the default.
        acceptance_range: real = 2e-2;
    }
}

/// The only converter that the model has, with its tag.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "params", deny_unknown_fields)]
#[non_exhaustive]
pub enum CmoConverter {
    /// One device.
    SingleDeviceConductanceConverter(SingleDeviceConductanceConverter),
}

impl Default for CmoConverter {
    fn default() -> Self {
        Self::SingleDeviceConductanceConverter(SingleDeviceConductanceConverter::default())
    }
}

impl CmoConverter {
    fn device(&self) -> &SingleDeviceConductanceConverter {
        match self {
            Self::SingleDeviceConductanceConverter(device) => device,
        }
    }
}

impl ReRamCMONoiseModel {
    /// The measured model for devices with another range.
    #[must_use]
    pub fn new(device: SingleDeviceConductanceConverter) -> Self {
        let (g_max, g_min) = (device.g_max, device.g_min);
        let g_converter = CmoConverter::SingleDeviceConductanceConverter(device);
        Self { g_converter, g_max, g_min, ..Self::default() }
    }
}

impl NoiseModel for ReRamCMONoiseModel {
    fn converter(&self) -> &dyn ConductanceConverter {
        self.g_converter.device()
    }

    fn keep_conductances(&self) -> bool {
        self.keep_conductances
    }

    fn validate(&self, path: &str) -> Result<()> {
        let device = self.g_converter.device();
        device.validate(&format!("{path}.g_converter"))?;
        check_g_max(path, self.g_max, device.g_max)?;
        let [own, other] = [self.g_min, device.g_min].map(shown);
        let why = format!("is {own}, but that of g_converter {other}");
        require(self.g_min == device.g_min, path, "g_min", why)?;
        let table = &self.coeff_dict.0;
        let fits = !table.is_empty() && table.iter().all(|(_, values)| values.len() == 2);
        let why = "needs offset and slope for at least one acceptance range";
        require(fits, path, "coeff_dict", why)?;
        let values = table.iter().flat_map(|(_, values)| values);
        values.into_iter().try_for_each(|value| finite(path, "coeff_dict", *value))?;
        let Relaxation { mean, std: [slope, offset] } = self.decay_dict;
        check_positive(path, &[("read_dict", self.read_dict.t_read)])?;
        check_finite(
            path,
            &[
                ("decay_dict", mean),
                ("decay_dict", slope),
                ("decay_dict", offset),
                ("read_dict", self.read_dict.K),
                ("prog_noise_scale", self.prog_noise_scale),
                ("read_noise_scale", self.read_noise_scale),
                ("drift_scale", self.drift_scale),
                ("acceptance_range", self.acceptance_range),
            ],
        )
    }

    fn apply_programming_noise_to_conductance(
        &self,
        g_target: &[f32],
        g_prog: &mut [f32],
        draws: RowDraws,
    ) -> Result<()> {
        let known = self.coeff_dict.get(self.acceptance_range);
        let coefficients = known.unwrap_or_else(|| self.coeff_dict.first());
        Spread { coefficients, scale: self.prog_noise_scale, unit: 1.0, is_positive: false }
            .program(g_target, g_prog, draws)
    }

    fn apply_drift_noise_to_conductance(
        &self,
        g_prog: &[f32],
        _drift_noise_param: Option<&[f32]>,
        t_inference: f64,
        g_read: &mut [f32],
        draws: RowDraws,
    ) -> Result<()> {
        Error::check_len("g_read", g_read.len(), g_prog.len())?;
        if t_inference <= 0.0 {
            g_read.copy_from_slice(g_prog);
            return Ok(());
        }
        let log_t = t_inference.ln();
        let Relaxation { mean, std: [slope, offset] } = self.decay_dict;
        let growth = read_noise_growth(t_inference, self.read_dict.t_read);
        simd::run(Relaxing {
            shift: (mean * log_t * self.drift_scale) as f32,
            spread: (slope.mul_add(log_t, offset) * self.drift_scale) as f32,
            noise: (self.read_dict.K * growth * self.read_noise_scale) as f32,
            range: [self.g_min as f32, self.g_max as f32],
            g_prog,
            g_read,
            draws,
        });
        Ok(())
    }
}

/// Draws of the relaxation and of the read.
const RELAXATION: u32 = 0;
const READ: u32 = 1;

struct Relaxing<'a> {
    shift: f32,
    spread: f32,
    noise: f32,
    range: [f32; 2],
    g_prog: &'a [f32],
    g_read: &'a mut [f32],
    draws: RowDraws,
}

impl Work for Relaxing<'_> {
    type Home = ReRamCMONoiseModel;

    #[inline(always)]
    fn run(self) {
        let blocks = self.g_prog.chunks(BLOCK).zip(self.g_read.chunks_mut(BLOCK));
        for (number, (g_prog, g_read)) in blocks.enumerate() {
            let (first, len, mut g) = (number * BLOCK, g_prog.len(), block(g_prog));
            let (mut relaxation, mut read) = ([0.0f32; BLOCK], [0.0f32; BLOCK]);
            self.draws.fill_block(RELAXATION, first, &mut relaxation[..len]);
            self.draws.fill_block(READ, first, &mut read[..len]);
            for at in 0..BLOCK {
                let relaxed = self.spread.mul_add(relaxation[at], g[at] + self.shift);
                // The logarithm of less than one microsiemens would make the noise negative or NaN.
                let sigma = log2(larger(relaxed, 1.0)) * std::f32::consts::LOG10_2 * self.noise;
                g[at] = clip(sigma.mul_add(read[at], relaxed), self.range[0], self.range[1]);
            }
            g_read.copy_from_slice(&g[..g_read.len()]);
        }
    }
}
