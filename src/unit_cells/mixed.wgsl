// Takes whole steps out of a row of the accumulator; twin of `digest` in mixed.rs.

struct Params {
    count: u32,
    first: u32,
    step: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> chi: array<f32>;
// Numbers of steps.
@group(0) @binding(2) var<storage, read_write> taken: array<f32>;

const MAX_FLOAT: f32 = 3.40282347e+38;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) thread: vec3<u32>) {
    if thread.x >= params.count {
        return;
    }
    let at = params.first + thread.x;
    let steps = trunc(divide(chi[at], params.step));
    // Rounded before it is subtracted, as there: drivers fuse nothing through a minimum.
    chi[at] -= min(steps * params.step, MAX_FLOAT);
    taken[thread.x] = steps;
}
