// Operations on the weights other than pulses, one thread per cell; twin of
// src/devices/lifecycle.rs and src/devices/clip.rs. Plane 4 holds decay scales or diffusion rates,
// plane 5 the means after a reset.

@group(0) @binding(2) var<storage, read_write> state: array<f32>;
@group(0) @binding(3) var<storage, read_write> visible: array<f32>;

// Rows that are changed, those that are not 0; of all rows unless `CHOSEN` is set.
@group(0) @binding(4) var<storage, read> chosen: array<u32>;

const DIFFUSION: u32 = 13u;
const RESET: u32 = 14u;

const EXACT_DECAY: u32 = 0u;
const DECAY: u32 = 1u;
const DIFFUSE: u32 = 2u;
const RESET_COLUMNS: u32 = 3u;
const CLIP: u32 = 4u;
const SET: u32 = 5u;

// Losses below this are applied to the distance from `bias`, for a scale has too few digits.
const SMALL_LOSS: f32 = 1.0 / 1024.0;

// `w` after `calls` calls that change its distance to `bias` by `rate` each.
fn decayed(w: f32, bias: f32, calls: f32, rate: f32) -> f32 {
    if -rate * calls < SMALL_LOSS {
        return fma(w - bias, rate * calls, w);
    }
    return fma(w - bias, fma(calls, rate, 1.0), bias);
}

fn changed(w: f32, row: u32, column: u32, at: u32) -> f32 {
    switch OPERATION {
        case EXACT_DECAY: { return decayed(w, 0.0, params.value, -1.0); }
        case DECAY: { return decayed(w, plane(5u, at), params.value, plane(4u, at) - 1.0); }
        case DIFFUSE: { return fma(plane(4u, at), normal_of(column, row, DIFFUSION, 0u), w); }
        case RESET_COLUMNS: {
            let inside = (column + params.x_size - params.first_column) % params.x_size;
            if inside >= params.columns {
                return w;
            }
            // Draws have 24 bits: `u >= p` is a comparison of integers.
            let draw = uniform_word_of(column, row, RESET, 1u) >> 8u;
            if draw >= params.probability {
                return w;
            }
            return fma(params.value, normal_of(column, row, RESET, 0u), plane(5u, at));
        }
        case CLIP: { return clamp(w, -params.value, params.value); }
        default: { return w; }
    }
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
        if CHOSEN && chosen[row] == 0u {
            continue;
        }
        let at = row * params.x_size + column;
        var w = changed(state[at], row, column, at);
        if BOUNDED {
            w = clip_to(w, cell_at(at));
        }
        state[at] = w;
        if WRITES {
            visible[at] = fma(params.write_noise, normal_of(column, row, WRITE_NOISE, 0u), w);
        } else if OPERATION == SET && PERSISTENT {
            visible[at] = w;
        }
    }
}
