//! Inference with programmed weights: conductances, noise, drift and its compensation.
//!
//! Weights become conductances in microsiemens by a [`ConductanceConverter`], devices miss and drift as a
//! [`NoiseModel`] says, and a [`DriftCompensation`] corrects the outputs. [`ProgrammedWeights`] does the
//! first two for plain slices; an [`InferenceTile`] has all three around a crossbar with its converters:
//!
//! ```
//! use mho_core::inference::InferenceTile;
//! use mho_core::presets;
//!
//! const YEAR: f64 = 365.0 * 24.0 * 3600.0;
//! # fn main() -> mho_core::Result<()> {
//! let config = presets::standard_hwa_training();
//! let mut tile = InferenceTile::new(2, 3, &config, 42)?;
//! tile.set_weights(&[0.9, -0.2, 0.3, 0.0, 0.8, -1.0])?;
//! tile.program_weights()?;
//! let mut y = [0.0; 2];
//! for t_inference in [0.0, 3600.0, YEAR] {
//!     tile.drift_weights(t_inference)?;
//!     tile.forward(&[1.0, 0.5, -0.5], &mut y)?;
//!     println!("{t_inference:>10} s: {y:?}, corrected by {:?}", tile.alpha());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What training for inference makes of weights is in [`modifier`](crate::modifier). The formulas are those
//! of the Python package, whose normal draws come from torch: conversions and curves agree with it to the
//! rounding of `f32`, noise in distribution.
//!
//! | file | what it is for |
//! | --- | --- |
//! | `converter` | between weights and conductances |
//! | `noise` | errors of programming, drift and reads, one technology per file |
//! | `programmed` | a matrix of weights that was programmed, and how it is read later |
//! | `compensation` | factors on outputs |
//! | `config`, `saved` | all settings of a tile, and those that the Python package has saved |
//! | `tile` | a tile |

pub mod compensation;
mod config;
pub mod converter;
pub mod noise;
mod programmed;
mod saved;
mod tile;

pub use compensation::{
    CompensationConfig, DriftCompensation, GlobalDriftCompensation,
    GlobalDriftCompensationWithExactReference, PerColumnDriftCompensation,
};
pub use config::InferenceConfig;
pub use converter::{
    ConductanceConverter, Conductances, ConverterConfig, CustomPairConductanceConverter,
    DualPairConductanceConverter, FusionConductanceConverter, NPairConductanceConverter, Scale,
    SingleDeviceConductanceConverter, SinglePairConductanceConverter,
};
pub use noise::{
    CustomDriftPCMLikeNoiseModel, DriftTable, HermesNoiseModel, NoiseModel, NoiseModelConfig,
    PCMLikeNoiseModel, ReRamCMONoiseModel, ReRamWan2022NoiseModel, RowDraws,
    StateIndependentNoiseModel,
};
pub use programmed::{ProgrammedWeights, apply_noise};
pub use tile::{InferenceTile, Programming};
