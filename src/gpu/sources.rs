//! Every shader that this backend can compile.

use super::kernels::{DRAWS, INPUT, Kernel, OUTPUT, SELECT, TILE_16, TILE_64, TILE_128};
use super::shaders::{Constant, compose, flags};
use super::{exact, lifecycle, pulses};

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
    all.extend(pulses::sources());
    all.extend(exact::sources());
    all.extend(lifecycle::sources());
    all
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
pub(crate) mod tests {
    use wgpu::naga::front::wgsl;
    use wgpu::naga::valid::{Capabilities, ValidationFlags, Validator};
    use wgpu::naga::{AddressSpace, Module};

    use super::super::shaders::with_parameters_in_storage;
    use super::*;

    fn bytes(module: &Module, space: impl Fn(AddressSpace) -> bool) -> Vec<u32> {
        let layouts = module.to_ctx();
        let used = module.global_variables.iter().filter(|(_, variable)| space(variable.space));
        used.map(|(_, variable)| module.types[variable.ty].inner.size(layouts)).collect()
    }

    /// Checks compositions. No adapter is needed: the compiler front end checks types, and the limits are
    /// those that every adapter has.
    pub(crate) fn check_sources(all: Vec<(String, String)>) {
        let software = |(name, source): &(String, String)| {
            let changed = with_parameters_in_storage(source);
            assert_ne!(changed, *source, "{name}");
            (format!("{name} in software"), changed)
        };
        let others: Vec<_> = all.iter().map(software).collect();
        for (name, source) in all.into_iter().chain(others) {
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

    #[test]
    fn every_composition_is_valid_and_within_the_common_limits() {
        check_sources(sources());
    }
}
