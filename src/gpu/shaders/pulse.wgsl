// Pulses in the order of samples and slots, one thread per cell; twin of
// src/pulse/kernels/one_by_one.rs. The response of the device stands before this file.
//
// Every pulse has a draw of its own, from the weight that the one before has left: the exact process,
// whatever the steps. Only steps that do not depend on the weight are added up, where none of them can
// reach a bound; their sum is a normal again.

// Per slice: words of the input lines `[slice][column]` and of the error lines `[slice][row]`. Of
// trains: bits and the sign; otherwise signed numbers.
@group(0) @binding(2) var<storage, read> x_trains: array<u32>;
@group(0) @binding(3) var<storage, read> d_trains: array<u32>;
// Per slice: slots of its sample, first block of its draws, what stands above the column in draws of
// single pulses and of sums.
@group(0) @binding(4) var<storage, read> slices: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read_write> state: array<f32>;
@group(0) @binding(6) var<storage, read_write> visible: array<f32>;
// Coincidences down, then up.
@group(0) @binding(7) var<storage, read_write> counts: array<u32>;

const STOCHASTIC: u32 = 0u;
const MEAN_COUNT: u32 = 1u;
const IMPLICIT: u32 = 2u;
const SIGN: u32 = 0x80000000u;
// Slices of one sum of steps that do not depend on the weight.
const SEGMENT: u32 = 16u;
// Deviations that no sum of noise exceeds.
const FAR: f32 = 6.0;
const MAX_FLOAT: f32 = 3.40282347e+38;

// Which pulses a device takes, and as what.
const BOTH: u32 = 0u;
const ONLY_UP: u32 = 1u;
const ONLY_DOWN_AS_UP: u32 = 2u;

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

// Those of the pulses that the device takes.
fn pulses_of(slice: u32, row: u32, column: u32) -> Pulses {
    let pulses = coincidences(slice, row, column);
    switch TURN {
        case ONLY_UP: { return Pulses(select(0u, pulses.count, pulses.up), true); }
        case ONLY_DOWN_AS_UP: { return Pulses(select(pulses.count, 0u, pulses.up), true); }
        default: { return pulses; }
    }
}

fn coincidences(slice: u32, row: u32, column: u32) -> Pulses {
    let d = d_trains[slice * params.d_size + row];
    let x = x_trains[slice * params.x_size + column];
    // A negative product of input and error calls for a larger weight.
    let up = ((x ^ d) & SIGN) != 0u;
    let size_x = bitcast<f32>(x & ~SIGN);
    let size_d = bitcast<f32>(d & ~SIGN);
    switch MODE {
        case MEAN_COUNT: {
            return Pulses(nearest_part(u32(size_x) * u32(size_d), slices[slice].x), up);
        }
        case IMPLICIT: { return Pulses(nearest(size_d * size_x * f32(slices[slice].x)), up); }
        default: { return Pulses(countOneBits(x & d & ~SIGN), up); }
    }
}

// A whole change added at once: its mean, added by itself, would be rounded the same way at every
// pulse, which is a drift. Drivers may turn `fma(a, b, c) + w` into `a * b + (c + w)` (Mesa does), but
// not through the minimum.
fn added(w: f32, change: f32) -> f32 {
    return min(change, MAX_FLOAT) + w;
}

fn step(w: f32, up: bool, cell: Cell, xi: f32) -> f32 {
    let mean = mean_step(w, up, cell);
    return clip_to(added(w, fma(step_noise(mean, w, up, cell), xi, mean)), cell);
}

// Pulses of up to four slices, one slice after another.
struct Queue {
    // Number of the first pulse behind each slice.
    ends: vec4<u32>,
    up: vec4<bool>,
}

fn queue_of(a: Pulses, b: Pulses, c: Pulses, d: Pulses) -> Queue {
    let two = a.count + b.count;
    let three = two + c.count;
    let ends = vec4<u32>(a.count, two, three, three + d.count);
    return Queue(ends, vec4<bool>(a.up, b.up, c.up, d.up));
}

fn goes_up(queue: Queue, pulse: u32) -> bool {
    let late = select(queue.up.w, queue.up.z, pulse < queue.ends.z);
    let early = select(queue.up.y, queue.up.x, pulse < queue.ends.x);
    return select(late, early, pulse < queue.ends.y);
}

