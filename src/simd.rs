//! One source for every instruction set, and the choice of the set: for all kernels, here.
//!
//! Most kernels are plain loops over lanes that the compiler vectorises, compiled once per set by
//! [`run`]. They use fused multiply-adds and no reassociation, so every level gives the same bits.
//! The product with the weights adds up as many partial sums as a register has places, so its bits
//! depend on the set; it is written with the vectors of `pulp`, by [`vectors`].

use std::sync::atomic::{AtomicU8, Ordering};

use pulp::WithSimd;

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
pub(crate) trait Work: Sized {
    /// The type beside which the compiler puts the code, for it compiles module by module: the rule
    /// where the work depends on one, so that a device has its code apart from that of the others.
    type Home;
    /// Whether this is what `run_shared` makes of other work: it is for that level only.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "one level"))]
    const SHARED: bool = false;

    /// Does the work.
    fn run(self);

    /// Does the work at [`Level::Baseline`] of x86, where a fused multiply-add is a call: code is several
    /// times as long, for machines from before 2013. Work with a rule hands [`run`] the same with a pointer
    /// to it, so that all devices share the code.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "one level"))]
    fn run_shared(self) {
        self.run();
    }
}

/// The level in use; 0 before it was looked for.
static LEVEL: AtomicU8 = AtomicU8::new(0);
/// The highest level allowed.
static LIMIT: AtomicU8 = AtomicU8::new(Level::Avx512 as u8);

/// The level in use.
#[must_use]
pub fn level() -> Level {
    match LEVEL.load(Ordering::Relaxed) {
        0 => {
            let level = detect().min(allowed());
            LEVEL.store(level as u8, Ordering::Relaxed);
            level
        }
        level => of(level),
    }
}

/// Uses at most `level` from now on, in pulses and in products, to test and to measure narrower
/// machines.
pub fn limit(level: Level) {
    LIMIT.store(level as u8, Ordering::Relaxed);
    LEVEL.store(level.min(detect()) as u8, Ordering::Relaxed);
}

fn allowed() -> Level {
    of(LIMIT.load(Ordering::Relaxed))
}

fn of(level: u8) -> Level {
    match level {
        1 => Level::Baseline,
        2 => Level::Avx2,
        _ => Level::Avx512,
    }
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

/// Runs `work` with the widest instruction set that the machine has; within unit tests with the narrowest,
/// for which the crate is compiled a second time then. `tests/rust` compares them, to the bit.
#[cfg(all(target_arch = "x86_64", not(test)))]
#[allow(unsafe_code)]
pub(crate) fn run<W: Work>(work: W) {
    if W::SHARED {
        return W::Home::shared(work);
    }
    match level() {
        // SAFETY: `level` never exceeds `detect`, which saw every feature that `avx512` enables.
        Level::Avx512 => unsafe { W::Home::avx512(work) },
        // SAFETY: as above, for the features that `avx2` enables.
        Level::Avx2 => unsafe { W::Home::avx2(work) },
        Level::Baseline => work.run_shared(),
    }
}

#[cfg(all(target_arch = "x86_64", test))]
pub(crate) fn run<W: Work>(work: W) {
    if W::SHARED {
        return W::Home::shared(work);
    }
    work.run_shared();
}

/// Runs `work` with what the target guarantees.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn run<W: Work>(work: W) {
    W::Home::baseline(work);
}

/// The code of all work whose home a type is. The compiler puts a method of a trait into the module of
/// the type that has it, and a generic function into that of the function: all devices into one unit
/// that is compiled anew with every change.
#[allow(unsafe_code)]
trait Compiled {
    #[cfg(not(target_arch = "x86_64"))]
    fn baseline(work: impl Work) {
        work.run();
    }

    /// A function of its own: inlined where it is called, each device would have its code.
    #[cfg(target_arch = "x86_64")]
    #[inline(never)]
    fn shared(work: impl Work) {
        work.run();
    }

