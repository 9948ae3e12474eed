//! Noise of programmed weights, one model per file.

mod config;
mod curve;
mod dictionary;
mod draws;
mod drift_table;
mod formulas;
mod hermes;
mod model;
mod pcm;
mod reram_cmo;
mod reram_wan;
mod state_independent;

pub use config::NoiseModelConfig;
pub use draws::RowDraws;
pub use drift_table::DriftTable;
pub use formulas::read_noise_growth;
pub use hermes::HermesNoiseModel;
pub use model::NoiseModel;
pub use pcm::{CustomDriftPCMLikeNoiseModel, PCMLikeNoiseModel};
pub use reram_cmo::{CmoConverter, ReRamCMONoiseModel, ReadNoise, Relaxation};
pub use reram_wan::{ReRamWan2022NoiseModel, SpreadTable};
pub use state_independent::StateIndependentNoiseModel;
