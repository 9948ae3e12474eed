//! Deterministic numbers of pulses: `PulseType::MeanCount` and `PulseType::DeterministicImplicit`.

use super::cells::Target;
use super::kernels::one_by_one::{self, Pulses};
use super::positions::Positions;
use super::products::{Products, nearest};
use super::samples::Samples;
use super::scale::{Scaling, bin_width, discretize};
use super::source::{Source, Turn};
use super::transaction::Rows;
use crate::config::PulseType;
use crate::devices::Rule;
use crate::error::Result;
use crate::memory;
use crate::rng::{Key, LANES, Stream};

/// Applies the pulses of some samples, one after another.
pub(crate) fn apply<R: Rule>(
    target: &Target<'_>,
    source: &Source<'_>,
    samples: Samples<'_>,
    state: &mut Rows<'_>,
    rule: R,
) -> Result<()> {
    let mut x = memory::filled(0.0, source.x_size.next_multiple_of(LANES))?;
    let mut d = memory::filled(0.0, source.d_size)?;
    let halves = if source.turn == Turn::Both { 0 } else { x.len() + d.len() };
    let mut wanted = memory::room(halves)?;
    for scaled in source.scalings(samples) {
        let (sample, scaling) = scaled?;
        lines(source, sample, &scaling, &mut x, &mut d);
        let slots = f64::from(scaling.slots);
        let mean = source.parameters.pulse_type == PulseType::MeanCount;
        let factor = if mean { 1.0 / slots } else { slots };
        d.iter_mut().for_each(|value| *value *= factor);
        let positions = Positions::new(sample, blocks(&scaling))?;
        let mut apply = |x: &[f64], d: &[f64]| {
            let pulses = Pulses::Products(Products { x, d });
            one_by_one::apply(target, state, pulses, rule, positions)
        };
        if source.turn == Turn::Both {
            apply(&x, &d)?;
            continue;
        }
        // Positive and negative inputs one after another, each with the errors that make the wanted
        // direction with them: a crosspoint has pulses with one of the two only.
        let turn = if source.turn == Turn::OnlyUp { 1.0 } else { -1.0 };
        for sign in [1.0, -1.0] {
            wanted.clear();
            wanted.extend(x.iter().map(|x| if x * sign > 0.0 { *x } else { 0.0 }));
            wanted.extend(d.iter().map(|d| if d * turn * sign < 0.0 { turn * d } else { 0.0 }));
            let (x, d) = wanted.split_at(x.len());
            apply(x, d)?;
        }
    }
    Ok(())
}

/// Evaluations of the generator that the pulses of a cell take, at most one pulse per slot.
pub(crate) fn blocks(scaling: &Scaling) -> usize {
    scaling.slots.div_ceil(4) as usize
}

/// Signed pulses of the input lines, and those of the error lines.
pub(crate) fn lines(
    source: &Source<'_>,
    sample: usize,
    scaling: &Scaling,
    x: &mut [f64],
    d: &mut [f64],
) {
    let parameters = source.parameters;
    let line = |value: f32, scale: f64, res: f64, column: usize, block: u32| {
        let dither = dither(source.key, parameters.sto_round, column, sample, block);
        let p = discretize(scale * f64::from(value.abs()), bin_width(res), dither);
        let slots = f64::from(scaling.slots);
        let size = match parameters.pulse_type {
            PulseType::MeanCount => nearest(slots * p).clamp(0.0, slots),
            _ => p.clamp(0.0, 1.0),
        };
        size.copysign(f64::from(value))
    };
    let [x_res, d_res] = match parameters.pulse_type {
        PulseType::MeanCount => [parameters.res; 2],
        _ => [parameters.x_res_implicit, parameters.d_res_implicit],
    };
    let [x_signs, d_signs] = source.signs;
    let sign = |signs: &[i8], line: usize| f32::from(signs.get(line).copied().unwrap_or(1));
    let values = source.x_of(sample).iter().copied();
    for (column, (out, value)) in x.iter_mut().zip(values.chain(source.bias)).enumerate() {
        *out = line(sign(x_signs, column) * value, scaling.x, x_res, column, 0);
    }
    let turn = if source.rate < 0.0 { -1.0 } else { 1.0 };
    for (row, (out, value)) in d.iter_mut().zip(source.d_of(sample)).enumerate() {
        *out = line(turn * sign(d_signs, row) * value, scaling.d, d_res, row, 1);
    }
}

fn dither(key: Key, sto_round: bool, column: usize, sample: usize, block: u32) -> f64 {
    if !sto_round {
        return 0.5;
    }
    f64::from(key.stream(Stream::PulseRound).uniform(column as u32, sample as u32, block))
}
