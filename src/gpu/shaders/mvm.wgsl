// What the kernels of the product share: parameters, streams and the list of rows of a pass.

const INPUT_ROUND: u32 = 3u;
const INPUT_NOISE: u32 = 4u;
const WEIGHT_NOISE: u32 = 5u;
const OUTPUT_NOISE: u32 = 6u;
const OUTPUT_ROUND: u32 = 7u;
// Offset of the blocks of negative reads.
const NEGATIVE: u32 = 64u;
// Marks a row that is zero by definition.
const ZERO_ROW: f32 = -1.0;

struct Params {
    key: Key,
    // Offset of the streams of a backward pass.
    backward: u32,
    // Number of the first sample, samples here, rows that the buffers hold.
    first: u32,
    samples: u32,
    capacity: u32,
    given: u32,
    n_in: u32,
    // Distance of two rows of line voltages: lines with zeros up to a multiple of 16.
    stride: u32,
    n_out: u32,
    output_stride: u32,
    input_stride: u32,
    // Number of the pass and the factor by which it makes the inputs smaller.
    pass_number: u32,
    shrink: f32,
    // Whether rows that clip get another pass.
    again: u32,
    // One read with both signs or one read per sign; parts into which each sum is cut.
    signs: u32,
    splits: u32,
    split_len: u32,
    // Noise management.
    manage: u32,
    threshold: f32,
    assumed_wmax: f32,
    scale_bound: f32,
    largest_factor: f32,
    // Input stage.
    bias: f32,
    noisy_zero: u32,
    dac_step: f32,
    dac_bound: f32,
    dac_stochastic: u32,
    inp_noise: f32,
    inp_factor: f32,
    // Array.
    ir_drop: f32,
    wire: f32,
    r_series: f32,
    w_min: f32,
    w_noise: f32,
    // Output stage.
    digital_sum: u32,
    nonlinear_factor: f32,
    out_factor: f32,
    adc_step: f32,
    adc_bound: f32,
    adc_stochastic: u32,
    adc_clips: u32,
    test_negative: u32,
    out_scale: f32,
    // Where the inputs begin, and the scales by the running average.
    x_first: u32,
    averages: u32,
}

// Sums are over the inputs of both signs or of the positive sign, then of the negative sign.
struct Row {
    inverse: f32,
    factor: f32,
    sum: vec2<f32>,
    squares: vec2<f32>,
}

// The state: number of listed rows, whether a row clipped, then in turn a flag and an entry of the
// list. So no call takes an entry of an earlier one for a flag.
const COUNT: u32 = 0u;
const ANY: u32 = 1u;

fn flag_at(row: u32) -> u32 {
    return 2u + 2u * row;
}

fn list_at(slot: u32) -> u32 {
    return 3u + 2u * slot;
}
