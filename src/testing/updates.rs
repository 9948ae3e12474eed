//! Where updates end.

use super::report::Report;
use super::subjects::{cell_of, tile, values};
use crate::config::{PulseType, TileConfig};
use crate::devices::{PulsedDevice, Rule};
use crate::error::Result;
use crate::tile::Tile;

const PULSES: [PulseType; 4] = [
    PulseType::StochasticCompressed,
    PulseType::MeanCount,
    PulseType::DeterministicImplicit,
    PulseType::NoneWithDevice,
];

pub(super) fn check<D: PulsedDevice>(device: &D, report: &mut Report) -> Result<()> {
    for pulse_type in PULSES {
        bounds(device, pulse_type, report)?;
    }
    if !device.pulsed().flows() {
        mean_step(device, report)?;
        sums(device, report)?;
    }
    Ok(())
}

/// What pulses act on.
fn acting(tile: &Tile) -> Vec<f32> {
    tile.hidden_parameter("persistent_weights").map_or_else(
        || tile.weights().to_vec(),
        |plane| (0..tile.weights().len()).map(|at| plane.at(at)).collect(),
    )
}

/// Weights stay within their bounds whatever comes.
fn bounds<D: PulsedDevice>(device: &D, pulse_type: PulseType, report: &mut Report) -> Result<()> {
    let (rows, columns) = (9, 37);
    let mut tile = tile(device, [rows, columns], |config| {
        config.update.pulse_type = pulse_type;
    })?;
    let (x, d) = (values(8 * columns, 2.0, 1), values(8 * rows, 2.0, 2));
    tile.set_weights(&values(rows * columns, 5.0, 3))?;
    for rate in [0.01, 1.0, 100.0] {
        tile.update(&x, &d, rate)?;
        let weights = acting(&tile);
        let limits = |name| tile.hidden_parameter(name);
        let (Some(low), Some(high)) = (limits("min_bound"), limits("max_bound")) else { continue };
        let reference = D::REFERENCE.and_then(|at| limits(D::EXTRA[at]));
        let beyond = (0..weights.len()).find(|at| {
            let shift = reference.as_ref().map_or(0.0, |plane| plane.at(*at));
            !(low.at(*at) - shift..=high.at(*at) - shift).contains(&weights[*at])
        });
        report.expect(beyond.is_none(), || {
            format!("{pulse_type:?} at rate {rate} leaves a weight beyond its bounds: {beyond:?}")
        });
    }
    Ok(())
}

/// A tile of equal cells at one weight, of which each gets one pulse per call.
fn one_pulse(config: &mut TileConfig) {
    config.update.desired_bl = 1;
    config.update.fixed_bl = true;
    config.update.update_management = false;
    config.update.update_bl_management = false;
}

/// The mean of one pulse is that of the rule.
fn mean_step<D: PulsedDevice>(device: &D, report: &mut Report) -> Result<()> {
    let (rows, columns) = (100, 100);
    for up in [true, false] {
        let mut tile = tile(device, [rows, columns], one_pulse)?;
        tile.set_weights(&vec![0.0; rows * columns])?;
        let before = acting(&tile);
        let rate = 4.0 * tile.spec().device().granularity();
        if !(rate > 0.0 && rate < f64::from(f32::MAX)) {
            return Ok(());
        }
        let error = if up { -1.0 } else { 1.0 };
        tile.update(&vec![1.0; columns], &vec![error; rows], rate)?;
        let (after, rule) = (acting(&tile), device.rule());
        let planes: Vec<_> = tile.spec().device().hidden_names();
        let planes: Vec<_> = planes.iter().filter_map(|name| tile.hidden_parameter(name)).collect();
        let (mut sum, mut square, mut count) = (0.0, 0.0, 0.0);
        for at in 0..after.len() {
            let Some(cell) = cell_of::<D>(&tile, &planes, at) else { continue };
            let cell = rule.prepare(cell);
            let mean = rule.mean(before[at], up, cell);
            let noise = rule.noise(mean, before[at], up, cell);
            // Cells whose step may end at a bound have another mean.
            let reach = mean.abs() + 6.0 * noise.abs();
            let inside = before[at] + reach < cell.max_bound && before[at] - reach > cell.min_bound;
            if inside && noise != 0.0 {
                let off = f64::from((after[at] - before[at] - mean) / noise.abs());
                (sum, square, count) = (sum + off, square + off * off, count + 1.0);
            } else if inside {
                // Roundings of a few operations.
                let off = (after[at] - before[at] - mean).abs();
                let close = 1e-5 * (mean.abs() + before[at].abs());
                report.expect(off <= close, || format!("a step without noise is off by {off}"));
            }
        }
        if count > 100.0 {
            // Normal draws: the mean has the error 1/sqrt(n), the variance sqrt(2/n).
            let (mean, variance) = (sum / count, square / count);
            report.expect(mean.abs() < 5.0 / f64::sqrt(count), || {
                format!("the mean of a pulse is off by {mean} of its noise, of {count} cells")
            });
            report.expect((variance - 1.0).abs() < 5.0 * f64::sqrt(2.0 / count), || {
                format!("the variance of a pulse is {variance} of what the rule says")
            });
        }
    }
    Ok(())
}

/// Pulses that are added up end where single ones end, up to the noise.
fn sums<D: PulsedDevice>(device: &D, report: &mut Report) -> Result<()> {
    let (rows, columns, samples) = (32, 64, 20);
    let (x, d) = (values(samples * columns, 1.0, 1), values(samples * rows, 1.0, 2));
    let mut ends = Vec::new();
    for exact_pulses in [false, true] {
        let mut tile = tile(device, [rows, columns], |config| {
            config.update.exact_pulses = exact_pulses;
        })?;
        tile.set_weights(&vec![0.0; rows * columns])?;
        // So that a crosspoint gets some ten pulses.
        let rate = tile.spec().device().granularity();
        tile.update(&x, &d, rate)?;
        ends.push(acting(&tile));
    }
    // Both have the same pulses, so the difference is that of the noise of the same number of draws.
    let differences: Vec<f64> =
        ends[0].iter().zip(&ends[1]).map(|(a, b)| f64::from(a - b)).collect();
    let count = differences.len() as f64;
    let mean = differences.iter().sum::<f64>() / count;
    let variance = differences.iter().map(|off| (off - mean).powi(2)).sum::<f64>() / count;
    let step = device.pulsed().unit();
    report.expect(mean.abs() <= 5.0 * (variance / count).sqrt() + 0.01 * step, || {
        format!("updates that add up pulses are off by {mean} in the mean")
    });
    Ok(())
}
