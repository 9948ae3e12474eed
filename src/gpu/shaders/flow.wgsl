// Infinitely fine steps, one thread per cell; twin of src/pulse/flow.rs. The response of the device stands
// before this file.

@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read> d: array<f32>;
@group(0) @binding(4) var<storage, read_write> state: array<f32>;
@group(0) @binding(5) var<storage, read_write> visible: array<f32>;
// Whether there is anything to add, 0 or 1; always unless `CONDITIONAL` is set.
@group(0) @binding(6) var<storage, read> wanted: array<u32>;

const LONGEST: f32 = 1e18;
// Which changes a device takes, and as what.
const ONLY_UP: u32 = 1u;
const ONLY_DOWN_AS_UP: u32 = 2u;

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

fn within(value: f32) -> f32 {
    return clamp(value, -LONGEST, LONGEST);
}

fn update(row: u32, column: u32) {
    if CONDITIONAL && wanted[0] == 0u {
        return;
    }
    let at = row * params.x_size + column;
    let cell = prepare(cell_at(at));
    var w = state[at];
    var moved = false;
    for (var sample = 0u; sample < params.count; sample++) {
        let factor = within(params.value * d[sample * params.d_size + row]);
        // `value` is the negative rate.
        let change = within(factor * x[sample * params.x_size + column]);
        let rises = change > 0.0;
        let takes = TURN == 0u || (TURN == ONLY_UP) == rises;
        let u = abs(change);
        if u > 0.0 && takes {
            let up = TURN != 0u || rises;
            if EULER {
                w = clip_to(fma(mean_step(w, up, cell), u, w), cell);
            } else {
                w = clip_to(flow(w, up, u, cell), cell);
            }
            moved = true;
        }
    }
    state[at] = w;
    if WRITES && moved {
        visible[at] = fma(params.write_noise, normal_of(column, row, WRITE_NOISE, 0u), w);
    }
}
