//! Devices with random values in all fields, for tests.

use serde_json::Value;

use super::DeviceConfig;
use crate::rng::{Key, Stream};

/// A valid configuration of the pulsed device `name` whose values follow from `seed`. Each field gets a
/// value around its default, one of the other sign, a plain one or 0; what makes the device invalid is
/// taken back.
pub(crate) fn device(name: &str, seed: u64) -> Option<DeviceConfig> {
    let mut config = serde_json::to_value(DeviceConfig::pulsed_default(name)?).ok()?;
    let mut draws = vec![0.0; 3 * MOST_FIELDS];
    Key::new(seed, 0).stream(Stream::Read).fill_uniform(0, 0, &mut draws);
    let paths = paths(&config["params"], "/params");
    assert!(paths.len() < MOST_FIELDS, "more fields than draws");
    for (path, draws) in paths.iter().zip(draws.chunks_exact(3)) {
        let Some(field) = config.pointer_mut(path) else { continue };
        let before = field.clone();
        *field = drawn(&before, draws);
        if parsed(&config).is_none()
            && let Some(field) = config.pointer_mut(path)
        {
            *field = before;
        }
    }
    parsed(&config)
}

const MOST_FIELDS: usize = 128;

fn parsed(config: &Value) -> Option<DeviceConfig> {
    let device: DeviceConfig = serde_json::from_value(config.clone()).ok()?;
    device.validate("device").ok().map(|()| device)
}

/// Pointers to all values below `value`; lists count as one.
fn paths(value: &Value, path: &str) -> Vec<String> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, field)| paths(field, &format!("{path}/{name}")))
            .collect(),
        _ => vec![path.to_owned()],
    }
}

/// Another value of the kind of `default`, from three uniform numbers.
fn drawn(default: &Value, draws: &[f32]) -> Value {
    let [kind, a, b] = [draws[0], draws[1], draws[2]].map(f64::from);
    match default {
        Value::Bool(_) => Value::from(kind < 0.5),
        Value::Number(number) if number.is_i64() => Value::from((a * 20.0) as i64 - 5),
        Value::Number(number) => {
            let default = number.as_f64().unwrap_or(0.0);
            Value::from(match (kind * 6.0) as u32 {
                0 | 1 => default * (0.2 + 2.0 * a),
                2 => 0.0,
                3 => -default,
                4 => 2.0 * a - 1.0,
                _ => (2.0 * a - 1.0) * 10f64.powf(4.0 * b - 3.0),
            })
        }
        Value::Array(_) => {
            let values =
                (0..2 + (kind * 6.0) as usize).map(|at| 0.2 + a + (at as f64 * b).sin().abs());
            Value::from(values.collect::<Vec<_>>())
        }
        other => other.clone(),
    }
}
