//! Every option of the product.

use mho_core::config::{AnalogMvType, BoundManagement, IoParameters, NoiseManagement, WeightNoise};

/// Nothing but the product.
pub(super) fn plain() -> IoParameters {
    IoParameters::default().with(|p| {
        p.inp_bound = -1.0;
        p.inp_res = -1.0;
        p.out_bound = -1.0;
        p.out_res = -1.0;
        p.out_noise = 0.0;
        p.noise_management = NoiseManagement::None;
        p.bound_management = BoundManagement::None;
    })
}

/// Every option of the product, alone or with what it needs.
pub(super) fn options() -> Vec<(&'static str, IoParameters)> {
    let io = IoParameters::default;
    let quiet = || io().with(|p| p.out_noise = 0.0);
    let mut all = vec![
        ("plain", plain()),
        ("perfect", IoParameters::perfect().with(|p| p.out_scale = 2.5)),
        ("default", io()),
        ("quiet", quiet()),
        ("inp_noise", io().with(|p| p.inp_noise = 0.05)),
        ("inp_sto_round", io().with(|p| p.inp_sto_round = true)),
        ("out_sto_round", io().with(|p| p.out_sto_round = true)),
        ("inp_asymmetry", quiet().with(|p| p.inp_asymmetry = 0.1)),
        ("out_asymmetry", quiet().with(|p| p.out_asymmetry = 0.1)),
        ("out_noise_std", io().with(|p| p.out_noise_std = 0.3)),
        ("out_scale", quiet().with(|p| p.out_scale = 1.7)),
        (
            "out_nonlinearity",
            quiet().with(|p| {
                p.out_nonlinearity = 0.5;
                p.out_nonlinearity_std = 0.1;
                p.slope_calibration = 0.5;
            }),
        ),
        ("r_series", quiet().with(|p| p.r_series = 0.01)),
        ("v_offset", quiet().with(|p| p.v_offset_std = 0.05)),
        (
            "v_offset_w_min",
            quiet().with(|p| {
                p.v_offset_std = 0.05;
                p.v_offset_w_min = 0.0;
            }),
        ),
        (
            "ir_drop",
            quiet().with(|p| {
                p.ir_drop = 1.0;
                p.ir_drop_g_ratio = 1e4;
            }),
        ),
        ("nm_thres", io().with(|p| p.nm_thres = 0.5)),
        (
            "assumed_wmax",
            io().with(|p| {
                p.noise_management = NoiseManagement::AbsMaxNPSum;
                p.nm_assumed_wmax = 0.3;
                p.out_bound = 4.0;
            }),
        ),
        ("nm_none", io().with(|p| p.noise_management = NoiseManagement::None)),
        ("nm_max", io().with(|p| p.noise_management = NoiseManagement::Max)),
        ("nm_average", io().with(|p| p.noise_management = NoiseManagement::AverageAbsMax)),
        (
            "nm_constant",
            io().with(|p| {
                p.noise_management = NoiseManagement::Constant;
                p.nm_thres = 0.7;
            }),
        ),
        (
            "bm_none",
            io().with(|p| {
                p.bound_management = BoundManagement::None;
                p.out_bound = 2.0;
            }),
        ),
        ("bm_iterative", io().with(|p| p.out_bound = 2.0)),
        (
            "bm_positive",
            quiet().with(|p| {
                p.out_bound = 2.0;
                p.bm_test_negative_bound = false;
            }),
        ),
        (
            "bm_worst_case",
            io().with(|p| {
                p.out_bound = 2.0;
                p.bound_management = BoundManagement::IterativeWorstCase;
            }),
        ),
        (
            "bm_many",
            io().with(|p| {
                p.out_bound = 0.05;
                p.inp_res = -1.0;
            }),
        ),
    ];
    for (name, w_noise_type) in [
        ("additive", WeightNoise::AdditiveConstant),
        ("pcm_read", WeightNoise::PcmRead),
        ("relative", WeightNoise::Relative),
    ] {
        all.push((
            name,
            io().with(|p| {
                p.w_noise = 0.02;
                p.w_noise_type = w_noise_type;
            }),
        ));
    }
    for (name, mv_type) in [
        ("separate", AnalogMvType::PosNegSeparate),
        ("digital_sum", AnalogMvType::PosNegSeparateDigitalSum),
    ] {
        all.push((name, io().with(|p| p.mv_type = mv_type)));
        all.push((
            name,
            io().with(|p| {
                p.mv_type = mv_type;
                p.w_read_asymmetry_dtod = 0.1;
                p.w_noise = 0.02;
                p.w_noise_type = WeightNoise::PcmRead;
                p.ir_drop = 1.0;
                p.ir_drop_g_ratio = 1e4;
                p.v_offset_std = 0.02;
                p.r_series = 0.01;
                p.out_bound = 3.0;
            }),
        ));
    }
    all
}
