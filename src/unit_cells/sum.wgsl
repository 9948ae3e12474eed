// Adds `gamma` times the weights of a member to those of its cell; twin of sum.rs.

struct Params {
    cells: u32,
    d_size: u32,
    x_size: u32,
    gamma: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
// Signs of the rows, then of the columns.
@group(0) @binding(1) var<storage, read> signs: array<f32>;
@group(0) @binding(2) var<storage, read> part: array<f32>;
@group(0) @binding(3) var<storage, read_write> sum: array<f32>;

const MAX_FLOAT: f32 = 3.40282347e+38;

@compute @workgroup_size(256)
fn main(
    @builtin(global_invocation_id) thread: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    for (var at = thread.x; at < params.cells; at += 256u * groups.x) {
        if SIGNED {
            let row = at / params.x_size;
            let sign = signs[row] * signs[params.d_size + at - row * params.x_size];
            sum[at] = params.gamma * sign * part[at];
        } else if FIRST {
            sum[at] = params.gamma * part[at];
        } else {
            // Rounded before it is added, as there: drivers fuse nothing through a minimum.
            sum[at] += min(params.gamma * part[at], MAX_FLOAT);
        }
    }
}
