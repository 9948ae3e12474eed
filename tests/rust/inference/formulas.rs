//! Conversions and curves are those of the Python package, to the rounding of `f32`.

use mho_core::inference::{
    CompensationConfig, ConductanceConverter, ConverterConfig, DriftCompensation, InferenceConfig,
    NoiseModel, RowDraws,
};
use mho_core::{Error, Key};
use serde_json::Value;

use super::{Row, fixtures, model, numbers};

/// Checks values to a few roundings of numbers of size `size`.
#[track_caller]
fn check(what: &str, found: &[f32], expected: &[f32], size: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected).abs();
        assert!(error <= 4.0 * f32::EPSILON * size, "{what} {at}: {found}, expected {expected}");
    }
}

#[test]
fn conversions_are_those_of_the_package() {
    for fixture in fixtures("converters") {
        let converter: ConverterConfig = serde_json::from_value(fixture["config"].clone()).unwrap();
        assert_eq!(serde_json::to_value(&converter).unwrap(), fixture["config"]);
        converter.validate("g_converter").unwrap();
        let columns = fixture["columns"].as_u64().unwrap() as usize;
        let weights = numbers(&fixture["weights"]);
        let there = converter.convert_to_conductances(&weights, columns).unwrap();
        let what = fixture["config"]["type"].as_str().unwrap();
        let expected = fixture["conductances"].as_array().unwrap();
        assert_eq!(there.values.len(), converter.devices(), "{what}");
        assert_eq!(there.values.len(), expected.len(), "{what}");
        for (found, expected) in there.values.iter().zip(expected) {
            check(what, found, &numbers(expected), converter.g_max() as f32);
        }
        let changed: Vec<Vec<f32>> =
            fixture["changed"].as_array().unwrap().iter().map(numbers).collect();
        let back = converter.convert_back_to_weights(&changed, columns, &there.params).unwrap();
        // Conductances are rounded to their size, and a weight is a difference of them: with the
        // smallest one subtracted, a few times as many roundings of a weight of 1.
        let loss = converter.g_max() / (converter.g_max() - converter.g_min());
        check(what, &back, &numbers(&fixture["back"]), 4.0 * loss as f32);
    }
}

/// What a formula that is linear in its draws gives, from its values for draws of 0 and of 1.
fn between(ends: &Value, normals: &[f32]) -> Vec<f32> {
    let (zero, one) = (numbers(&ends[0]), numbers(&ends[1]));
    let values = zero.iter().zip(&one).zip(normals);
    values.map(|((zero, one), xi)| zero + (one - zero) * xi).collect()
}

/// Standard normal draws of one row, which formulas take.
fn normals(draws: RowDraws, which: u64, len: usize) -> Vec<f32> {
    let mut out = vec![0.0; len];
    draws.fill_normal(which as u32, &mut out);
    out
}

#[test]
fn noise_is_that_of_the_package_for_the_same_draws() {
    for (number, fixture) in fixtures("models").iter().enumerate() {
        let row = Row { model: model(fixture), key: Key::new(3, number as u64) };
        let what = format!("{} {number}", fixture["config"]["type"].as_str().unwrap());
        let g = numbers(&fixture["g"]);
        let [low, high] = [0, 1].map(|at| fixture["range"][at].as_f64().unwrap() as f32);
        let largest = g.iter().copied().fold(0.0, f32::max);

        let xi = normals(RowDraws::of_programming(row.key, 0, 0), 0, g.len());
        let expected: Vec<f32> = between(&fixture["programmed"], &xi);
        let is_positive = low == 0.0;
        let expected: Vec<f32> =
            expected.iter().map(|g| if is_positive { g.max(0.0) } else { *g }).collect();
        // The noise of an end is itself a difference of rounded numbers, multiplied by a draw below 7.
        check(&what, &row.program(&g), &expected, 4.0 * largest);

        let parameters = row.parameters(&g);
        assert_eq!(parameters.is_some(), fixture["parameters"] != Value::Array(Vec::new()));
        if let Some(found) = &parameters {
            let xi = normals(RowDraws::of_drift_parameters(row.key, 0, 0), 0, g.len());
            let expected: Vec<f32> =
                between(&fixture["parameters"], &xi).iter().map(|nu| nu.abs()).collect();
            let size = expected.iter().copied().fold(0.0, f32::max);
            // The logarithm has a relative error of 3e-7, that is five roundings, up to 16 and the
            // mean exponent is 0.04 times that, up to 0.13: three times as large.
            check(&what, found, &expected, 8.0 * size);
        }

        // Reads of what was given, with the parameters that are drawn as 0.
        let drawn = fixture["parameters"].get(0).map(numbers);
        for (time, ends) in
            fixture["times"].as_array().unwrap().iter().zip(fixture["read"].as_array().unwrap())
        {
            let t = time.as_f64().unwrap();
            let which = fixture["which"].as_u64().unwrap();
            let xi = normals(RowDraws::of_reads(row.key, 0, 0), which, g.len());
            let expected: Vec<f32> =
                between(ends, &xi).iter().map(|g| g.max(low).min(high)).collect();
            let found = row.read(&g, drawn.as_deref(), t).unwrap();
            // A power has a relative error of 2e-7 plus 1.2e-7 of its exponent, up to 2.
            check(&format!("{what} after {t} s"), &found, &expected, 8.0 * largest);
        }
    }
}

