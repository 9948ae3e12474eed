//! Composition of the shaders.

use std::fmt::Write as _;

use super::kernels::Kernel;
use crate::pulse::source::Turn;

/// A constant of a composition: the compiler removes what it switches off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Constant {
    /// A condition.
    Flag(&'static str, bool),
    /// A number.
    Word(&'static str, u32),
}

/// The source of `kernel`: its constants, then its parts, the response of a device before the last.
pub(crate) fn compose(kernel: &Kernel, constants: &[Constant], response: &[&str]) -> String {
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
pub(crate) fn with_parameters_in_storage(source: &str) -> String {
    source.replace("var<uniform> params", "var<storage, read> params")
}

/// One flag for each name, its value the bit at its position.
pub(crate) fn flags(names: &[&'static str], bits: u32) -> Vec<Constant> {
    let flag = |(at, name): (usize, &&'static str)| Constant::Flag(name, bits >> at & 1 == 1);
    names.iter().enumerate().map(flag).collect()
}

/// The constant of a choice of pulses.
pub(super) fn turn(turn: Turn) -> Constant {
    let number = match turn {
        Turn::Both => 0,
        Turn::OnlyUp => 1,
        Turn::OnlyDownAsUp => 2,
    };
    Constant::Word("TURN", number)
}
