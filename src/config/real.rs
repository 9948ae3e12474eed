//! Numbers that may be infinite: `null` in JSON.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Writes infinity as `null`.
pub(crate) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if value.is_infinite() { None } else { Some(*value) }.serialize(serializer)
}

/// Reads `null` as infinity.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or(f64::INFINITY))
}