    /// # Safety
    /// The machine must have the features.
    #[cfg(all(target_arch = "x86_64", not(test)))]
    #[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vpopcntdq")]
    #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
    unsafe fn avx512(work: impl Work) {
        work.run();
    }

    /// # Safety
    /// The machine must have the features.
    #[cfg(all(target_arch = "x86_64", not(test)))]
    #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
    unsafe fn avx2(work: impl Work) {
        work.run();
    }
}

impl<T> Compiled for T {}

/// Runs `work` on the widest vectors of the machine. The stages of a product around its sums go
/// this way as well, as closures without arguments, which must be `#[inline(always)]`: unlike
/// [`run`], it takes AVX-512 without the population counts of vectors, which pulses need.
#[cfg(all(target_arch = "x86_64", not(test)))]
#[inline(always)]
pub(crate) fn vectors<W: WithSimd>(work: W) -> W::Output {
    let limited = match allowed() {
        Level::Avx512 => return pulp::Arch::new().dispatch(work),
        Level::Avx2 => pulp::x86::V3::try_new(),
        Level::Baseline => None,
    };
    match limited {
        Some(simd) => pulp::Simd::vectorize(simd, work),
        None => pulp::Simd::vectorize(pulp::Scalar::new(), work),
    }
}

#[cfg(all(target_arch = "x86_64", test))]
#[inline(always)]
pub(crate) fn vectors<W: WithSimd>(work: W) -> W::Output {
    pulp::Simd::vectorize(pulp::Scalar::new(), work)
}

/// Runs `work` on the vectors that the target guarantees.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub(crate) fn vectors<W: WithSimd>(work: W) -> W::Output {
    pulp::Arch::new().dispatch(work)
}

/// `a` if `first`, else `b`, by bits: of a choice between two loads the compiler would make a
/// gather, which takes many times longer than both loads.
#[inline(always)]
pub(crate) fn select(first: bool, a: f32, b: f32) -> f32 {
    let mask = 0u32.wrapping_sub(u32::from(first));
    f32::from_bits(b.to_bits() ^ ((a.to_bits() ^ b.to_bits()) & mask))
}

/// The larger of two numbers; the second one if one is NaN. One instruction, while `f32::max`, which
/// never gives NaN, takes three.
#[inline(always)]
pub(crate) fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// The smaller of two numbers; the second one if one is NaN.
#[inline(always)]
pub(crate) fn smaller(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

/// `value` within bounds; NaN becomes the lower one.
#[inline(always)]
pub(crate) fn clip(value: f32, lower: f32, upper: f32) -> f32 {
    smaller(larger(value, lower), upper)
}

/// The bits of `value` where `mask` has ones, side by side from the lowest place on.
#[inline(always)]
pub(crate) fn gather_bits(value: u64, mask: u64) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if level() >= Level::Avx2 {
        // SAFETY: `level` never exceeds `detect`, which saw BMI2.
        #[allow(unsafe_code)]
        return unsafe { std::arch::x86_64::_pext_u64(value, mask) };
    }
    gather_bits_one_by_one(value, mask)
}

#[inline(always)]
fn gather_bits_one_by_one(value: u64, mask: u64) -> u64 {
    let (mut rest, mut place, mut out) = (mask, 1, 0);
    while rest != 0 {
        let lowest = rest & rest.wrapping_neg();
        out |= if value & lowest != 0 { place } else { 0 };
        place <<= 1;
        rest ^= lowest;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gathered_bits() {
        let mut state = 0x0123_4567_89AB_CDEFu64;
        for _ in 0..200 {
            state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
            let (value, mask) = (state.rotate_left(17), state & state.rotate_left(31));
            let places = (0..64).filter(|place| mask >> place & 1 == 1);
            let bits = places.map(|place| value >> place & 1).enumerate();
            let expected = bits.fold(0, |all, (place, bit)| all | bit << place);
            assert_eq!(gather_bits(value, mask), expected);
            assert_eq!(gather_bits_one_by_one(value, mask), expected);
        }
    }
}
