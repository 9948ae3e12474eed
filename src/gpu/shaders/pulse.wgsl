// One pulse after another, one thread per cell; twin of src/pulse/general.rs. The response of the
// device stands before this file.

// Per slice: words of the input lines `[slice][column]` and of the error lines `[slice][row]`. Of
// trains: bits and the sign; otherwise signed numbers.
@group(0) @binding(2) var<storage, read> x_trains: array<u32>;
@group(0) @binding(3) var<storage, read> d_trains: array<u32>;
// Per slice: slots of its sample, first block of its draws, what stands above the column in them.
@group(0) @binding(4) var<storage, read> slices: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read_write> state: array<f32>;
@group(0) @binding(6) var<storage, read_write> visible: array<f32>;
// Coincidences down, then up.
@group(0) @binding(7) var<storage, read_write> counts: array<u32>;

const STOCHASTIC: u32 = 0u;
const MEAN_COUNT: u32 = 1u;
const IMPLICIT: u32 = 2u;
const SIGN: u32 = 0x80000000u;

struct Pulses {
    count: u32,
    up: bool,
}

// Rounds `n / slots` to the nearest integer, halves to even; what is a half up to 1e-6 counts as one.
fn nearest_part(n: u32, slots: u32) -> u32 {
    let whole = n / slots;
    let rest = n - whole * slots;
    let off = f32(max(2u * rest, slots) - min(2u * rest, slots));
    let tie = off < 1e-6 * f32(2u * whole + 1u) * f32(slots);
    let above = select(2u * rest > slots, (whole & 1u) == 1u, tie);
    return whole + u32(above);
}

fn nearest(value: f32) -> u32 {
    let half = round(value * 2.0) * 0.5;
    let close = abs(value - half) < 1e-6 * half;
    return u32(round(select(value, half, close)));
}

fn pulses_of(slice: u32, x: u32, d: u32) -> Pulses {
    // A negative product of input and error calls for a larger weight.
    let up = ((x ^ d) & SIGN) != 0u;
    let size_x = bitcast<f32>(x & ~SIGN);
    let size_d = bitcast<f32>(d & ~SIGN);
    switch MODE {
        case MEAN_COUNT: { return Pulses(nearest_part(u32(size_x) * u32(size_d), slices[slice].x), up); }
        case IMPLICIT: { return Pulses(nearest(size_d * size_x * f32(slices[slice].x)), up); }
        default: { return Pulses(countOneBits(x & d & ~SIGN), up); }
    }
}

@compute @workgroup_size(64, 4)
fn main(
    @builtin(global_invocation_id) thread: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let column = thread.x;
    if column >= params.x_size {
        return;
    }
    for (var row = thread.y; row < params.d_size; row += 4u * groups.y) {
        update(row, column);
    }
}

fn update(row: u32, column: u32) {
    let at = row * params.x_size + column;
    let cell = prepare(cell_at(at));
    var w = state[at];
    var down_count = 0u;
    var up_count = 0u;
    for (var slice = 0u; slice < params.count; slice++) {
        let d = d_trains[slice * params.d_size + row];
        // The same for all threads of a row, so that slices without pulses cost nothing.
        if (d & ~SIGN) == 0u {
            continue;
        }
        let pulses = pulses_of(slice, x_trains[slice * params.x_size + column], d);
        if pulses.count == 0u {
            continue;
        }
        down_count += select(pulses.count, 0u, pulses.up);
        up_count += select(0u, pulses.count, pulses.up);
        let first = slices[slice].y;
        let word = slices[slice].z | column;
        var xi = vec4<f32>(0.0);
        for (var pulse = 0u; pulse < pulses.count; pulse++) {
            if NOISY && pulse % 4u == 0u {
                xi = normals(words(params.key, word, row, CYCLE_TO_CYCLE, first + pulse / 4u));
            }
            let mean = mean_step(w, pulses.up, cell);
            let moved = fma(step_noise(mean, w, pulses.up, cell), xi[pulse % 4u], mean + w);
            w = clip_to(moved, cell);
        }
    }
    state[at] = w;
    if WRITES && down_count + up_count > 0u {
        visible[at] = fma(params.write_noise, normal_of(column, row, WRITE_NOISE, 0u), w);
    }
    if COUNTS {
        counts[at] += down_count;
        counts[params.d_size * params.x_size + at] += up_count;
    }
}
