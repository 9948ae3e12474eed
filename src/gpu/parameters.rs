//! Parameters of the kernels of the product, in the order of `struct Params` in `mvm.wgsl`.

use super::plan::{Call, Plan};
use super::words::Words;
use crate::config::NoiseManagement;
use crate::mvm::{Direction, Mvm, Reads};
use crate::rng::BACKWARD;

/// Numbers of the ways to scale the input, as in `input.wgsl`.
mod manage {
    pub const NONE: u32 = 0;
    pub const ABS_MAX: u32 = 1;
    pub const MAX: u32 = 2;
    pub const CONSTANT: u32 = 3;
    pub const AVERAGE: u32 = 4;
    pub const WORST_CASE: u32 = 5;
}

/// Parameters of pass number `pass` of a product; `places` are those of its inputs and of the scales by
/// the running average.
pub(super) fn words(mvm: &Mvm, plan: &Plan, call: &Call, pass: u32, places: [u32; 2]) -> Vec<u32> {
    let forward = mvm.direction == Direction::Forward;
    let (output_stride, input_stride) = if forward { (mvm.x_size, 1) } else { (1, mvm.x_size) };
    let mut words = Words::default();
    words.key(call.key);
    words.word(if forward { 0 } else { BACKWARD });
    for value in [call.first, call.samples, plan.capacity, call.given] {
        words.word(value as u32);
    }
    for value in [plan.n_in, plan.stride(), plan.n_out] {
        words.word(value as u32);
    }
    words.word(output_stride as u32).word(input_stride as u32);
    words.word(pass).float(1.0 / mvm.repeats.reduction(pass));
    words.flag(!mvm.perfect && mvm.repeats.again(pass));
    words.word(plan.signs as u32).word(plan.splits as u32).word(plan.split_len as u32);
    management(&mut words, mvm, pass);
    input(&mut words, mvm, call, forward);
    array(&mut words, mvm);
    output(&mut words, mvm, plan.factor);
    words.word(places[0]).word(places[1]);
    words.0
}

fn management(words: &mut Words, mvm: &Mvm, pass: u32) {
    let scale = &mvm.scale;
    let (kind, threshold) = match scale.kind {
        _ if mvm.perfect => (manage::NONE, 0.0),
        _ if mvm.repeats.worst_case(pass) => (manage::WORST_CASE, scale.threshold),
        NoiseManagement::None => (manage::NONE, 0.0),
        NoiseManagement::AbsMax => (manage::ABS_MAX, scale.threshold),
        NoiseManagement::Max => (manage::MAX, scale.threshold),
        NoiseManagement::Constant if scale.threshold > 0.0 => (manage::CONSTANT, scale.threshold),
        NoiseManagement::Constant => (manage::CONSTANT, 1.0),
        NoiseManagement::AverageAbsMax => (manage::AVERAGE, 0.0),
        NoiseManagement::AbsMaxNPSum => (manage::WORST_CASE, scale.threshold),
    };
    words.word(kind).float(threshold).float(scale.assumed_wmax);
    words.float(scale.out_bound).float(scale.largest_factor);
}

fn input(words: &mut Words, mvm: &Mvm, call: &Call, forward: bool) {
    let input = &mvm.input;
    words.float(call.bias.unwrap_or(0.0)).flag(input.noise > 0.0 && forward);
    if mvm.perfect {
        words.float(0.0).float(f32::MAX).flag(false).float(0.0).float(1.0);
        return;
    }
    words.float(input.dac.step).float(input.dac.bound).flag(input.dac.stochastic);
    words.float(input.noise).float(1.0 - input.asymmetry);
}

fn array(words: &mut Words, mvm: &Mvm) {
    let array = &mvm.array;
    words.float(array.ir_drop).float(array.wire).float(array.r_series);
    words.float(array.w_min).float(array.w_noise);
}

fn output(words: &mut Words, mvm: &Mvm, factor: f32) {
    let output = &mvm.output;
    words.flag(mvm.reads == Reads::DigitalSum && !mvm.perfect).float(factor);
    if mvm.perfect {
        words.float(1.0).float(0.0).float(f32::MAX).flag(false).flag(false).flag(false);
    } else {
        words.float(1.0 - output.asymmetry);
        words.float(output.adc.step).float(output.adc.bound).flag(output.adc.stochastic);
        words.flag(output.adc.clips()).flag(mvm.repeats.test_negative);
    }
    words.float(mvm.out_scale);
}
