//! One source for every instruction set: plain loops, compiled once per set.
//!
//! Kernels are written as loops over [`LANES`](crate::rng::LANES) lanes that the compiler
//! vectorises. They use fused multiply-adds and no reassociation, so every level gives the same
//! bits.

use std::sync::atomic::{AtomicU8, Ordering};

/// Instruction sets with code of their own, from narrow to wide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// What the target guarantees.
    Baseline = 1,
    /// AVX2 and FMA.
    Avx2 = 2,
    /// AVX-512 with vector population counts.
    Avx512 = 3,
}

/// Work that is compiled for each level. `run` must be `#[inline(always)]` with all it calls.
pub(crate) trait Work {
    /// Does the work.
    fn run(self);
}

static LEVEL: AtomicU8 = AtomicU8::new(0);

/// The level in use.
#[must_use]
pub fn level() -> Level {
    match LEVEL.load(Ordering::Relaxed) {
        1 => Level::Baseline,
        2 => Level::Avx2,
        3 => Level::Avx512,
        _ => {
            let level = detect();
            LEVEL.store(level as u8, Ordering::Relaxed);
            level
        }
    }
}

/// Uses at most `level` from now on, to test and to measure narrower machines.
pub fn limit(level: Level) {
    LEVEL.store(level.min(detect()) as u8, Ordering::Relaxed);
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Level {
    let avx2 = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("lzcnt")
        && is_x86_feature_detected!("popcnt");
    let avx512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512cd")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vpopcntdq");
    match (avx2, avx512) {
        (true, true) => Level::Avx512,
        (true, false) => Level::Avx2,
        _ => Level::Baseline,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> Level {
    Level::Baseline
}

/// Runs `work` with the widest instruction set that the machine has.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
pub(crate) fn run(work: impl Work) {
    match level() {
        // SAFETY: `level` never exceeds `detect`, which saw every feature that `avx512` enables.
        Level::Avx512 => unsafe { avx512(work) },
        // SAFETY: as above, for the features that `avx2` enables.
        Level::Avx2 => unsafe { avx2(work) },
        Level::Baseline => work.run(),
    }
}

/// Runs `work` with what the target guarantees.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn run(work: impl Work) {
    work.run();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vpopcntdq")]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
fn avx512(work: impl Work) {
    work.run();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
fn avx2(work: impl Work) {
    work.run();
}
