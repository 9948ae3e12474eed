//! What a device says of itself.

use std::collections::HashSet;

use super::report::Report;
use crate::config::UpdateParameters;
use crate::devices::{Device, DeviceConfig, MAX_EXTRA, PulsedDevice};

pub(super) fn check<D: PulsedDevice>(device: &D, report: &mut Report) {
    report.expect(D::EXTRA.len() <= MAX_EXTRA, || {
        format!("EXTRA has {} names; at most {MAX_EXTRA}", D::EXTRA.len())
    });
    report.expect(D::EXTRA_DRAWS <= MAX_EXTRA, || {
        format!("EXTRA_DRAWS is {}; at most {MAX_EXTRA}", D::EXTRA_DRAWS)
    });
    report.expect(D::REFERENCE.is_none_or(|at| at < D::EXTRA.len()), || {
        "REFERENCE is no position in EXTRA".to_owned()
    });
    report.expect(device == &device.clone(), || "a clone is not equal".to_owned());
    let mut other = device.clone();
    other.pulsed_mut().dw_min = 2.0 * device.pulsed().dw_min + 0.125;
    report.expect(other.pulsed() != device.pulsed() && &other != device, || {
        "pulsed_mut does not change what pulsed and comparison see".to_owned()
    });
    if let Err(error) = device.validate("device") {
        report.note(format!("validate refuses the device that is tested: {error}"));
        return;
    }
    let granularity = device.granularity();
    let fits = granularity.is_finite() && (granularity > 0.0) != device.pulsed().flows();
    report.expect(fits, || {
        format!("granularity is {granularity}; positive, but 0 where dw_min is 0")
    });
    if !report.is_empty() {
        return;
    }
    let config = DeviceConfig::custom(device.clone());
    let built =
        Device::new(&config, &UpdateParameters::default(), 20, 70, false).and_then(|built| {
            let planes = built.construct(5)?;
            let borrowed: Vec<_> = planes.iter().map(|(_, plane)| plane.as_ref()).collect();
            built.check_planes(&borrowed)?;
            Ok(built.hidden_names())
        });
    match built {
        Err(error) => report.note(format!("no tile can be built: {error}")),
        Ok(names) => {
            let distinct: HashSet<_> = names.iter().collect();
            report.expect(distinct.len() == names.len(), || {
                format!("names of hidden parameters are not distinct: {names:?}")
            });
        }
    }
}
