//! Devices on slices.

use mho_core::Key;
use mho_core::config::UpdateParameters;
use mho_core::devices::{
    Cells, Device, DeviceConfig, DriftParameters, DriftState, Plane, PlaneRef, WeightClip,
};
use mho_core::pulse::counts::{Sample, counts};
use mho_core::pulse::{Update, update};
use proptest::prelude::*;

use super::any::{changed, checked, double, float, floats};

fn updates() -> impl Strategy<Value = UpdateParameters> {
    changed(serde_json::to_value(UpdateParameters::default()).unwrap())
        .prop_filter_map("no parameters", |text| serde_json::from_value(text).ok())
        .prop_filter("long", |update: &UpdateParameters| update.desired_bl < 2000)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn calls(
        name in prop::sample::select(DeviceConfig::names()),
        parameters in updates(),
        (d_size, x_size, bias) in (1usize..5, 1usize..5, any::<bool>()),
        [weights, persistent, x, d] in [floats(16), floats(16), floats(16), floats(16)],
        (missing, number, start, count) in (0usize..30, 0usize..20, 0usize..9, -3i64..9),
        [rate, time, alpha] in [double(), double(), double()],
        (level, analog) in (float(), prop::option::of(float())),
        has_counts in any::<bool>(),
    ) {
        let config = DeviceConfig::named(name).unwrap();
        let Some(device) = checked(Device::new(&config, &parameters, d_size, x_size, bias)) else { return Ok(()) };
        let mut planes = checked(device.construct(5)).unwrap();
        planes.truncate(missing);
        if let Some((_, Plane::Values(values))) = planes.get_mut(number) {
            values.truncate(start);
        }
        let planes: Vec<PlaneRef<'_>> = planes.iter().map(|(_, plane)| plane.as_ref()).collect();
        let cells = d_size * x_size;
        let take = |values: &[f32], len: usize| values[..len.min(values.len())].to_vec();
        let (mut weights, mut persistent) = (take(&weights, cells), take(&persistent, cells));
        let (x, d) = (take(&x, 2 * x_size), take(&d, 2 * d_size));
        let key = Key::new(4, 5);
        let noisy = device.write_noise().is_some() || number == 3;
        macro_rules! cells {
            () => { Cells { weights: &mut weights, persistent: noisy.then_some(&mut persistent[..]), planes: &planes } };
        }
        checked(device.check_planes(&planes));
        let _ = (device.bounds(&planes), device.unexpected_dw_min(&planes), device.hidden_constant("max_bound"));
        checked(device.set_weights(cells!(), key));
        checked(device.enter_bounds(cells!()));
        checked(device.decay(cells!(), alpha, key));
        checked(device.diffuse(cells!(), key));
        checked(device.reset_columns(cells!(), start, count, rate, key));
        checked(device.clip_weights(cells!(), WeightClip::FixedValue(level), key));
        checked(device.clip_weights(cells!(), WeightClip::AverageChannelMax { fixed_value: level }, key));
        let (mut clock, mut begun) = (rate, vec![0.0; d.len()]);
        let [mut written, mut previous] = [d.clone(), d.clone()];
        let state = DriftState { clock: &mut clock, start: &mut begun, written: &mut written, previous: &mut previous };
        checked(device.drift(cells!(), &DriftParameters::default(), state, time, key));
        let mut numbers = vec![0; if has_counts { 2 * cells } else { start }];
        checked(update(
            Update::new(&device, &mut weights, &planes, [&x, &d], rate, key).with(|update| {
                update.persistent = noisy.then_some(&mut persistent[..]);
                update.bias = analog;
                update.counts = has_counts.then_some(&mut numbers[..]);
            })
        ));
        let sample = Sample { device: &device, x: &x, bias: analog, d: &d, learning_rate: rate, key, at: start };
        let mut out = vec![0; cells];
        checked(counts(&sample, &mut out));
        checked(device.construct_values(5, vec![(number, &mut weights)]));
        checked(device.clip(&mut weights, &planes));
    }
}