// One pulse after another. Four of them share an evaluation of the generator, from the first one of
// `slice` on: neighbouring threads evaluate it at the same time, however their pulses are spread.
fn walk(start: f32, queue: Queue, cell: Cell, slice: u32, row: u32, column: u32) -> f32 {
    var w = start;
    for (var pulse = 0u; pulse < queue.ends.w; pulse += 4u) {
        var xi = vec4<f32>(0.0);
        if NOISY {
            let block = slices[slice].y + pulse / 4u;
            xi = normals(words(params.key, slices[slice].z | column, row, CYCLE_TO_CYCLE, block));
        }
        for (var k = 0u; k < 4u && pulse + k < queue.ends.w; k++) {
            w = step(w, goes_up(queue, pulse + k), cell, xi[k]);
        }
    }
    return w;
}

fn draw_sum(slice: u32, row: u32, column: u32) -> f32 {
    if !NOISY {
        return 0.0;
    }
    let word = slices[slice].w | column;
    return normals(words(params.key, word, row, CYCLE_TO_CYCLE, slices[slice].y)).x;
}

@compute @workgroup_size(64, 4)
fn main(
    @builtin(global_invocation_id) thread: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    if thread.x >= params.window_columns {
        return;
    }
    let column = params.window_column + thread.x;
    for (var line = thread.y; line < params.window_rows; line += 4u * groups.y) {
        let row = params.window_row + line;
        update(row, column);
    }
}

// Pulses of a slice, none beyond the last.
fn pulses_in(slice: u32, row: u32, column: u32) -> Pulses {
    let pulses = pulses_of(min(slice, params.count - 1u), row, column);
    return Pulses(select(0u, pulses.count, slice < params.count), pulses.up);
}

// Numbers of pulses down and up.
fn tally(pulses: Pulses) -> vec2<u32> {
    return select(vec2<u32>(pulses.count, 0u), vec2<u32>(0u, pulses.count), pulses.up);
}

// Four slices from `first` on.
fn quad(
    start: f32,
    first: u32,
    cell: Cell,
    row: u32,
    column: u32,
    total: ptr<function, vec2<u32>>,
) -> f32 {
    let a = pulses_in(first, row, column);
    let b = pulses_in(first + 1u, row, column);
    let c = pulses_in(first + 2u, row, column);
    let d = pulses_in(first + 3u, row, column);
    *total += tally(a) + tally(b) + tally(c) + tally(d);
    if MODE == STOCHASTIC {
        // Draws of four slices lie behind one another, 8 evaluations for the 31 pulses of each.
        return walk(start, queue_of(a, b, c, d), cell, first, row, column);
    }
    // Slices are samples, each with draws elsewhere.
    let none = Pulses(0u, false);
    var w = walk(start, queue_of(a, none, none, none), cell, first, row, column);
    w = walk(w, queue_of(b, none, none, none), cell, first + 1u, row, column);
    w = walk(w, queue_of(c, none, none, none), cell, first + 2u, row, column);
    return walk(w, queue_of(d, none, none, none), cell, first + 3u, row, column);
}

// Pulses of a whole segment.
fn segment(first: u32, row: u32, column: u32) -> vec2<u32> {
    var total = vec2<u32>(0u);
    let end = min(first + SEGMENT, params.count);
    for (var slice = first; slice < end; slice += 4u) {
        total += tally(pulses_in(slice, row, column)) + tally(pulses_in(slice + 1u, row, column));
        total += tally(pulses_in(slice + 2u, row, column));
        total += tally(pulses_in(slice + 3u, row, column));
    }
    return total;
}

fn update(row: u32, column: u32) {
    let at = row * params.x_size + column;
    let cell = prepare(cell_at(at));
    var w = state[at];
    var total = vec2<u32>(0u);
    for (var first = 0u; first < params.count; first += SEGMENT) {
        if CONSTANT {
            // Steps that do not depend on the weight are added up, if none can reach a bound.
            let pulses = segment(first, row, column);
            let number = vec2<f32>(pulses);
            let change = number * vec2<f32>(-cell.down, cell.up);
            let noise = params.rule[0].x * sqrt(dot(change, vec2<f32>(-cell.down, cell.up)));
            let highest = w + max(change.x, 0.0) + max(change.y, 0.0) + FAR * noise;
            let lowest = w + min(change.x, 0.0) + min(change.y, 0.0) - FAR * noise;
            if highest < cell.max_bound && lowest > cell.min_bound {
                total += pulses;
                let xi = draw_sum(first, row, column);
                w = added(w, fma(noise, xi, change.x + change.y));
                continue;
            }
        }
        let end = min(first + SEGMENT, params.count);
        for (var slice = first; slice < end; slice += 4u) {
            w = quad(w, slice, cell, row, column, &total);
        }
    }
    state[at] = w;
    if WRITES && total.x + total.y > 0u {
        visible[at] = fma(params.write_noise, normal_of(column, row, WRITE_NOISE, 0u), w);
    }
    if COUNTS {
        counts[at] += total.x;
        counts[params.d_size * params.x_size + at] += total.y;
    }
}
