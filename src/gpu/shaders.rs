//! Composition of the shaders.

use std::fmt::Write as _;

use super::kernels::{DRAWS, INPUT, Kernel, OUTPUT, SELECT, TILE_16, TILE_64, TILE_128};

/// A constant of a composition: the compiler removes what it switches off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Constant {
    /// A condition.
    Flag(&'static str, bool),
    /// A number.
    Word(&'static str, u32),
}

/// The source of `kernel`: its constants, then its parts, the response of a device before the last.
pub(super) fn compose(kernel: &Kernel, constants: &[Constant], response: &[&str]) -> String {
    let mut source = String::with_capacity(1 << 14);
    for constant in constants {
        let _ = match constant {
            Constant::Flag(name, value) => writeln!(source, "const {name}: bool = {value};"),
            Constant::Word(name, value) => writeln!(source, "const {name}: u32 = {value}u;"),
        };
    }
    if let Some((main, shared)) = kernel.parts.split_last() {
        shared.iter().chain(response).chain([main]).for_each(|part| source.push_str(part));
    }
    source
}

/// A composition that reads its parameters from a storage buffer.
pub(super) fn with_parameters_in_storage(source: &str) -> String {
    source.replace("var<uniform> params", "var<storage, read> params")
}

/// Every composition that a tile can ask for, by name, for tools and tests that check shaders.
#[must_use]
pub fn sources() -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut add = |kernel: &Kernel, constants: &[Constant]| {
        all.push((format!("{} {constants:?}", kernel.name), compose(kernel, constants, &[])));
    };
    add(&DRAWS, &[]);
    add(&SELECT, &[]);
    for bits in 0..2 {
        add(&INPUT, &flags(&["SUMS"], bits));
    }
    for bits in 0..4 {
        for tile in [&TILE_16, &TILE_128] {
            add(tile, &flags(&["ASYMMETRY", "SIGNED"], bits));
        }
    }
    for bits in 0..32 {
        let names = ["ASYMMETRY", "SIGNED", "WIRES", "POWER", "RELATIVE"];
        add(&TILE_64, &flags(&names, bits));
    }
    for bits in 0..32 {
        for kind in 0..3 {
            let names = ["WIRES", "OFFSETS", "NONLINEAR", "OUTPUT_NOISE_ON", "MASK"];
            let mut constants = flags(&names, bits);
            constants.push(Constant::Word("WEIGHT_NOISE_KIND", kind));
            add(&OUTPUT, &constants);
        }
    }
    all.extend(super::pulses::sources());
    all.extend(super::lifecycle::sources());
    all
}

pub(super) fn flags(names: &[&'static str], bits: u32) -> Vec<Constant> {
    let flag = |(at, name): (usize, &&'static str)| Constant::Flag(name, bits >> at & 1 == 1);
    names.iter().enumerate().map(flag).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use wgpu::naga::front::wgsl;
    use wgpu::naga::valid::{Capabilities, ValidationFlags, Validator};
    use wgpu::naga::{AddressSpace, Module};

    use super::*;

    fn bytes(module: &Module, space: impl Fn(AddressSpace) -> bool) -> Vec<u32> {
        let layouts = module.to_ctx();
        let used = module.global_variables.iter().filter(|(_, variable)| space(variable.space));
        used.map(|(_, variable)| module.types[variable.ty].inner.size(layouts)).collect()
    }

    /// No adapter is needed: the compiler front end checks types, and the limits are those that
    /// every adapter has.
    #[test]
    fn every_composition_is_valid_and_within_the_common_limits() {
        let software = |(name, source): (String, String)| {
            let changed = with_parameters_in_storage(&source);
            assert_ne!(changed, source, "{name}");
            (format!("{name} in software"), changed)
        };
        for (name, source) in sources().into_iter().chain(sources().into_iter().map(software)) {
            let module = wgsl::parse_str(&source)
                .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(&source)));
            Validator::new(ValidationFlags::all(), Capabilities::empty())
                .validate(&module)
                .unwrap_or_else(|error| panic!("{name}: {error:?}"));
            let shared = bytes(&module, |space| space == AddressSpace::WorkGroup);
            assert!(shared.iter().sum::<u32>() <= 16384, "{name} uses {shared:?} bytes");
            let storage = bytes(&module, |space| matches!(space, AddressSpace::Storage { .. }));
            assert!(storage.len() <= 8, "{name} has {} buffers", storage.len());
            let uniform = bytes(&module, |space| space == AddressSpace::Uniform);
            assert!(uniform.iter().all(|size| *size <= 256), "{name} has {uniform:?} bytes");
            let [x, y, z] = module.entry_points[0].workgroup_size;
            assert!(x * y * z <= 256, "{name}");
        }
    }
}
