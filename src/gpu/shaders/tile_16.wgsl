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
    var v_next = voltage_at(part, slot + thread.y, part.first + thread.x);
    var w_next = weights_at(part, output + w_output, part.first + w_line);
    for (var first = part.first; first < part.end; first += DEPTH) {
        workgroupBarrier();
        v_part[thread.x * STRIDE + thread.y] = v_next;
        w_part[w_line * STRIDE + w_output] = w_next;
        workgroupBarrier();
        // Fetched while the sums below run.
        v_next = voltage_at(part, slot + thread.y, first + DEPTH + thread.x);
        w_next = weights_at(part, output + w_output, first + DEPTH + w_line);
        for (var k = 0u; k < DEPTH; k += 4u) {
            let v = k * STRIDE + thread.y;
            let w = k * STRIDE + thread.x;
            sum = fma(vec4<f32>(v_part[v]), w_part[w], sum);
            sum = fma(vec4<f32>(v_part[v + STRIDE]), w_part[w + STRIDE], sum);
            sum = fma(vec4<f32>(v_part[v + 2u * STRIDE]), w_part[w + 2u * STRIDE], sum);
            sum = fma(vec4<f32>(v_part[v + 3u * STRIDE]), w_part[w + 3u * STRIDE], sum);
        }
    }
    store_row(part, part.base, slot + thread.y, output + thread.x, sum);
}
