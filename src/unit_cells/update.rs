//! One call: checks, a plan, and one transaction around its stages.

use super::batch::Batch;
use super::counters::Counters;
use super::host::Host;
use super::plan::{Outline, Plan};
use super::progress::Progress;
use super::spec::CellSpec;
use super::state::CellState;
use crate::error::Result;
use crate::pulse::source::{Source, Turn};
use crate::pulse::transaction::{self, State};
use crate::rng::Key;

/// Applies one mini-batch, vector by vector in order: pulses, transfers, refreshes, and what follows for
/// the visible weights. `key` is that of the call. With a learning rate of 0 nothing happens, not even to
/// counters.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) and [`Error::Argument`](crate::Error::Argument) for bad
/// arguments, [`Error::State`](crate::Error::State) for a state that does not fit,
/// [`Error::Interrupted`](crate::Error::Interrupted), [`Error::Memory`](crate::Error::Memory) and
/// [`Error::Panic`](crate::Error::Panic). In all cases the state is then as it was before the call.
pub fn update(
    spec: &CellSpec,
    mut state: CellState<'_>,
    batch: &Batch<'_>,
    key: Key,
) -> Result<()> {
    let before = state.counters(spec);
    let mut counters = before.clone();
    let Some(plan) = plan(spec, &mut counters, batch, key)? else { return Ok(()) };
    let planes = CellState::planes(&state.parameters);
    let mut persistent: Vec<Option<&mut [f32]>> = (0..spec.matrices).map(|_| None).collect();
    for (leaf, values) in spec.leaves.iter().zip(&mut state.persistent) {
        persistent[spec.nodes[leaf.node].matrix] = values.as_deref_mut();
    }
    let mut states = Vec::new();
    for (weights, persistent) in state.matrices.iter_mut().zip(persistent) {
        states.push(State { weights, persistent, counts: None, columns: spec.x_size });
    }
    for weights in &mut state.buffers {
        let columns = spec.x_size;
        states.push(State { weights, persistent: None, counts: None, columns });
    }
    let progress = Progress::new(spec, before)?;
    transaction::run(states, |states| {
        let (plan, planes, lines) = (&plan, &planes, &state.lines);
        Host { spec, batch, plan, key, planes, lines, states, progress }.run()
    })?;
    state.store(&counters);
    Ok(())
}

/// What a call with this batch does, and counters after it; `None` if nothing happens at all.
///
/// # Errors
/// As for [`update`], before anything changes.
pub(super) fn plan(
    spec: &CellSpec,
    counters: &mut Counters,
    batch: &Batch<'_>,
    key: Key,
) -> Result<Option<Plan>> {
    let samples = batch.samples(spec.d_size, spec.x_size)?;
    if batch.learning_rate == 0.0 || samples == 0 {
        return Ok(None);
    }
    let source = source(spec, batch, key);
    let largest = |sample| source.largest(sample);
    let outline = Outline { samples, learning_rate: batch.learning_rate, largest: &largest };
    let plan = spec.plan(counters, &outline, key)?;
    Source { rate: plan.rate, rates: &plan.rates, ..source }.check()?;
    Ok(Some(plan))
}

/// The batch as the source of its pulses.
pub(super) fn source<'a>(spec: &'a CellSpec, batch: &Batch<'a>, key: Key) -> Source<'a> {
    Source {
        x: batch.x,
        x_size: spec.x_size,
        bias: batch.bias,
        d: batch.d,
        d_size: spec.d_size,
        parameters: spec.update(),
        granularity: spec.granularity(),
        rate: batch.learning_rate,
        rates: &[],
        turn: Turn::Both,
        signs: [&[]; 2],
        key,
    }
}
