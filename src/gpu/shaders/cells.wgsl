// What the kernels of updates and of the operations on weights share: parameters and the hidden
// parameters of the cells.

const CYCLE_TO_CYCLE: u32 = 10u;
const WRITE_NOISE: u32 = 19u;
const NO_PLANE: u32 = 0xffffffffu;

struct Params {
    key: Key,
    // Where the planes start in their buffer, and the value of those that are constant:
    // upper bound, lower bound, step up, step down, then what the kernel and the device need.
    starts: array<vec4<u32>, 2>,
    constants: array<vec4<f32>, 2>,
    rule: array<vec4<f32>, 4>,
    d_size: u32,
    x_size: u32,
    // Position of the weight of a reference device among the planes, or NO_PLANE.
    reference: u32,
    write_noise: f32,
    // Work of this dispatch: number of slices or samples.
    count: u32,
    lines: u32,
    is_d: u32,
    // Where the table of the device starts behind the planes.
    table: u32,
    // Factor of an exact step, loss or calls of a decay, deviation of a reset, limit of a clip.
    value: f32,
    first_column: u32,
    columns: u32,
    probability: u32,
    // The cells of this dispatch.
    window_column: u32,
    window_columns: u32,
    window_row: u32,
    window_rows: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

struct Cell {
    max_bound: f32,
    min_bound: f32,
    up: f32,
    down: f32,
    extra: vec4<f32>,
}

fn clip_to(w: f32, cell: Cell) -> f32 {
    return min(max(w, cell.min_bound), cell.max_bound);
}

// The draw of `column` alone, from the evaluation that serves it and three others.
fn normal_of(column: u32, row: u32, tag: u32, block: u32) -> f32 {
    let at = (column / 64u) * 16u + column % 16u;
    return normals(words(params.key, at, row, tag, block))[(column % 64u) / 16u];
}

fn uniform_word_of(column: u32, row: u32, tag: u32, block: u32) -> u32 {
    let at = (column / 64u) * 16u + column % 16u;
    return words(params.key, at, row, tag, block)[(column % 64u) / 16u];
}
