//! The program on the checkpoint of this folder, compared with what Python makes of it.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::process::Command;

use serde_json::Value;

const CHIPS: usize = 32;

/// What the program prints for a chip: times and accuracies.
fn run(chip: usize) -> Vec<(String, f64)> {
    let here = env!("CARGO_MANIFEST_DIR");
    let paths = [format!("{here}/checkpoint"), format!("{here}/../data/digits.bin")];
    let mut program = Command::new(env!("CARGO_BIN_EXE_mho-embed"));
    let output = program.args(paths).arg(chip.to_string()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let line = |line: &str| {
        let (when, accuracy) = line.trim().split_once(": ").unwrap();
        (when.to_owned(), accuracy.strip_suffix(" %").unwrap().parse::<f64>().unwrap() / 100.0)
    };
    String::from_utf8(output.stdout).unwrap().lines().map(line).collect()
}

/// Before programming both languages draw the same noise, so that every image has the same digit. Programming
/// errors are drawn otherwise: of as many chips the means differ by some of their standard errors.
#[test]
fn accuracies_are_those_of_python() {
    let expected: Value = serde_json::from_str(include_str!("../accuracies.json")).unwrap();
    let chips: Vec<_> = (0..CHIPS).map(run).collect();
    let number = |value: &Value| value.as_f64().unwrap();
    let names: Vec<_> = chips[0].iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["before", "programmed", "1 hour", "1 day", "1 year"]);
    for chip in &chips {
        // Two digits of percent are printed.
        assert!((chip[0].1 - number(&expected["before"])).abs() <= 0.5001e-4);
    }
    for (at, name) in names.iter().enumerate().skip(1) {
        let of_python = &expected[name];
        let (mean, std) = (number(&of_python["mean"]), number(&of_python["std"]));
        let found = chips.iter().map(|chip| chip[at].1).sum::<f64>() / CHIPS as f64;
        let error = std * (1.0 / CHIPS as f64 + 1.0 / number(&expected["chips"])).sqrt();
        // Less than one set of chips in ten thousand is further off.
        assert!((found - mean).abs() < 4.0 * error, "{name}: {found} instead of {mean} +- {error}");
    }
}

#[test]
fn what_cannot_be_read_is_said() {
    let output = Command::new(env!("CARGO_BIN_EXE_mho-embed")).arg("/nowhere").output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("nowhere"));
}
