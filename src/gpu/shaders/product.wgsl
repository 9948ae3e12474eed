// Operands of the tiled product: line voltages and weights.

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> state: array<u32>;
@group(0) @binding(2) var<storage, read> prepared: array<f32>;
// Weights `[d_size, x_size]` and the factors on them that negative inputs see.
@group(0) @binding(3) var<storage, read> weights: array<f32>;
@group(0) @binding(4) var<storage, read> asymmetry: array<f32>;
@group(0) @binding(5) var<storage, read_write> sums: array<f32>;

// The part of the work that this workgroup does.
struct Part {
    slots: u32,
    negative: bool,
    first: u32,
    end: u32,
    // Where its sums start.
    base: u32,
}

fn slots() -> u32 {
    if params.pass_number > 0u {
        return state[COUNT];
    }
    return params.samples;
}

fn part_of(z: u32) -> Part {
    let first = (z % params.splits) * params.split_len;
    let end = min(first + params.split_len, params.n_in);
    let base = z * params.capacity * params.n_out;
    return Part(slots(), z >= params.splits, first, end, base);
}

// Beyond the last line there are zeros; rows beyond the last one are not stored.
fn voltage_at(part: Part, slot: u32, line: u32) -> f32 {
    let v = prepared[slot * params.stride + line];
    if SIGNED {
        return select(max(v, 0.0), min(v, 0.0), part.negative);
    }
    return v;
}

// Beyond the ends stands any weight: it meets a voltage of zero or is not stored. No branches, so
// that the loads of a thread are under way together.
fn weight_at(part: Part, output: u32, line: u32) -> f32 {
    let row = min(output, params.n_out - 1u) * params.output_stride;
    let at = row + min(line, params.n_in - 1u) * params.input_stride;
    if ASYMMETRY {
        return weights[at] * select(1.0, asymmetry[at], part.negative);
    }
    return weights[at];
}

// Four lines of `first`, `first + 16` and so on.
fn voltages_at(part: Part, first: u32, line: u32) -> vec4<f32> {
    return vec4<f32>(
        voltage_at(part, first, line),
        voltage_at(part, first + 16u, line),
        voltage_at(part, first + 32u, line),
        voltage_at(part, first + 48u, line),
    );
}

fn weights_at(part: Part, first: u32, line: u32) -> vec4<f32> {
    return vec4<f32>(
        weight_at(part, first, line),
        weight_at(part, first + 16u, line),
        weight_at(part, first + 32u, line),
        weight_at(part, first + 48u, line),
    );
}

// Adds the outer product of `v` and `w`.
fn add_outer(to: ptr<function, mat4x4<f32>>, v: vec4<f32>, w: vec4<f32>) {
    (*to)[0] = fma(vec4<f32>(v.x), w, (*to)[0]);
    (*to)[1] = fma(vec4<f32>(v.y), w, (*to)[1]);
    (*to)[2] = fma(vec4<f32>(v.z), w, (*to)[2]);
    (*to)[3] = fma(vec4<f32>(v.w), w, (*to)[3]);
}

fn store_row(part: Part, base: u32, slot: u32, output: u32, values: vec4<f32>) {
    if slot >= part.slots {
        return;
    }
    let at = base + slot * params.n_out;
    for (var k = 0u; k < 4u; k++) {
        if output + 16u * k < params.n_out {
            sums[at + output + 16u * k] = values[k];
        }
    }
}

fn store(part: Part, base: u32, slot: u32, output: u32, values: mat4x4<f32>) {
    store_row(part, base, slot, output, values[0]);
    store_row(part, base, slot + 16u, output, values[1]);
    store_row(part, base, slot + 32u, output, values[2]);
    store_row(part, base, slot + 48u, output, values[3]);
}
