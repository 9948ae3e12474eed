//! Tiles as plain data and as files, and all of their public verbs used at random.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod configs;
#[cfg(feature = "safetensors")]
mod damaged_files;
mod damaged_text;
#[cfg(feature = "safetensors")]
mod files;
#[cfg(feature = "safetensors")]
mod inference;
#[cfg(feature = "safetensors")]
mod next;
mod refused;
mod round_trips;
mod sequences;

use proptest::test_runner::Config;

/// As many random cases as `PROPTEST_CASES` says, or as fit into a quick run.
fn cases(few: u32) -> Config {
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => Config::default(),
        None => Config::with_cases(few),
    }
}
