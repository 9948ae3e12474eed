// 64 rows by 64 outputs per workgroup, four by four per thread: rows `y + 16 i` and outputs
// `x + 16 k` of thread `(x, y)`. The only tile with the sums that wires and weight noise need.

const DEPTH: u32 = 16u;
const STRIDE: u32 = 17u;

var<workgroup> v_part: array<vec4<f32>, 272>;
var<workgroup> w_part: array<vec4<f32>, 272>;

// Weight of an input in the voltage drop; twin of src/mvm/array.rs.
fn placement(line: u32) -> f32 {
    let rest = 1.0 - f32(line) / f32(params.n_in);
    return 1.0 - rest * rest;
}

fn density(w: vec4<f32>) -> vec4<f32> {
    if RELATIVE {
        return w * w;
    }
    return abs(w);
}

@compute @workgroup_size(16, 16)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) thread: vec3<u32>,
) {
    let part = part_of(group.z);
    if group.y * 64u >= part.slots {
        return;
    }
    let slot = group.y * 64u;
    let output = group.x * 64u;
    let w_line = select(thread.y, thread.x, params.input_stride == 1u);
    let w_output = select(thread.x, thread.y, params.input_stride == 1u);
    // Variables of their own, so that all stay in registers.
    var sum_0 = vec4<f32>(0.0);
    var sum_1 = vec4<f32>(0.0);
    var sum_2 = vec4<f32>(0.0);
    var sum_3 = vec4<f32>(0.0);
    var current = mat4x4<f32>();
    var placed = mat4x4<f32>();
    var power = mat4x4<f32>();
    var v_next = voltages_at(part, slot + thread.y, part.first + thread.x);
    var w_next = weights_at(part, output + w_output, part.first + w_line);
    for (var first = part.first; first < part.end; first += DEPTH) {
        workgroupBarrier();
        v_part[thread.x * STRIDE + thread.y] = v_next;
        w_part[w_line * STRIDE + w_output] = w_next;
        workgroupBarrier();
        // Fetched while the sums below run.
        v_next = voltages_at(part, slot + thread.y, first + DEPTH + thread.x);
        w_next = weights_at(part, output + w_output, first + DEPTH + w_line);
        for (var k = 0u; k < DEPTH; k++) {
            let v = v_part[k * STRIDE + thread.y];
            let w = w_part[k * STRIDE + thread.x];
            sum_0 = fma(vec4<f32>(v.x), w, sum_0);
            sum_1 = fma(vec4<f32>(v.y), w, sum_1);
            sum_2 = fma(vec4<f32>(v.z), w, sum_2);
            sum_3 = fma(vec4<f32>(v.w), w, sum_3);
            if WIRES {
                add_outer(&current, abs(v), abs(w));
                add_outer(&placed, v * placement(first + k), w);
            }
            if POWER {
                add_outer(&power, v * v, density(w));
            }
        }
    }
    // One quantity after another, all reads and parts of each.
    let quantity = params.signs * params.splits * params.capacity * params.n_out;
    let row = slot + thread.y;
    let column = output + thread.x;
    store_row(part, part.base, row, column, sum_0);
    store_row(part, part.base, row + 16u, column, sum_1);
    store_row(part, part.base, row + 32u, column, sum_2);
    store_row(part, part.base, row + 48u, column, sum_3);
    if WIRES {
        store(part, part.base + quantity, row, column, current);
        store(part, part.base + 2u * quantity, row, column, placed);
    }
    if POWER {
        let at = part.base + select(1u, 3u, WIRES) * quantity;
        store(part, at, row, column, power);
    }
}
