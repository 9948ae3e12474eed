//! Which converter a configuration says.

use serde::{Deserialize, Serialize};

use super::base::{ConductanceConverter, Conductances, Scale};
use super::custom_pair::CustomPairConductanceConverter;
use super::fusion::FusionConductanceConverter;
use super::n_pair::{DualPairConductanceConverter, NPairConductanceConverter};
use super::single_device::SingleDeviceConductanceConverter;
use super::single_pair::SinglePairConductanceConverter;
use crate::error::Result;

macro_rules! converters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// One of the converters of this crate. In JSON as the Python package saves it:
        /// `{"type": "SinglePairConductanceConverter", "params": {"g_max": 25.0, "g_min": 0.0}}`.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "type", content = "params", deny_unknown_fields)]
        #[non_exhaustive]
        #[allow(clippy::enum_variant_names, reason = "names of the Python classes")]
        pub enum ConverterConfig {
            $($(#[$doc])* $name($name),)*
        }

        $(impl From<$name> for ConverterConfig {
            fn from(converter: $name) -> Self {
                Self::$name(converter)
            }
        })*

        impl ConverterConfig {
            /// The converter.
            #[must_use]
            pub fn converter(&self) -> &dyn ConductanceConverter {
                match self {
                    $(Self::$name(converter) => converter,)*
                }
            }
        }
    };
}

converters! {
    /// One pair.
    SinglePairConductanceConverter,
    /// Two pairs.
    DualPairConductanceConverter,
    /// Any number of pairs.
    NPairConductanceConverter,
    /// Pairs with tables.
    CustomPairConductanceConverter,
    /// One device.
    SingleDeviceConductanceConverter,
    /// One device with a digital sign.
    FusionConductanceConverter,
}

impl Default for ConverterConfig {
    fn default() -> Self {
        SinglePairConductanceConverter::default().into()
    }
}

impl ConductanceConverter for ConverterConfig {
    fn g_max(&self) -> f64 {
        self.converter().g_max()
    }

    fn g_min(&self) -> f64 {
        self.converter().g_min()
    }

    fn devices(&self) -> usize {
        self.converter().devices()
    }

    fn validate(&self, path: &str) -> Result<()> {
        self.converter().validate(path)
    }

    fn convert_to_conductances(&self, weights: &[f32], columns: usize) -> Result<Conductances> {
        self.converter().convert_to_conductances(weights, columns)
    }

    fn convert_back_to_weights(
        &self,
        conductances: &[Vec<f32>],
        columns: usize,
        params: &Scale,
    ) -> Result<Vec<f32>> {
        self.converter().convert_back_to_weights(conductances, columns, params)
    }
}
