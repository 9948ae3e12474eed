// What becomes of the values of a line that was read, one thread each; twin of `transfer` in host.rs.

struct Params {
    // Number of values, and their positions in the matrices.
    count: u32,
    first: u32,
    stride: u32,
    // What values are multiplied by, threshold, and most pulses.
    scale: f32,
    threshold: f32,
    most: f32,
    // What is kept after pulses: all of it times `momentum`, or all but `taken` of what was written.
    forgets: u32,
    momentum: f32,
    taken: f32,
    // Limit of what is kept, 0 for none.
    limit: f32,
    no_buffer: u32,
    // Weights of the newest read and of the others in the running mean, and whether that of the period
    // that has ended becomes the reference.
    beta: f32,
    rest: f32,
    renews: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> values: array<f32>;
// Signs of the lines across.
@group(0) @binding(2) var<storage, read> signs: array<f32>;
@group(0) @binding(3) var<storage, read_write> buffer: array<f32>;
@group(0) @binding(4) var<storage, read_write> mean: array<f32>;
@group(0) @binding(5) var<storage, read_write> past: array<f32>;
// What is to be written.
@group(0) @binding(6) var<storage, read_write> pulses: array<f32>;

const DIRECT: u32 = 0u;
const BUFFERED: u32 = 1u;

// The value without the reference on the fly, whose mean then follows it.
fn referred(value: f32, at: u32) -> f32 {
    let before = mean[at];
    if params.renews != 0u {
        past[at] = before;
    }
    mean[at] = rounded(params.rest * before) + rounded(params.beta * value);
    return value - past[at];
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) thread: vec3<u32>) {
    if thread.x >= params.count {
        return;
    }
    let at = params.first + thread.x * params.stride;
    var value = values[thread.x];
    if KIND == DIRECT {
        pulses[thread.x] = -value;
        return;
    }
    if REFERENCE {
        value = referred(value, at);
    }
    var digested: Digested;
    if KIND == BUFFERED {
        digested = buffered(buffer[at], rounded(params.scale * value));
    } else {
        digested = chopped(buffer[at], rounded(params.scale * signs[thread.x] * value));
    }
    buffer[at] = digested.h;
    pulses[thread.x] = -digested.pulses;
}
