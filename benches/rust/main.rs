//! Criterion benches of the kernels; `make bench` runs them shortly.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "benches")]

mod mvm;
mod pulse;
mod rng;

criterion::criterion_group!(benches, rng::benches, mvm::benches, pulse::benches);
criterion::criterion_main!(benches);
