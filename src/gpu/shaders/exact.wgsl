// Exact rank-one steps, one thread per cell, within the bounds of the device if it has some; twin of
// src/pulse/gradient.rs.

@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read> d: array<f32>;
@group(0) @binding(4) var<storage, read_write> state: array<f32>;
@group(0) @binding(5) var<storage, read_write> visible: array<f32>;
// Whether there is anything to add, 0 or 1; always unless `CONDITIONAL` is set.
@group(0) @binding(6) var<storage, read> wanted: array<u32>;

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

// The nearest finite number.
fn within_f32(value: f32) -> f32 {
    return clamp(value, -3.40282347e+38, 3.40282347e+38);
}

fn update(row: u32, column: u32) {
    if CONDITIONAL && wanted[0] == 0u {
        return;
    }
    let at = row * params.x_size + column;
    var cell: Cell;
    if BOUNDED {
        cell = cell_at(at);
    }
    var w = state[at];
    for (var sample = 0u; sample < params.count; sample++) {
        let factor = within_f32(params.value * d[sample * params.d_size + row]);
        w = within_f32(fma(factor, x[sample * params.x_size + column], w));
        if BOUNDED {
            w = clip_to(w, cell);
        }
    }
    state[at] = w;
    if WRITES {
        visible[at] = fma(params.write_noise, normal_of(column, row, WRITE_NOISE, 0u), w);
    }
}
