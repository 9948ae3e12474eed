//! Conversion between weights and conductances in microsiemens.

mod base;
mod config;
mod custom_pair;
mod fusion;
mod n_pair;
mod pairs;
mod single_device;
mod single_pair;

pub use base::{ConductanceConverter, Conductances, Scale};
pub use config::ConverterConfig;
pub use custom_pair::CustomPairConductanceConverter;
pub use fusion::FusionConductanceConverter;
pub use n_pair::{DualPairConductanceConverter, NPairConductanceConverter};
pub use single_device::SingleDeviceConductanceConverter;
pub use single_pair::SinglePairConductanceConverter;
