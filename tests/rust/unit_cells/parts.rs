//! Reads of single lines.

use mho_core::config::{AnalogMvType, BoundManagement, IoParameters, NoiseManagement, WeightNoise};
use mho_core::mvm::{Direction, Lines, Mvm, OneLine, Request};
use mho_core::rng::{Key, Stream};
use proptest::prelude::*;

const ROWS: usize = 21;
const COLUMNS: usize = 35;

fn normals(len: usize, block: u32, scale: f32) -> Vec<f32> {
    let mut out = vec![0.0; len];
    Key::new(3, 0).stream(Stream::Read).fill_normal(0, block, &mut out);
    out.iter_mut().for_each(|value| *value *= scale);
    out
}

prop_compose! {
    fn io()(
        noise_management in prop::sample::select(&[
            NoiseManagement::None, NoiseManagement::AbsMax, NoiseManagement::AverageAbsMax,
            NoiseManagement::AbsMaxNPSum, NoiseManagement::Constant, NoiseManagement::Max,
        ]),
        bound_management in prop::sample::select(&[
            BoundManagement::None, BoundManagement::Iterative, BoundManagement::IterativeWorstCase,
        ]),
        mv_type in prop::sample::select(&[
            AnalogMvType::OnePass, AnalogMvType::PosNegSeparate,
            AnalogMvType::PosNegSeparateDigitalSum,
        ]),
        w_noise_type in prop::sample::select(&[
            WeightNoise::None, WeightNoise::AdditiveConstant, WeightNoise::PcmRead,
            WeightNoise::Relative,
        ]),
        flags in any::<[bool; 9]>(),
        out_bound in prop::sample::select(&[0.3, 12.0]),
    ) -> IoParameters {
        let on = |flag: bool, value| if flag { value } else { 0.0 };
        IoParameters::default().with(|p| {
p.noise_management = noise_management;
p.bound_management = bound_management;
p.mv_type = mv_type;
p.w_noise_type = w_noise_type;
p.w_noise = 0.05;
p.out_bound = out_bound;
p.nm_thres = on(flags[0], 0.7);
p.inp_noise = on(flags[1] && flags[2], 0.05);
p.inp_asymmetry = on(flags[1], 0.1);
p.out_noise_std = on(flags[2], 0.2);
p.ir_drop = on(flags[3], 1.0);
p.ir_drop_g_ratio = 100.0;
p.v_offset_std = on(flags[4], 0.1);
p.r_series = on(flags[5], 0.1);
p.out_nonlinearity = on(flags[6], 0.2);
p.out_asymmetry = on(flags[7], 0.1);
p.w_read_asymmetry_dtod = on(flags[8], 0.1);
p.out_sto_round = flags[3];
p.is_perfect = flags[0] && flags[8];
p.out_scale = 1.5;
})
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// A read is the product of a one-hot vector, noise included. Draws that both make are at the same
    /// positions, so the values are the same up to the order of additions.
    #[test]
    fn a_read_is_a_product(
        io in io(),
        backward in any::<bool>(),
        line in 0usize..ROWS,
        seed in any::<u64>(),
    ) {
        let direction = if backward { Direction::Backward } else { Direction::Forward };
        let mvm = Mvm::new(&io, direction, ROWS, COLUMNS).unwrap();
        let read = OneLine::new(&io, direction, ROWS, COLUMNS).unwrap();
        let weights = normals(ROWS * COLUMNS, 1, 0.3);
        let frozen = mvm.construct_lines(seed).unwrap();
        let values = |name: &str| {
            frozen.iter().find(|(known, _)| *known == name).map_or(&[][..], |(_, values)| values)
        };
        let lines = Lines {
            out_noise_values: values("out_noise_values"),
            v_offset: values("v_offset"),
            w_asymmetry: values("w_asymmetry"),
            out_nonlinearity: values("out_nonlinearity"),
            out_nonlinearity_factor: values("out_nonlinearity_factor")[0],
        };
        for (name, len) in read.frozen() {
            prop_assert_eq!(values(name).len(), len);
        }
        let key = Key::new(seed, 5);
        let mut x = vec![0.0; mvm.n_in()];
        x[line] = 1.0;
        let (mut expected, mut found) = (vec![0.0; mvm.n_out()], vec![0.0; mvm.n_out()]);
        let mut running = 1.0;
        mvm.run(Request::new(&x, &weights, &mut expected, lines, key).with(|u| {u.is_test = true; u.running = Some(&mut running);})).unwrap();
        read.read(&weights, line, key, lines, &mut found).unwrap();
        for (found, expected) in found.iter().zip(&expected) {
            // A level of the converter more or less where the order of additions decides.
            let level = 1.5 * (io.out_res * 2.0 * io.out_bound) as f32 * 2.0;
            prop_assert!((found - expected).abs() <= level, "{found} {expected}");
        }
        let same = found.iter().zip(&expected).filter(|(a, b)| (*a - *b).abs() < 1e-5).count();
        prop_assert!(same + 1 >= found.len(), "{found:?} {expected:?}");
    }
}

#[test]
fn lines_that_are_not_there() {
    let read = OneLine::new(&IoParameters::default(), Direction::Forward, 2, 3).unwrap();
    let mut y = [0.0; 2];
    let key = Key::new(1, 1);
    assert!(read.read(&[0.0; 6], 3, key, Lines::default(), &mut y).is_err());
    assert!(read.read(&[0.0; 5], 0, key, Lines::default(), &mut y).is_err());
    assert!(read.read(&[0.0; 6], 2, key, Lines::default(), &mut y).is_ok());
}
