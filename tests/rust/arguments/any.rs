//! Values that nobody expects.

use mho_core::Error;
use proptest::prelude::*;
use serde_json::{Value, json};

pub fn float() -> impl Strategy<Value = f32> {
    prop_oneof![
        6 => -2.0f32..2.0,
        1 => prop::sample::select(vec![
            0.0, -0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, f32::MIN_POSITIVE, 1e-45,
            1e38, -1e38, 1e30, 1e19,
        ]),
    ]
}

pub fn double() -> impl Strategy<Value = f64> {
    prop_oneof![
        3 => -2.0f64..2.0,
        1 => prop::sample::select(vec![
            0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324,
            1e38, 3.4e38, 1e39, 1e300, -1e300, 1e15, 1e-30, 31.0, 1e5,
        ]),
    ]
}

pub fn size() -> impl Strategy<Value = usize> {
    prop_oneof![
        6 => 1usize..12,
        1 => prop::sample::select(vec![0, 1 << 20, (1 << 20) + 1, 1 << 32, 1 << 40, usize::MAX / 2, usize::MAX]),
    ]
}

/// Sizes that fit into memory, or none at all.
pub fn small() -> impl Strategy<Value = usize> {
    prop_oneof![12 => 1usize..40, 1 => Just(0usize), 1 => prop::sample::select(vec![usize::MAX, 1 << 40, 1 << 21])]
}

/// Mostly `len` values, sometimes another number of them.
pub fn floats(len: usize) -> impl Strategy<Value = Vec<f32>> {
    let tame = prop::collection::vec(-2.0f32..2.0, len);
    let wild = prop::collection::vec(float(), len);
    prop_oneof![4 => tame, 3 => wild, 1 => prop::collection::vec(float(), 0..60)]
}

pub fn bytes(len: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![4 => Just(vec![7; len]), 1 => prop::collection::vec(any::<u8>(), 0..60)]
}

/// Something that may stand for a value in a text.
pub fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => double().prop_map(|number| json!(number)),
        2 => (-3i64..70).prop_map(|number| json!(number)),
        1 => prop::sample::select(vec![
            json!(null), json!(true), json!(false), json!("None"), json!("AbsMax"), json!("x"), json!([]), json!([1.0]),
            json!([0.1, 0.2, 0.3]), json!([1e300, -1.0]), json!({}), json!(i64::MAX), json!(i64::MIN), json!(65_535),
            json!(1_000_000_007),
        ]),
    ]
}

/// Pointers to everything below `value`.
pub fn pointers(value: &Value, path: &str) -> Vec<String> {
    let mut all = vec![path.to_owned()];
    match value {
        Value::Object(fields) => {
            all.extend(fields.iter().flat_map(|(k, v)| pointers(v, &format!("{path}/{k}"))));
        }
        Value::Array(items) => {
            all.extend(
                items.iter().enumerate().flat_map(|(k, v)| pointers(v, &format!("{path}/{k}"))),
            );
        }
        _ => {}
    }
    all
}

/// A text with some of its values replaced.
pub fn changed(original: Value) -> impl Strategy<Value = Value> {
    let all = pointers(&original, "");
    let change = (prop::sample::select(all), value());
    prop::collection::vec(change, 0..4).prop_map(move |changes| {
        let mut text = original.clone();
        for (at, new) in changes {
            if let Some(place) = text.pointer_mut(&at).filter(|_| !at.is_empty()) {
                *place = new;
            }
        }
        text
    })
}

/// A message is one of a person: short, and without an inside view.
pub fn check(error: &Error) {
    let text = error.to_string();
    assert!(!matches!(error, Error::Panic(_)), "{text}");
    assert!(text.len() < 400, "{text}");
    let longest = text.split(|c: char| !c.is_ascii_digit()).map(str::len).max();
    // Numbers from 1e-5 on have no exponent: four zeros and 17 digits.
    assert!(longest.unwrap_or(0) <= 4 + 17, "a long number: {text}");
}

/// The same of a result.
pub fn checked<T>(result: Result<T, Error>) -> Option<T> {
    result.inspect_err(check).ok()
}
