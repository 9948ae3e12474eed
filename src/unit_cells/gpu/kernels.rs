//! The kernels of unit cells, beside those of single devices.

use crate::gpu::kernels::Access::{Read, Uniform, Write};
use crate::gpu::kernels::{CONVERTER, Kernel, RANDOM};
use crate::gpu::shaders::{Constant, compose};

/// Adds up the weights of members.
pub(super) static SUM: Kernel = Kernel {
    name: "sum",
    parts: &[include_str!("../sum.wgsl")],
    access: &[Uniform, Read, Read, Write],
};

/// What becomes of the values of a line that was read.
pub(super) static TRANSFER: Kernel = Kernel {
    name: "transfer",
    parts: &[
        CONVERTER,
        include_str!("../buffer.wgsl"),
        include_str!("../chopper.wgsl"),
        include_str!("../transfer.wgsl"),
    ],
    access: &[Uniform, Read, Read, Write, Write, Write, Write],
};

/// How the pulses of a write are made.
pub(super) static WRITE: Kernel = Kernel {
    name: "write",
    parts: &[RANDOM, CONVERTER, include_str!("write.wgsl")],
    access: &[Uniform, Read, Write, Write, Write, Write, Write],
};

/// Takes whole steps out of an accumulator.
pub(super) static TAKE: Kernel = Kernel {
    name: "take",
    parts: &[CONVERTER, include_str!("../mixed.wgsl")],
    access: &[Uniform, Write, Write],
};

/// Which pairs are reset and rewritten.
pub(super) static REFRESH: Kernel = Kernel {
    name: "refresh",
    parts: &[CONVERTER, include_str!("../one_sided.wgsl")],
    access: &[Uniform, Read, Read, Write, Write, Write],
};

/// Constants of [`SUM`]: the first member of a cell is not added to what was there.
pub(super) fn sum_constants(is_first: bool, is_signed: bool) -> [Constant; 2] {
    [Constant::Flag("FIRST", is_first), Constant::Flag("SIGNED", is_signed)]
}

/// Constants of [`TRANSFER`]: the number of the kind, and whether there is a reference on the fly.
pub(super) fn transfer_constants(kind: u32, has_reference: bool) -> [Constant; 2] {
    [Constant::Word("KIND", kind), Constant::Flag("REFERENCE", has_reference)]
}

/// Number of exact writes, beside those of [`Mode`](crate::gpu::pulses::Mode).
pub(super) const EXACT: u32 = 3;

/// Constants of [`WRITE`]: the number of the kind of pulses.
pub(super) fn write_constants(mode: u32) -> [Constant; 1] {
    [Constant::Word("MODE", mode)]
}

/// Every composition that a tile of cells can ask for, by name, for tools and tests that check shaders.
#[must_use]
pub fn sources() -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut add = |kernel: &Kernel, constants: &[Constant]| {
        all.push((format!("{} {constants:?}", kernel.name), compose(kernel, constants, &[])));
    };
    for [is_first, is_signed] in [[true, true], [true, false], [false, false]] {
        add(&SUM, &sum_constants(is_first, is_signed));
    }
    for kind in 0..3 {
        for has_reference in [false, true] {
            add(&TRANSFER, &transfer_constants(kind, has_reference));
        }
    }
    (0..=EXACT).for_each(|mode| add(&WRITE, &write_constants(mode)));
    add(&TAKE, &[]);
    add(&REFRESH, &[]);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::check_sources;

    #[test]
    fn every_composition_is_valid_and_within_the_common_limits() {
        check_sources(sources());
    }
}
