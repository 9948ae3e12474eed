//! Configurations as the Python package saves them: classes with their parameters, and members of
//! enumerations by class and name.

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// What is read of a configuration.
const FIELDS: [&str; 8] = [
    "forward",
    "noise_model",
    "drift_compensation",
    "modifier",
    "mapping",
    "pre_post",
    "clip",
    "remap",
];
/// A class of products over time, which the tile does not have.
const OVER_TIME: &str = "IOParametersIRDropT";

/// Members whose names are not their words with capitals.
const MEMBERS: [(&str, &str); 5] = [
    ("ABS_MAX_NP_SUM", "AbsMaxNPSum"),
    ("PCM_READ", "PCMRead"),
    ("PCM_NOISE", "PCMNoise"),
    ("DOREFA", "DoReFa"),
    ("AVERAGE_ABS_MAX", "AverageAbsMax"),
];

/// The parameters of a saved object.
pub(super) fn params(text: &str) -> Result<Value> {
    let value: Value =
        serde_json::from_str(text).map_err(|error| Error::config("config", error.to_string()))?;
    match value {
        Value::Object(mut fields) if fields.contains_key("type") => {
            Ok(fields.remove("params").unwrap_or_default())
        }
        _ => Err(Error::config("config", "expected an object with type and params")),
    }
}

/// The configuration of a tile in these parameters, as the crate reads it.
pub(super) fn plain(params: Value) -> Result<Value> {
    let Value::Object(params) = params else {
        return Err(Error::config("config", "expected an object with type and params"));
    };
    let mut config = Map::new();
    for (name, value) in params {
        if !FIELDS.contains(&&*name) {
            continue;
        }
        let value = match &*name {
            "noise_model" | "drift_compensation" => value,
            "pre_post" => pre_post(group(&name, value)?)?,
            _ => Value::Object(group(&name, value)?),
        };
        config.insert(name, value);
    }
    Ok(Value::Object(config))
}

/// The fields of a group of parameters, whatever its class is.
fn group(name: &str, value: Value) -> Result<Map<String, Value>> {
    let (class, params) = match value {
        Value::Object(mut fields) => (fields.remove("type"), fields.remove("params")),
        _ => (None, None),
    };
    let (Some(Value::String(class)), Some(Value::Object(params))) = (class, params) else {
        return Err(Error::config(name, "expected an object with type and params"));
    };
    if class == OVER_TIME {
        let why = "the crate has no IR drop over time; use forward.ir_drop, its first order";
        return Err(Error::unsupported(format!("{name}.type = {class}"), why));
    }
    let mut fields = Map::new();
    for (field, value) in params {
        // Two fields of modifiers are about passes of torch tiles, and about evaluation.
        if name == "modifier" && ["per_batch_sample", "enable_during_test"].contains(&&*field) {
            if value != Value::Bool(false) {
                let why =
                    "tiles of the crate change weights for passes of training, all samples alike";
                return Err(Error::unsupported(format!("{name}.{field}"), why));
            }
            continue;
        }
        fields.insert(field, member(value));
    }
    Ok(fields)
}

/// The groups within the digital processing, without a quantisation that is off.
fn pre_post(mut fields: Map<String, Value>) -> Result<Value> {
    if let Some(quantisation) = fields.remove("periph_quant") {
        let quantisation = group("pre_post.periph_quant", quantisation)?;
        let bits = quantisation.get("n_bits").map_or(Some(0.0), Value::as_f64);
        if bits.is_none_or(|bits| bits > 0.0) {
            let why = "the crate has no quantised periphery; set it to 0";
            return Err(Error::unsupported("pre_post.periph_quant.n_bits", why));
        }
    }
    if let Some(range) = fields.get_mut("input_range") {
        *range = Value::Object(group("pre_post.input_range", range.take())?);
    }
    Ok(Value::Object(fields))
}

/// A value, of a member of an enumeration its name in the crate.
fn member(value: Value) -> Value {
    let name = value.get("enum").and_then(|pair| pair.get(1)).and_then(Value::as_str);
    let Some(name) = name else { return value };
    if let Some((_, known)) = MEMBERS.iter().find(|(member, _)| *member == name) {
        return Value::from(*known);
    }
    let words = name.split('_').map(|word| {
        let (first, rest) = word.split_at(word.len().min(1));
        format!("{first}{}", rest.to_lowercase())
    });
    Value::from(words.collect::<String>())
}
