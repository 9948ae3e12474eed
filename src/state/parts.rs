//! What the states of tiles of devices and of cells have in common.

use super::names::{self, drift, in_group};
use super::tensor::Values;
use super::tile_state::{Entries, TileState, check_finite};
use crate::error::Result;
use crate::memory;
use crate::mvm::{Direction, Mvm};
use crate::tile::{OwnedDrift, OwnedLines};

/// Group of the frozen values of a product.
fn group(direction: Direction) -> &'static str {
    match direction {
        Direction::Forward => names::FORWARD,
        Direction::Backward => names::BACKWARD,
    }
}

/// Writes seed and number of calls.
pub(super) fn put_position(state: &mut TileState, seed: u64, calls: u64) {
    state.put(names::SEED, &[1], Values::I64(vec![seed as i64]));
    // Calls are counted in int64, see `next_call`.
    state.put(names::CALLS, &[1], Values::I64(vec![calls as i64]));
}

/// Writes the frozen values of a product.
pub(super) fn put_lines(
    state: &mut TileState,
    direction: Direction,
    lines: &OwnedLines,
) -> Result<()> {
    for (name, values) in lines.iter() {
        let values = Values::F32(memory::copied(values)?);
        state.put_vector(in_group(group(direction), name), values);
    }
    Ok(())
}

/// Reads the frozen values of a product: those that a new tile draws are to be there.
pub(super) fn take_lines(
    entries: &mut Entries<'_>,
    direction: Direction,
    mvm: &Mvm,
    seed: u64,
) -> Result<OwnedLines> {
    let mut values = mvm.construct_lines(seed)?;
    for (name, drawn) in &mut values {
        let name = in_group(group(direction), name);
        let given = entries.take_finite(&name, &[drawn.len()])?;
        drawn.copy_from_slice(given);
    }
    Ok(OwnedLines { values })
}

/// Writes what a device remembers of its drift.
pub(super) fn put_drift(
    state: &mut TileState,
    ending: &str,
    shape: &[usize],
    memory: &OwnedDrift,
) -> Result<()> {
    let name = |name: &str| in_group(names::DRIFT, &format!("{name}{ending}"));
    let OwnedDrift { clock, start, written, previous } = memory;
    state.put(name(drift::CLOCK), &[1], Values::F64(vec![*clock]));
    state.put(name(drift::START), shape, Values::F64(memory::copied(start)?));
    state.put(name(drift::WRITTEN), shape, Values::F32(memory::copied(written)?));
    state.put(name(drift::PREVIOUS), shape, Values::F32(memory::copied(previous)?));
    Ok(())
}

/// Reads what a device remembers of its drift.
pub(super) fn take_drift(
    entries: &mut Entries<'_>,
    ending: &str,
    shape: &[usize],
) -> Result<OwnedDrift> {
    let name = |name: &str| in_group(names::DRIFT, &format!("{name}{ending}"));
    let mut finite = |key: &str, shape: &[usize]| {
        let name = name(key);
        let values = entries.take::<f64>(&name, shape)?;
        check_finite(&name, values.iter().all(|value| value.is_finite()))?;
        Ok::<_, crate::Error>(values)
    };
    let clock = finite(drift::CLOCK, &[1])?[0];
    let start = memory::copied(finite(drift::START, shape)?)?;
    let written = memory::copied(entries.take_finite(&name(drift::WRITTEN), shape)?)?;
    let previous = memory::copied(entries.take_finite(&name(drift::PREVIOUS), shape)?)?;
    Ok(OwnedDrift { clock, start, written, previous })
}
