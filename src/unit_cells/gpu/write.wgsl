// How the pulses of a write are made: one vector of values on the lines of one side, 1 on a single line of
// the other. Twin of src/pulse/scale.rs and of what makes probabilities of the values.
//
// The values come from a read here, so all of it is in f32. There it is in f64, of which shaders know
// nothing: probabilities agree to a few units in the last place of f32, and a draw falls between the two
// once in some millions.

struct Params {
    key: Key,
    d_size: u32,
    x_size: u32,
    // The single line, and whether it is a column.
    hot: u32,
    hot_is_x: u32,
    // Learning rate over the step of a pulse, most slots, and slots of trains without management that
    // are longer than these (0 for none).
    ratio: f32,
    longest: f32,
    free_slots: f32,
    grad_scale: f32,
    // Whether lines fire equally often, and whether trains are as short as possible.
    balances: u32,
    shortens: u32,
    // Bins of the probabilities of both sides, 0 for none.
    x_res: f32,
    d_res: f32,
    sto_round: u32,
    // Whether errors count as their opposite.
    flipped: u32,
    slices: u32,
    // What stands above the column in draws of single pulses and of sums.
    pulses: u32,
    sums: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> values: array<f32>;
// Whether there is anything to write.
@group(0) @binding(2) var<storage, read_write> wanted: array<u32>;
// Slices as the trains and as the pulses read them.
@group(0) @binding(3) var<storage, read_write> rows: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> slices: array<vec4<u32>>;
// Of both sides: pairs of a probability and a sign, or pulses of lines, or values.
@group(0) @binding(5) var<storage, read_write> x: array<u32>;
@group(0) @binding(6) var<storage, read_write> d: array<u32>;

const STOCHASTIC: u32 = 0u;
const MEAN_COUNT: u32 = 1u;
const IMPLICIT: u32 = 2u;
const EXACT: u32 = 3u;

const PULSE_ROUND: u32 = 11u;
const SLICE: u32 = 31u;
const SIGN: u32 = 0x80000000u;
// As there; two orders larger than the roundings of f32.
const ROUNDING: f32 = 1e-6;
// Four units in the last place below 1: what the operations below make of a probability that is 1.
const CERTAIN: f32 = 1.0 - 1.0 / 4194304.0;

var<workgroup> partial: array<f32, 256>;

struct Scaling {
    slots: f32,
    x: f32,
    d: f32,
}

fn largest(count: u32, thread: u32) -> f32 {
    var found = 0.0;
    for (var at = thread; at < count; at += 256u) {
        found = max(found, abs(values[at]));
    }
    partial[thread] = found;
    workgroupBarrier();
    for (var half = 128u; half > 0u; half >>= 1u) {
        if thread < half {
            partial[thread] = max(partial[thread], partial[thread + half]);
        }
        workgroupBarrier();
    }
    return partial[0];
}

fn scaling(x_max: f32, d_max: f32) -> Scaling {
    var slots = params.longest;
    var scale = sqrt(divide(params.ratio, slots));
    if params.free_slots > 0.0 {
        slots = params.free_slots;
        scale = 1.0;
    }
    if params.balances == 0u {
        return Scaling(slots, scale, scale);
    }
    var d_scale = params.grad_scale * d_max;
    let coincidences = params.ratio * x_max * d_scale;
    if params.shortens != 0u {
        slots = clamp(ceil(coincidences * (1.0 - ROUNDING)), 1.0, params.longest);
        scale = sqrt(divide(params.ratio, slots));
    }
    if coincidences > params.longest {
        d_scale *= divide(params.longest, coincidences);
    }
    let balance = sqrt(divide(x_max, d_scale));
    return Scaling(slots, divide(scale, balance), scale * balance);
}

fn dither(line: u32, is_d: bool) -> f32 {
    if params.sto_round == 0u {
        return 0.5;
    }
    let at = (line / 64u) * 16u + line % 16u;
    let word = words(params.key, at, 0u, PULSE_ROUND, select(0u, 1u, is_d))[(line % 64u) / 16u];
    return f32(word >> 8u) * (1.0 / 16777216.0);
}

fn nearest(value: f32) -> f32 {
    let half = round(value * 2.0) * 0.5;
    return round(select(value, half, abs(value - half) < 1e-6 * half));
}

// The probability of a line in a slot, without its limits.
fn probability(value: f32, scale: f32, line: u32, is_d: bool) -> f32 {
    let p = scale * abs(value);
    let res = select(params.x_res, params.d_res, is_d);
    if res > 0.0 {
        return quantise(p, res, dither(line, is_d));
    }
    return p;
}

// What a line of this value gets: a pair of words, of which only trains read the second.
fn word_of(value: f32, scale: f32, slots: f32, line: u32, is_d: bool) -> vec2<u32> {
    if MODE == EXACT {
        return vec2<u32>(bitcast<u32>(value), 0u);
    }
    let flip = select(0u, SIGN, is_d && params.flipped != 0u);
    let sign = (bitcast<u32>(value) ^ flip) & SIGN;
    let found = probability(value, scale, line, is_d);
    // Nothing that is not a number fires.
    let p = select(0.0, found, found > 0.0);
    switch MODE {
        case MEAN_COUNT: {
            return vec2<u32>(bitcast<u32>(clamp(nearest(slots * p), 0.0, slots)) | sign, 0u);
        }
        case IMPLICIT: { return vec2<u32>(bitcast<u32>(min(p, 1.0)) | sign, 0u); }
        default: {
            if p >= CERTAIN {
                return vec2<u32>(0u, sign | 1u);
            }
            return vec2<u32>(u32(round(p * 4294967296.0)), sign);
        }
    }
}

fn value_of(line: u32, is_hot: bool) -> f32 {
    if is_hot {
        return select(0.0, 1.0, line == params.hot);
    }
    return values[line];
}

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) thread: u32) {
    let hot_is_x = params.hot_is_x != 0u;
    let found = largest(select(params.x_size, params.d_size, hot_is_x), thread);
    let is_active = found > 0.0;
    var scale = Scaling(0.0, 0.0, 0.0);
    if is_active && MODE != EXACT {
        scale = scaling(select(found, 1.0, hot_is_x), select(1.0, found, hot_is_x));
    }
    if thread == 0u {
        wanted[0] = u32(is_active);
    }
    let slots = u32(scale.slots);
    for (var at = thread; at < params.slices; at += 256u) {
        let here = clamp(slots, at * SLICE, (at + 1u) * SLICE) - at * SLICE;
        rows[at] = vec4<u32>(0u, 0u, at, here | select(0u, SIGN, here == slots));
        let count = select(slots, here, MODE == STOCHASTIC);
        slices[at] = vec4<u32>(count, 8u * at, params.pulses, params.sums);
    }
    for (var line = thread; line < params.x_size; line += 256u) {
        let word = word_of(value_of(line, hot_is_x), scale.x, scale.slots, line, false);
        if MODE == STOCHASTIC {
            x[2u * line] = word.x;
            x[2u * line + 1u] = word.y;
        } else {
            x[line] = word.x;
        }
    }
    for (var line = thread; line < params.d_size; line += 256u) {
        let word = word_of(value_of(line, !hot_is_x), scale.d, scale.slots, line, true);
        if MODE == STOCHASTIC {
            d[2u * line] = word.x;
            d[2u * line + 1u] = word.y;
        } else {
            d[line] = word.x;
        }
    }
}
