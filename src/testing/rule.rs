//! The rule: noise, and derivatives where kernels use them.

use super::report::Report;
use crate::devices::{CellDraws, CellRef, Kernel, MAX_EXTRA, PulsedDevice, Rule};

/// Some cells, as kernels see them.
pub(super) fn cells<D: PulsedDevice>(device: &D) -> Vec<CellRef> {
    let cell = |at: usize| {
        let normal = ((at as f64) * 0.7).sin();
        let draws = CellDraws { gain: normal, bounds: [normal, -normal], ..CellDraws::default() };
        let mut cell = device.pulsed().cell(&draws);
        let extra = device.extra(&mut cell, &[normal; MAX_EXTRA][..D::EXTRA_DRAWS]);
        let extra = extra.map(|value| value as f32);
        let reference = D::REFERENCE.map_or(0.0, |at| extra[at]);
        device.rule().prepare(CellRef {
            max_bound: cell.max_bound as f32 - reference,
            min_bound: cell.min_bound as f32 - reference,
            up: cell.up as f32,
            down: cell.down as f32,
            extra,
        })
    };
    (0..20).map(cell).collect()
}

pub(super) fn check<D: PulsedDevice>(device: &D, report: &mut Report) {
    let rule = device.rule();
    let std = rule.std();
    report.expect(std >= 0.0 && std.is_finite(), || format!("std is {std}"));
    for cell in cells(device) {
        for share in [0.11f32, 0.3, 0.45, 0.62, 0.9] {
            let w = cell.min_bound + share * (cell.max_bound - cell.min_bound);
            for up in [true, false] {
                let mean = rule.mean(w, up, cell);
                let noise = rule.noise(mean, w, up, cell);
                let at = || format!("at weight {w}, {}, {cell:?}", if up { "up" } else { "down" });
                report.expect(mean.is_finite() && noise.is_finite(), || {
                    format!("mean {mean} and noise {noise} {}", at())
                });
                report.expect(std > 0.0 || noise == 0.0, || {
                    format!("std is 0, but noise {noise} {}", at())
                });
                // Two roundings of a weight, and one of the change.
                let close = 4.0 * f32::EPSILON * (w.abs() + mean.abs() + noise.abs());
                let step = rule.step(w, up, cell, -1.5);
                report.expect((step - (w + mean - 1.5 * noise)).abs() <= close, || {
                    format!("step leads to {step} instead of mean and noise {}", at())
                });
                if Kernel::of::<D::Rule<'_>>() != Kernel::General {
                    check_branch(rule, w, up, cell, report);
                }
            }
        }
    }
}

/// Compares the derivatives with differences.
fn check_branch<R: Rule>(rule: R, w: f32, up: bool, cell: CellRef, report: &mut Report) {
    let found = rule.look_up(rule.place(w, cell));
    let local = if R::LOCAL { rule.localize(w, cell, found) } else { cell };
    let branch = rule.branch(w, up, local);
    let [low, high] = rule.smooth(w, local);
    let at = || format!("at weight {w}, {}, {cell:?}", if up { "up" } else { "down" });
    report.expect(low <= w && w <= high, || format!("smooth is {low} to {high} {}", at()));
    report.expect(low >= cell.min_bound && high <= cell.max_bound, || {
        format!("smooth is {low} to {high}, beyond the bounds, {}", at())
    });
    let mean = |w: f64| f64::from(rule.mean(w as f32, up, cell));
    let noise = f64::from(rule.noise(branch.mean, w, up, cell));
    let w = f64::from(w);
    // A hundredth of the range, or less next to a kink.
    let room = (f64::from(high) - w).min(w - f64::from(low));
    let h = (0.01 * f64::from(cell.max_bound - cell.min_bound)).min(0.5 * room);
    if h < 1e-4 {
        return;
    }
    let near = [mean(w - h), mean(w + h)];
    let slope = (near[1] - near[0]) / (2.0 * h);
    let curvature = (near[1] + near[0] - 2.0 * mean(w)) / (h * h);
    let scale = f64::from(cell.up.abs().max(cell.down.abs())).max(f64::from(f32::MIN_POSITIVE));
    // Single precision knows a mean to 1e-6 of a step; what the third derivative adds is a share.
    let off = (f64::from(branch.mean) - mean(w)).abs();
    report.expect(off <= 1e-5 * scale, || format!("branch.mean is off by {off} {}", at()));
    let off = (f64::from(branch.noise) - noise).abs();
    report.expect(off <= 1e-5 * noise.abs().max(scale), || {
        format!("branch.noise is off by {off} {}", at())
    });
    let off = (f64::from(branch.slope) - slope).abs();
    report.expect(off <= 0.02 * slope.abs() + (0.02 + 4e-6 / h) * scale, || {
        format!("branch.slope is {}, differences give {slope} {}", branch.slope, at())
    });
    let off = (f64::from(branch.curvature) - curvature).abs();
    report.expect(off <= 0.1 * curvature.abs() + (0.2 + 1e-5 / (h * h)) * scale, || {
        format!("branch.curvature is {}, differences give {curvature} {}", branch.curvature, at())
    });
    let at_zero = R::CONSTANT && (branch.slope != 0.0 || branch.noise_slope != 0.0);
    report.expect(!at_zero, || format!("CONSTANT, but the step depends on the weight {}", at()));
    let bends = R::LINEAR && branch.curvature != 0.0;
    report.expect(!bends, || format!("LINEAR, but the mean has a curvature {}", at()));
}
