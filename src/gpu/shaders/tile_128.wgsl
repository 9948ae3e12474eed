// 128 rows by 128 outputs per workgroup, eight by eight per thread: for large batches.

const DEPTH: u32 = 8u;
const STRIDE: u32 = 17u;
const HALF: u32 = 136u;

var<workgroup> v_part: array<vec4<f32>, 272>;
var<workgroup> w_part: array<vec4<f32>, 272>;

// Adds the products of line `k` of the parts.
fn add_line(
    k: u32,
    thread: vec3<u32>,
    sum_00: ptr<function, mat4x4<f32>>,
    sum_01: ptr<function, mat4x4<f32>>,
    sum_10: ptr<function, mat4x4<f32>>,
    sum_11: ptr<function, mat4x4<f32>>,
) {
    let at = k * STRIDE;
    let v_0 = v_part[at + thread.y];
    let v_1 = v_part[at + HALF + thread.y];
    let w_0 = w_part[at + thread.x];
    let w_1 = w_part[at + HALF + thread.x];
    add_outer(sum_00, v_0, w_0);
    add_outer(sum_01, v_0, w_1);
    add_outer(sum_10, v_1, w_0);
    add_outer(sum_11, v_1, w_1);
}

@compute @workgroup_size(16, 16)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) thread: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let part = part_of(group.z);
    if group.y * 128u >= part.slots {
        return;
    }
    let slot = group.y * 128u;
    let output = group.x * 128u;
    // Which line, and which of 2 x 16 groups of four, this thread fetches.
    let v_line = index % 8u;
    let v_lane = (index / 8u) % 16u;
    let v_half = index / 128u;
    let along = params.input_stride == 1u;
    let w_line = select((index / 16u) % 8u, v_line, along);
    let w_lane = select(index % 16u, v_lane, along);
    let v_slot = slot + 64u * v_half + v_lane;
    let w_output = output + 64u * v_half + w_lane;
    let v_at = v_half * HALF + v_line * STRIDE + v_lane;
    let w_at = v_half * HALF + w_line * STRIDE + w_lane;
    var sum_00 = mat4x4<f32>();
    var sum_01 = mat4x4<f32>();
    var sum_10 = mat4x4<f32>();
    var sum_11 = mat4x4<f32>();
    var v_next = voltages_at(part, v_slot, part.first + v_line);
    var w_next = weights_at(part, w_output, part.first + w_line);
    for (var first = part.first; first < part.end; first += DEPTH) {
        workgroupBarrier();
        v_part[v_at] = v_next;
        w_part[w_at] = w_next;
        workgroupBarrier();
        // Fetched while the sums below run.
        v_next = voltages_at(part, v_slot, first + DEPTH + v_line);
        w_next = weights_at(part, w_output, first + DEPTH + w_line);
        // Written out, for a loop would keep the sums out of registers.
        add_line(0u, thread, &sum_00, &sum_01, &sum_10, &sum_11);
        add_line(1u, thread, &sum_00, &sum_01, &sum_10, &sum_11);
        add_line(2u, thread, &sum_00, &sum_01, &sum_10, &sum_11);
        add_line(3u, thread, &sum_00, &sum_01, &sum_10, &sum_11);
        add_line(4u, thread, &sum_00, &sum_01, &sum_10, &sum_11);
        add_line(5u, thread, &sum_00, &sum_01, &sum_10, &sum_11);
        add_line(6u, thread, &sum_00, &sum_01, &sum_10, &sum_11);
        add_line(7u, thread, &sum_00, &sum_01, &sum_10, &sum_11);
    }
    let row = slot + thread.y;
    let column = output + thread.x;
    store(part, part.base, row, column, sum_00);
    store(part, part.base, row, column + 64u, sum_01);
    store(part, part.base, row + 64u, column, sum_10);
    store(part, part.base, row + 64u, column + 64u, sum_11);
}
