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
    var sum = mat4x4<f32>();
    var current = mat4x4<f32>();
    var placed = mat4x4<f32>();
    var power = mat4x4<f32>();
    for (var first = part.first; first < part.end; first += DEPTH) {
        let v_next = voltages_at(part, slot + thread.y, first + thread.x);
        let w_next = weights_at(part, output + w_output, first + w_line);
        workgroupBarrier();
        v_part[thread.x * STRIDE + thread.y] = v_next;
        w_part[w_line * STRIDE + w_output] = w_next;
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            let v = v_part[k * STRIDE + thread.y];
            let w = w_part[k * STRIDE + thread.x];
            add_outer(&sum, v, w);
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
    store(part, part.base, slot + thread.y, output + thread.x, sum);
    if WIRES {
        store(part, part.base + quantity, slot + thread.y, output + thread.x, current);
        store(part, part.base + 2u * quantity, slot + thread.y, output + thread.x, placed);
    }
    if POWER {
        let at = part.base + select(1u, 3u, WIRES) * quantity;
        store(part, at, slot + thread.y, output + thread.x, power);
    }
}
