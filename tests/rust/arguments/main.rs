//! No argument of a public function leads to a panic: sizes, lengths, values and configurations at random, most of
//! them wrong. What a call says is an error that names something; what it leaves after an error is what was before.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod any;
mod cells;
mod config;
mod devices;
mod layers;
mod products;
mod small;
mod tiles;
