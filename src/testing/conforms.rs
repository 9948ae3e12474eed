//! All checks of a device.

use super::report::Report;
use super::{description, rule, state, updates};
use crate::devices::PulsedDevice;
use crate::error::Result;

/// Checks that `device` is what kernels take for granted and does what the documentation promises of all devices:
///
/// - names, parameters and numbers of draws are consistent;
/// - [`Rule::branch`](crate::devices::Rule::branch) has the derivatives of
///   [`mean`](crate::devices::Rule::mean), and the noise of [`noise`](crate::devices::Rule::noise);
/// - weights stay finite and within their bounds, for all types of pulses and far too large learning rates;
/// - one pulse has the mean that the rule says, to 5 standard errors;
/// - updates that add up pulses end where single pulses end;
/// - equal calls give equal bits, with any number of threads and from a copy made in between;
/// - a call that fails, because of its arguments or within a kernel, changes nothing.
///
/// It takes a second or so in a release build, and no global setting is touched.
///
/// ```
/// # use mho_core::devices::ConstantStep;
/// // The device of a test of yours.
/// mho_core::testing::conforms(&ConstantStep::default())?;
/// # Ok::<(), mho_core::testing::Report>(())
/// ```
///
/// # Errors
/// A [`Report`] of all that is broken.
pub fn conforms<D: PulsedDevice>(device: &D) -> std::result::Result<(), Report> {
    let mut report = Report::new(D::NAME);
    description::check(device, &mut report);
    // The rest needs a device that a tile can be built of.
    if report.is_empty() {
        rule::check(device, &mut report);
        run("updates", &mut report, |report| updates::check(device, report));
        run("state", &mut report, |report| state::check(device, report));
    }
    if report.is_empty() { Ok(()) } else { Err(report) }
}

/// Runs some checks; what they themselves raise is broken as well.
fn run(what: &str, report: &mut Report, checks: impl FnOnce(&mut Report) -> Result<()>) {
    if let Err(error) = checks(report) {
        report.note(format!("{what}: {error}"));
    }
}
