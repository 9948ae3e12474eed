// 16 rows by 64 outputs per workgroup, one row and four outputs per thread: for small batches.

const DEPTH: u32 = 16u;
const STRIDE: u32 = 17u;

var<workgroup> v_part: array<f32, 272>;
var<workgroup> w_part: array<vec4<f32>, 272>;

@compute @workgroup_size(16, 16)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) thread: vec3<u32>,
) {
    let part = part_of(group.z);
    if group.y * 16u >= part.slots {
        return;
    }
    let slot = group.y * 16u;
    let output = group.x * 64u;
    // Neighbouring threads read neighbouring weights in either direction.
    let w_line = select(thread.y, thread.x, params.input_stride == 1u);
    let w_output = select(thread.x, thread.y, params.input_stride == 1u);
    var sum = vec4<f32>(0.0);
    for (var first = part.first; first < part.end; first += DEPTH) {
        let v = voltage_at(part, slot + thread.y, first + thread.x);
        let w = weights_at(part, output + w_output, first + w_line);
        workgroupBarrier();
        v_part[thread.x * STRIDE + thread.y] = v;
        w_part[w_line * STRIDE + w_output] = w;
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            let at = k * STRIDE;
            sum = fma(vec4<f32>(v_part[at + thread.y]), w_part[at + thread.x], sum);
        }
    }
    store_row(part, part.base, slot + thread.y, output + thread.x, sum);
}
