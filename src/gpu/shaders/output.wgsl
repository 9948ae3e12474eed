// Array and output stage; twin of src/mvm/array.rs and src/mvm/output.rs. One thread serves the
// four outputs of one evaluation of the generator, so that no draw is made twice.

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rows: array<Row>;
@group(0) @binding(2) var<storage, read> sums: array<f32>;
// Per output line: noise, voltage offset, strength of the compression, nothing.
@group(0) @binding(3) var<storage, read> lines: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> state: array<atomic<u32>>;
// Outputs `[samples, n_out]`, then the mask of clipped outputs where that is wanted.
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

const NO_NOISE: u32 = 0u;
const ADDITIVE: u32 = 1u;
const DENSITY: u32 = 2u;

struct Converted {
    value: f32,
    clipped: bool,
}

// Quantity number `quantity` of read `sign`, all parts added up.
fn sum_of(quantity: u32, sign: u32, slot: u32, output: u32) -> f32 {
    let stride = params.capacity * params.n_out;
    let first = (quantity * params.signs + sign) * params.splits;
    var at = first * stride + slot * params.n_out + output;
    var sum = 0.0;
    for (var split = 0u; split < params.splits; split++) {
        sum += sums[at];
        at += stride;
    }
    return sum;
}

fn offset(value: f32, total: f32, o: f32) -> f32 {
    let r = params.r_series;
    if params.w_min == 0.0 {
        return (1.0 - o) * value / (1.0 + r * abs(value));
    }
    let reference = -params.w_min * total;
    let reference_current = reference / (1.0 + r * abs(reference));
    let p = value + reference;
    return (1.0 - o) * p / (1.0 + r * abs(p)) - (1.0 + o) * reference_current;
}

// The current of one read of the array.
fn current(sign: u32, slot: u32, output: u32, noise: f32) -> f32 {
    var value = sum_of(0u, sign, slot, output);
    if WIRES {
        let a = params.wire * sum_of(1u, sign, slot, output);
        let c = a * (a * (0.05 * a - 0.2) + 0.5);
        value -= params.ir_drop * c * sum_of(2u, sign, slot, output);
    }
    if OFFSETS {
        value = offset(value, rows[slot].sum[sign], lines[output].y);
    }
    if WEIGHT_NOISE_KIND == ADDITIVE {
        value = fma(params.w_noise * sqrt(rows[slot].squares[sign]), noise, value);
    }
    if WEIGHT_NOISE_KIND == DENSITY {
        let power = sum_of(select(1u, 3u, WIRES), sign, slot, output);
        value = fma(params.w_noise * sqrt(max(power, 0.0)), noise, value);
    }
    return value;
}

fn convert(current: f32, output: u32, noise: f32, dither: f32) -> Converted {
    var value = current;
    if NONLINEAR {
        value = params.nonlinear_factor * value / (1.0 + abs(lines[output].z * value));
    }
    value = select(value, value * params.out_factor, value < 0.0);
    if OUTPUT_NOISE_ON {
        value = fma(lines[output].x, noise, value);
    }
    if params.adc_step > 0.0 {
        value = quantise(value, params.adc_step, dither);
    }
    let below = params.test_negative != 0u && value < -params.adc_bound;
    let clipped = params.adc_clips != 0u && (value > params.adc_bound || below);
    return Converted(clip(value, params.adc_bound), clipped);
}

fn weight_noise(at: u32, number: u32, block: u32) -> vec4<f32> {
    if WEIGHT_NOISE_KIND == NO_NOISE {
        return vec4<f32>(0.0);
    }
    return normals(words(params.key, at, number, WEIGHT_NOISE | params.backward, block));
}

fn output_noise(at: u32, number: u32, block: u32) -> vec4<f32> {
    if !OUTPUT_NOISE_ON {
        return vec4<f32>(0.0);
    }
    return normals(words(params.key, at, number, OUTPUT_NOISE | params.backward, block));
}

fn output_dither(at: u32, number: u32, block: u32) -> vec4<f32> {
    if params.adc_stochastic == 0u {
        return vec4<f32>(0.5);
    }
    return uniforms(words(params.key, at, number, OUTPUT_ROUND | params.backward, block));
}

fn at_bound(value: f32) -> bool {
    return params.adc_clips != 0u && abs(value) >= params.adc_bound;
}

fn write(row: u32, output: u32, value: f32, marked: bool) {
    y[row * params.n_out + output] = value;
    if MASK {
        y[(params.samples + row) * params.n_out + output] = select(0.0, 1.0, marked);
    }
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(global_invocation_id) thread: vec3<u32>,
) {
    let at = thread.x;
    let slot = group.y;
    var row = slot;
    if params.pass_number > 0u {
        if slot >= atomicLoad(&state[COUNT]) {
            return;
        }
        row = atomicLoad(&state[list_at(slot)]);
    }
    let zero = rows[slot].inverse == ZERO_ROW;
    let number = params.first + row;
    let positive = params.pass_number;
    let negative = params.pass_number + NEGATIVE;
    let positive_w_noise = weight_noise(at, number, positive);
    let noise = output_noise(at, number, positive);
    let dither = output_dither(at, number, positive);
    var negative_w_noise = vec4<f32>(0.0);
    var negative_noise = vec4<f32>(0.0);
    var negative_dither = vec4<f32>(0.5);
    if params.signs == 2u {
        negative_w_noise = weight_noise(at, number, negative);
        if params.digital_sum != 0u {
            negative_noise = output_noise(at, number, negative);
            negative_dither = output_dither(at, number, negative);
        }
    }
    var failed = false;
    for (var k = 0u; k < 4u; k++) {
        let output = first_column(at) + 16u * k;
        if output >= params.n_out {
            break;
        }
        if zero {
            write(row, output, 0.0, false);
            continue;
        }
        var value = current(0u, slot, output, positive_w_noise[k]);
        var other = 0.0;
        if params.signs == 2u {
            other = current(1u, slot, output, negative_w_noise[k]);
        }
        if params.digital_sum == 0u {
            let converted = convert(value + other, output, noise[k], dither[k]);
            failed = failed || converted.clipped;
            let marked = at_bound(converted.value);
            write(row, output, converted.value * rows[slot].factor, marked);
        } else {
            let first = convert(value, output, noise[k], dither[k]);
            let second = convert(other, output, negative_noise[k], negative_dither[k]);
            failed = failed || first.clipped || second.clipped;
            let marked = at_bound(first.value) && at_bound(second.value);
            write(row, output, (first.value + second.value) * rows[slot].factor, marked);
        }
    }
    if failed && params.again != 0u {
        atomicStore(&state[flag_at(row)], 1u);
        atomicStore(&state[ANY], 1u);
    }
}
