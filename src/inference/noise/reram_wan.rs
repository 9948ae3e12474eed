//! Relaxation of resistive memory in the NeuRRAM chip.

use serde::{Deserialize, Serialize};

use super::dictionary::Dictionary;
use super::draws::RowDraws;
use super::formulas::{Spread, check_finite, check_g_max, check_positive};
use super::model::NoiseModel;
use crate::config::{finite, params, require};
use crate::error::{Error, Result, shown};
use crate::inference::converter::{ConductanceConverter, ConverterConfig};

/// Polynomials by times in seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Dictionary<f64, Vec<f64>>", into = "Dictionary<f64, Vec<f64>>")]
pub struct SpreadTable(pub Vec<(f64, Vec<f64>)>);

impl From<Dictionary<f64, Vec<f64>>> for SpreadTable {
    fn from(dictionary: Dictionary<f64, Vec<f64>>) -> Self {
        Self(dictionary.into())
    }
}

impl From<SpreadTable> for Dictionary<f64, Vec<f64>> {
    fn from(table: SpreadTable) -> Self {
        table.0.into()
    }
}

impl SpreadTable {
    /// The coefficients of a key.
    pub(super) fn get(&self, key: f64) -> Option<&[f64]> {
        self.0.iter().find(|(known, _)| *known == key).map(|(_, coefficients)| &coefficients[..])
    }

    /// The coefficients of the smallest key.
    pub(super) fn first(&self) -> &[f64] {
        let smallest = self.0.iter().min_by(|a, b| a.0.total_cmp(&b.0));
        smallest.map_or(&[], |(_, coefficients)| &coefficients[..])
    }
}

/// As measured, in µS over the relative conductance at 1 s, 1 d and 2 d.
const COEFFICIENTS: [(f64, [f64; 5]); 3] = [
    (1.0, [0.348, 16.030, -43.853, 45.393, -16.815]),
    (86400.0, [0.701, 22.086, -50.773, 47.095, -16.458]),
    (172_800.0, [0.782, 20.274, -43.507, 37.062, -11.934]),
];

params! {
    /// Spread of the conductances around their targets at the times at which it was measured (Wan et al.,
    /// Nature 608:504, 2022): each reading is drawn anew around the targets.
    pub struct ReRamWan2022NoiseModel {
        /// Conversion between weights and conductances.
        g_converter: ConverterConfig = ConverterConfig::default();
        /// Keep the scale of the targets, instead of converting the programmed weights anew.
        keep_conductances: bool = false;
        /// Largest conductance of the converter, in µS.
        g_max: real = 25.0;
        /// For each time in seconds the spread in µS over the relative conductance, constant term first.
        coeff_dic: SpreadTable =
            SpreadTable(COEFFICIENTS.map(|(t, c)| (t, c.to_vec())).to_vec());
        /// Factor on the spread.
        noise_scale: real = 1.0;
        /// Largest conductance that the coefficients hold for, in µS.
        coeff_g_max_reference: real = 25.0;
    }
}

impl ReRamWan2022NoiseModel {
    /// The measured model for the devices of a converter.
    #[must_use]
    pub fn new(g_converter: impl Into<ConverterConfig>) -> Self {
        let g_converter = g_converter.into();
        let g_max = g_converter.g_max();
        Self { g_max, coeff_g_max_reference: g_max, g_converter, ..Self::default() }
    }

    /// A spread around targets.
    fn spread<'a>(&self, coefficients: &'a [f64]) -> Spread<'a> {
        let scale = self.noise_scale * self.g_max / self.coeff_g_max_reference;
        Spread { coefficients, scale, unit: self.g_max, is_positive: true }
    }
}

impl NoiseModel for ReRamWan2022NoiseModel {
    fn converter(&self) -> &dyn ConductanceConverter {
        &self.g_converter
    }

    fn keep_conductances(&self) -> bool {
        self.keep_conductances
    }

    fn has_drift_coefficients(&self) -> bool {
        true
    }

    fn validate(&self, path: &str) -> Result<()> {
        self.g_converter.validate(&format!("{path}.g_converter"))?;
        check_g_max(path, self.g_max, self.g_converter.g_max())?;
        check_positive(path, &[("coeff_g_max_reference", self.coeff_g_max_reference)])?;
        check_finite(path, &[("noise_scale", self.noise_scale)])?;
        let is_known = !self.coeff_dic.0.is_empty();
        require(is_known, path, "coeff_dic", "needs coefficients for at least one time")?;
        self.coeff_dic.0.iter().try_for_each(|(time, coefficients)| {
            finite(path, "coeff_dic", *time)?;
            coefficients.iter().try_for_each(|c| finite(path, "coeff_dic", *c))
        })
    }

    fn check_time(&self, t_inference: f64) -> Result<()> {
        if self.coeff_dic.get(t_inference).is_some() {
            return Ok(());
        }
        let times: Vec<f64> = self.coeff_dic.0.iter().map(|(time, _)| *time).collect();
        let why = format!("no coefficients for {} s; use one of {times:?}", shown(t_inference));
        Err(Error::Argument { argument: "t_inference", why })
    }

    fn apply_programming_noise_to_conductance(
        &self,
        g_target: &[f32],
        g_prog: &mut [f32],
        draws: RowDraws,
    ) -> Result<()> {
        self.spread(self.coeff_dic.first()).program(g_target, g_prog, draws)
    }

    fn generate_drift_coefficients(
        &self,
        g_target: &[f32],
        coefficients: &mut [f32],
        _draws: RowDraws,
    ) -> Result<()> {
        Error::check_len("coefficients", coefficients.len(), g_target.len())?;
        coefficients.copy_from_slice(g_target);
        Ok(())
    }

    fn apply_drift_noise_to_conductance(
        &self,
        _g_prog: &[f32],
        g_target: Option<&[f32]>,
        t_inference: f64,
        g_read: &mut [f32],
        draws: RowDraws,
    ) -> Result<()> {
        self.check_time(t_inference)?;
        let Some(g_target) = g_target else {
            let why = "needs the target conductances".to_owned();
            return Err(Error::Argument { argument: "g_target", why });
        };
        let coefficients = self.coeff_dic.get(t_inference).unwrap_or_default();
        self.spread(coefficients).program(g_target, g_read, draws)
    }
}
