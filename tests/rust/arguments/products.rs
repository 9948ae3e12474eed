//! Products and updates on slices.

use mho_core::Key;
use mho_core::config::{IoParameters, UpdateParameters};
use mho_core::mvm::periphery::{Outputs, enter};
use mho_core::mvm::{
    Axis, Columns, Direction, Grid, GridTile, Images, Inputs, Layout, Lines, Mvm, OneLine, Patches,
    Request,
};
use proptest::prelude::*;

use super::any::{bytes, changed, checked, float, floats, size, small};

fn io() -> impl Strategy<Value = IoParameters> {
    changed(serde_json::to_value(IoParameters::default()).unwrap())
        .prop_filter_map("no parameters", |text| serde_json::from_value(text).ok())
}

/// A wrong number of some values now and then.
fn cut(values: &[f32], bits: u16) -> &[f32] {
    if bits.is_multiple_of(7) { &values[..values.len() / 2] } else { values }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn products(
        io in io(),
        (d_size, x_size, samples) in (1usize..7, 1usize..7, 0usize..4),
        forward in any::<bool>(),
        weights in floats(49), x in floats(28), y in floats(28), mask in bytes(28),
        (bias, running, factor) in (prop::option::of(float()), prop::option::of(float()), float()),
        (drop_last, is_test, bits, line) in (any::<bool>(), any::<bool>(), any::<u16>(), 0usize..9),
    ) {
        let direction = if forward { Direction::Forward } else { Direction::Backward };
        let Some(mvm) = checked(Mvm::new(&io, direction, d_size, x_size)) else { return Ok(()) };
        let owned = mvm.construct_lines(3).unwrap();
        let get = |name: &str| owned.iter().find(|(key, _)| *key == name).map_or(&[][..], |(_, v)| &v[..]);
        let lines = Lines {
            out_noise_values: cut(get("out_noise_values"), bits),
            v_offset: cut(get("v_offset"), bits >> 2),
            w_asymmetry: cut(get("w_asymmetry"), bits >> 4),
            out_nonlinearity: cut(get("out_nonlinearity"), bits >> 6),
            out_nonlinearity_factor: factor,
        };
        let (n_in, n_out) = (mvm.n_in() - usize::from(bias.is_some()), mvm.n_out() - usize::from(drop_last));
        let take = |values: &[f32], len: usize| values[..len.min(values.len())].to_vec();
        let (weights, x) = (take(&weights, d_size * x_size), take(&x, samples * n_in));
        let mut y = take(&y, samples * n_out);
        let mut mask = mask[..(samples * n_out).min(mask.len())].to_vec();
        let (mut running, key) = (running, Key::new(7, 8));
        checked(mvm.run(Request::new(&x, &weights, &mut y, lines, key).with(|r| {
            (r.bias, r.drop_last, r.is_test) = (bias, drop_last, is_test);
            r.running = running.as_mut();
            r.mask = (bits % 3 == 0).then_some(&mut mask[..]);
        })));
        if let Some(read) = checked(OneLine::new(&io, direction, d_size, x_size)) {
            checked(read.read(&weights, line, key, lines, &mut y));
            let _ = read.frozen();
        }
        // A grid of one or two such tiles.
        let tile = |x| GridTile {
            mvm: &mvm, x: Inputs::Rows(Columns::all(x, n_in)), weights: &weights, key, lines, running: None,
            mask: None, outputs: Outputs { factors: &[], offset: &[] },
        };
        let parts = (0..bits % 3).map(|_| (0..1 + bits % 2).map(|_| tile(&x)).collect()).collect();
        let layout = if bits % 5 == 0 { Layout::Planes(usize::from(bits % 4)) } else { Layout::Rows };
        let (groups, is_test) = (usize::from(bits % 4), true);
        checked(Grid { parts, groups, samples, is_test, offset: &[], layout, y: &mut y }.run());
    }

    #[test]
    fn periphery(
        x in floats(12), mut y in floats(12), r in float(), width in small(),
        factor in floats(3), offset in floats(3),
    ) {
        checked(enter(&x, r, &mut y));
        let factors: [&[f32]; 2] = [&[2.0], &factor];
        let outputs = Outputs { factors: &factors, offset: &offset };
        checked(outputs.check(width));
        checked(outputs.apply(&mut y, width));
        checked(Outputs { factors: &[], offset: &offset }.apply(&mut y, width));
    }

    #[test]
    fn patches(
        channels in size(), points in size(),
        axes in prop::collection::vec((size(), 0usize..4, 0usize..3, 0usize..3, 0usize..3, 0usize..3), 0..5),
        images in floats(40), mut rows in floats(40), first in small(), width in small(),
        samples in small(),
    ) {
        let axis = |(size, kernel, stride, dilation, before, after)| Axis { size, kernel, stride, dilation, before, after };
        let axes: Vec<Axis> = axes.into_iter().map(axis).collect();
        let made = [checked(Patches::new(channels, &axes)), checked(Patches::of_points(channels, points))];
        for patches in made.into_iter().flatten() {
            let _ = (patches.positions(), patches.width(), patches.image_len());
            checked(patches.unfold(&images, first, width, &mut rows));
            let mvm = Mvm::new(&IoParameters::default(), Direction::Forward, 2, 3).unwrap();
            let x = Inputs::Patches(Images { data: &images, patches: &patches, first, width });
            let tile = GridTile {
                mvm: &mvm, x, weights: &[0.1; 6], key: Key::new(1, 2), lines: Lines::default(), running: None,
                mask: None, outputs: Outputs { factors: &[], offset: &[] },
            };
            let (parts, layout) = (vec![vec![tile]], Layout::Folded(&patches));
            checked(Grid { parts, groups: 1, samples, is_test: true, offset: &[], layout, y: &mut rows }.run());
        }
    }

    #[test]
    fn scales(rates in prop::array::uniform4(super::any::double())) {
        let [granularity, rate, x, d] = rates;
        let _ = mho_core::pulse::scale::scaling(&UpdateParameters::default(), granularity, rate, x, d);
    }
}
