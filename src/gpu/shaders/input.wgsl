// Noise management and input stage, one workgroup per row; twin of src/mvm/management.rs and
// src/mvm/input.rs. Writes the line voltages, the scale of the row and sums over its voltages.

@group(0) @binding(0) var<uniform> params: Params;
// Inputs `[samples, given]`, and the scales by the running average where those are used.
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> state: array<u32>;
@group(0) @binding(3) var<storage, read_write> prepared: array<f32>;
@group(0) @binding(4) var<storage, read_write> rows: array<Row>;

const MANAGE_NONE: u32 = 0u;
const MANAGE_ABS_MAX: u32 = 1u;
const MANAGE_MAX: u32 = 2u;
const MANAGE_CONSTANT: u32 = 3u;
const MANAGE_AVERAGE: u32 = 4u;
const MANAGE_WORST_CASE: u32 = 5u;

const MIN_POSITIVE: f32 = 1.17549435e-38;
const MAX_FLOAT: f32 = 3.40282347e+38;

var<workgroup> partial: array<vec4<f32>, 256>;

fn input_at(row: u32, column: u32) -> f32 {
    if column < params.given {
        return x[params.x_first + row * params.given + column];
    }
    return params.bias;
}

// Largest absolute value, largest value, sum of the positive and of the negated negative values.
fn measure(row: u32, thread: u32) -> vec4<f32> {
    var found = vec4<f32>(0.0, -MAX_FLOAT, 0.0, 0.0);
    for (var column = thread; column < params.n_in; column += 256u) {
        let value = input_at(row, column);
        found = join(found, vec4<f32>(abs(value), value, max(value, 0.0), max(-value, 0.0)));
    }
    partial[thread] = found;
    workgroupBarrier();
    for (var half = 128u; half > 0u; half >>= 1u) {
        if thread < half {
            partial[thread] = join(partial[thread], partial[thread + half]);
        }
        workgroupBarrier();
    }
    let result = partial[0];
    workgroupBarrier();
    return result;
}

fn join(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(max(a.xy, b.xy), a.zw + b.zw);
}

fn add_up(value: vec4<f32>, thread: u32) -> vec4<f32> {
    partial[thread] = value;
    workgroupBarrier();
    for (var half = 128u; half > 0u; half >>= 1u) {
        if thread < half {
            partial[thread] += partial[thread + half];
        }
        workgroupBarrier();
    }
    return partial[0];
}

fn cap(value: f32) -> f32 {
    return select(value, params.threshold, params.threshold > 0.0 && value > params.threshold);
}

fn scale_of(row: u32, found: vec4<f32>) -> f32 {
    switch params.manage {
        case MANAGE_ABS_MAX: { return cap(found.x); }
        case MANAGE_MAX: { return cap(found.y); }
        case MANAGE_CONSTANT: { return params.threshold; }
        case MANAGE_AVERAGE: { return x[params.averages + row]; }
        case MANAGE_WORST_CASE: {
            let largest = cap(found.x);
            let wanted = divide(max(found.z, found.w) * params.assumed_wmax, params.scale_bound);
            return max(largest, min(wanted, largest * params.largest_factor));
        }
        default: { return 1.0; }
    }
}

// What the inputs are multiplied by, or ZERO_ROW.
fn inverse_of(scale: f32) -> f32 {
    var inverse = 1.0;
    if params.manage != MANAGE_NONE {
        if scale <= 0.0 && params.noisy_zero == 0u {
            return ZERO_ROW;
        }
        if scale > 0.0 {
            inverse = divide(1.0, scale);
        }
    }
    return clamp(inverse * params.shrink, MIN_POSITIVE, MAX_FLOAT);
}

fn voltage(value: f32, dither: f32, noise: f32) -> f32 {
    var v = value;
    if params.dac_step > 0.0 {
        v = quantise(v, params.dac_step, dither);
    }
    v = fma(params.inp_noise, noise, clip(v, params.dac_bound));
    return select(v, v * params.inp_factor, v < 0.0);
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let slot = group.x;
    var row = slot;
    if params.pass_number > 0u {
        if slot >= state[COUNT] {
            return;
        }
        row = state[list_at(slot)];
    } else if thread == 0u {
        // A call that ended after its first pass has left them.
        state[flag_at(row)] = 0u;
        if row == 0u {
            state[ANY] = 0u;
        }
    }
    var found = vec4<f32>(0.0);
    let managed = params.manage != MANAGE_NONE && params.manage != MANAGE_CONSTANT;
    if managed && params.manage != MANAGE_AVERAGE {
        found = measure(row, thread);
    }
    let inverse = inverse_of(scale_of(row, found));
    let number = params.first + row;
    let start = slot * params.stride;
    let evaluations = ((params.n_in + 63u) / 64u) * 16u;
    var sums = vec4<f32>(0.0);
    for (var at = thread; at < evaluations; at += 256u) {
        var dither = vec4<f32>(0.5);
        if params.dac_stochastic != 0u {
            let tag = INPUT_ROUND | params.backward;
            dither = uniforms(words(params.key, at, number, tag, params.pass_number));
        }
        var noise = vec4<f32>(0.0);
        if params.inp_noise > 0.0 {
            let tag = INPUT_NOISE | params.backward;
            noise = normals(words(params.key, at, number, tag, params.pass_number));
        }
        for (var k = 0u; k < 4u; k++) {
            let column = first_column(at) + 16u * k;
            if column < params.stride {
                var v = 0.0;
                if inverse != ZERO_ROW && column < params.n_in {
                    v = voltage(input_at(row, column) * inverse, dither[k], noise[k]);
                }
                prepared[start + column] = v;
                let negative = params.signs == 2u && v < 0.0;
                sums += select(vec4<f32>(v, 0.0, v * v, 0.0), vec4<f32>(0.0, v, 0.0, v * v), negative);
            }
        }
    }
    if SUMS {
        sums = add_up(sums, thread);
    }
    if thread == 0u {
        let factor = select(divide(params.out_scale, inverse), 0.0, inverse == ZERO_ROW);
        rows[slot] = Row(inverse, factor, sums.xy, sums.zw);
    }
}
