//! Every option of the product.

use mho_core::config::{AnalogMvType, BoundManagement, IoParameters, NoiseManagement, WeightNoise};

/// Nothing but the product.
pub(super) fn plain() -> IoParameters {
    IoParameters {
        inp_bound: -1.0,
        inp_res: -1.0,
        out_bound: -1.0,
        out_res: -1.0,
        out_noise: 0.0,
        noise_management: NoiseManagement::None,
        bound_management: BoundManagement::None,
        ..IoParameters::default()
    }
}

/// Every option of the product, alone or with what it needs.
pub(super) fn options() -> Vec<(&'static str, IoParameters)> {
    let io = IoParameters::default;
    let quiet = || IoParameters { out_noise: 0.0, ..io() };
    let mut all = vec![
        ("plain", plain()),
        ("perfect", IoParameters { out_scale: 2.5, ..IoParameters::perfect() }),
        ("default", io()),
        ("quiet", quiet()),
        ("inp_noise", IoParameters { inp_noise: 0.05, ..io() }),
        ("inp_sto_round", IoParameters { inp_sto_round: true, ..io() }),
        ("out_sto_round", IoParameters { out_sto_round: true, ..io() }),
        ("inp_asymmetry", IoParameters { inp_asymmetry: 0.1, ..quiet() }),
        ("out_asymmetry", IoParameters { out_asymmetry: 0.1, ..quiet() }),
        ("out_noise_std", IoParameters { out_noise_std: 0.3, ..io() }),
        ("out_scale", IoParameters { out_scale: 1.7, ..quiet() }),
        (
            "out_nonlinearity",
            IoParameters {
                out_nonlinearity: 0.5,
                out_nonlinearity_std: 0.1,
                slope_calibration: 0.5,
                ..quiet()
            },
        ),
        ("r_series", IoParameters { r_series: 0.01, ..quiet() }),
        ("v_offset", IoParameters { v_offset_std: 0.05, ..quiet() }),
        ("v_offset_w_min", IoParameters { v_offset_std: 0.05, v_offset_w_min: 0.0, ..quiet() }),
        ("ir_drop", IoParameters { ir_drop: 1.0, ir_drop_g_ratio: 1e4, ..quiet() }),
        ("nm_thres", IoParameters { nm_thres: 0.5, ..io() }),
        (
            "assumed_wmax",
            IoParameters {
                noise_management: NoiseManagement::AbsMaxNPSum,
                nm_assumed_wmax: 0.3,
                out_bound: 4.0,
                ..io()
            },
        ),
        ("nm_none", IoParameters { noise_management: NoiseManagement::None, ..io() }),
        ("nm_max", IoParameters { noise_management: NoiseManagement::Max, ..io() }),
        ("nm_average", IoParameters { noise_management: NoiseManagement::AverageAbsMax, ..io() }),
        (
            "nm_constant",
            IoParameters { noise_management: NoiseManagement::Constant, nm_thres: 0.7, ..io() },
        ),
        (
            "bm_none",
            IoParameters { bound_management: BoundManagement::None, out_bound: 2.0, ..io() },
        ),
        ("bm_iterative", IoParameters { out_bound: 2.0, ..io() }),
        ("bm_positive", IoParameters { out_bound: 2.0, bm_test_negative_bound: false, ..quiet() }),
        (
            "bm_worst_case",
            IoParameters {
                out_bound: 2.0,
                bound_management: BoundManagement::IterativeWorstCase,
                ..io()
            },
        ),
        ("bm_many", IoParameters { out_bound: 0.05, inp_res: -1.0, ..io() }),
    ];
    for (name, w_noise_type) in [
        ("additive", WeightNoise::AdditiveConstant),
        ("pcm_read", WeightNoise::PcmRead),
        ("relative", WeightNoise::Relative),
    ] {
        all.push((name, IoParameters { w_noise: 0.02, w_noise_type, ..io() }));
    }
    for (name, mv_type) in [
        ("separate", AnalogMvType::PosNegSeparate),
        ("digital_sum", AnalogMvType::PosNegSeparateDigitalSum),
    ] {
        all.push((name, IoParameters { mv_type, ..io() }));
        all.push((
            name,
            IoParameters {
                mv_type,
                w_read_asymmetry_dtod: 0.1,
                w_noise: 0.02,
                w_noise_type: WeightNoise::PcmRead,
                ir_drop: 1.0,
                ir_drop_g_ratio: 1e4,
                v_offset_std: 0.02,
                r_series: 0.01,
                out_bound: 3.0,
                ..io()
            },
        ));
    }
    all
}
