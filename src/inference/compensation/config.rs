//! Which compensation a configuration says.

use serde::{Deserialize, Serialize};

use super::base::DriftCompensation;
use super::global::{GlobalDriftCompensation, GlobalDriftCompensationWithExactReference};
use super::per_column::PerColumnDriftCompensation;

macro_rules! compensations {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// One of the compensations of this crate. In JSON as the Python package saves it:
        /// `{"type": "GlobalDriftCompensation", "params": {}}`.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "type", content = "params", deny_unknown_fields)]
        #[non_exhaustive]
        pub enum CompensationConfig {
            $($(#[$doc])* $name($name),)*
        }

        $(impl From<$name> for CompensationConfig {
            fn from(compensation: $name) -> Self {
                Self::$name(compensation)
            }
        })*

        impl CompensationConfig {
            /// The compensation.
            #[must_use]
            pub fn compensation(&self) -> &dyn DriftCompensation {
                match self {
                    $(Self::$name(compensation) => compensation,)*
                }
            }
        }
    };
}

compensations! {
    /// One factor.
    GlobalDriftCompensation,
    /// One factor, relative to the weights before programming.
    GlobalDriftCompensationWithExactReference,
    /// One factor per output.
    PerColumnDriftCompensation,
}

impl Default for CompensationConfig {
    fn default() -> Self {
        GlobalDriftCompensation::default().into()
    }
}

impl DriftCompensation for CompensationConfig {
    fn readout(&self, outputs: &[f32], out_size: usize) -> Vec<f32> {
        self.compensation().readout(outputs, out_size)
    }

    fn has_exact_reference(&self) -> bool {
        self.compensation().has_exact_reference()
    }
}