#[test]
fn texts_of_models_come_back() {
    for fixture in fixtures("models") {
        let model = model(&fixture);
        assert_eq!(
            mho_core::inference::NoiseModelConfig::from_json(&model.to_json().unwrap()).unwrap(),
            model
        );
        // What the package leaves out where it is the default is written here.
        let mut written = serde_json::to_value(&model).unwrap();
        let kept = written["params"].as_object_mut().unwrap().remove("keep_conductances");
        assert_eq!(kept, Some(Value::Bool(false)));
        let as_numbers = |value: &Value| value.to_string().replace(".0", "");
        assert_eq!(as_numbers(&sorted(written)), as_numbers(&sorted(fixture["config"].clone())));
    }
}

/// A value whose objects have their keys in order.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.into_iter().collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(fields.into_iter().map(|(key, value)| (key, sorted(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

#[test]
fn compensations_are_those_of_the_package() {
    for fixture in fixtures("compensations") {
        let kind: CompensationConfig = serde_json::from_value(fixture["config"].clone()).unwrap();
        assert_eq!(serde_json::to_value(&kind).unwrap(), fixture["config"]);
        let out_size = fixture["out_size"].as_u64().unwrap() as usize;
        let outputs = numbers(&fixture["outputs"]);
        let readout = kind.readout(&outputs, out_size);
        check("readout", &readout, &numbers(&fixture["readout"]), 1.0);
        let zeros = vec![0.0; outputs.len()];
        assert_eq!(kind.readout(&zeros, out_size), numbers(&fixture["of_zeros"]));
        let baseline: Vec<f32> = readout.iter().map(|value| 2.0 * value).collect();
        check(
            "factor",
            &kind.apply(&outputs, out_size, &baseline).unwrap(),
            &numbers(&fixture["factor"]),
            2.0,
        );
    }
}

#[test]
fn saved_configurations_are_read() {
    let texts = fixtures("configurations");
    let read = |at: usize| InferenceConfig::from_saved(texts[at].as_str().unwrap()).unwrap();
    assert_eq!(read(0), mho_core::presets::standard_hwa_training());
    assert_eq!(read(1), InferenceConfig::default());
    assert_eq!(read(2).drift_compensation, None);
    assert_eq!(read(2).noise_model.converter().devices(), 1);
    assert_eq!(read(3).modifier.std_dev, 0.1);
}

#[test]
fn times_that_nobody_measured_are_refused() {
    let wan = fixtures("models")
        .iter()
        .map(model)
        .find(|model| model.check_time(3600.0).is_err())
        .unwrap();
    let row = Row { model: wan, key: Key::new(1, 1) };
    for t in [0.0, 3600.0] {
        let error = row.read(&[1.0], Some(&[1.0]), t).unwrap_err();
        assert!(matches!(error, Error::Argument { argument: "t_inference", .. }), "{error}");
    }
}
