// 128 rows by 128 outputs per workgroup, eight by eight per thread: for large batches.

const DEPTH: u32 = 8u;
const STRIDE: u32 = 17u;
const HALF: u32 = 136u;

var<workgroup> v_part: array<vec4<f32>, 272>;
var<workgroup> w_part: array<vec4<f32>, 272>;

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
    // Sums of eight rows, 64 outputs apart; variables of their own, so that all stay in registers.
    var low_0 = vec4<f32>(0.0);
    var high_0 = vec4<f32>(0.0);
    var low_1 = vec4<f32>(0.0);
    var high_1 = vec4<f32>(0.0);
    var low_2 = vec4<f32>(0.0);
    var high_2 = vec4<f32>(0.0);
    var low_3 = vec4<f32>(0.0);
    var high_3 = vec4<f32>(0.0);
    var low_4 = vec4<f32>(0.0);
    var high_4 = vec4<f32>(0.0);
    var low_5 = vec4<f32>(0.0);
    var high_5 = vec4<f32>(0.0);
    var low_6 = vec4<f32>(0.0);
    var high_6 = vec4<f32>(0.0);
    var low_7 = vec4<f32>(0.0);
    var high_7 = vec4<f32>(0.0);
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
        for (var k = 0u; k < DEPTH; k++) {
            let at = k * STRIDE;
            let v_0 = v_part[at + thread.y];
            let v_1 = v_part[at + HALF + thread.y];
            let w_0 = w_part[at + thread.x];
            let w_1 = w_part[at + HALF + thread.x];
            low_0 = fma(vec4<f32>(v_0.x), w_0, low_0);
            high_0 = fma(vec4<f32>(v_0.x), w_1, high_0);
            low_1 = fma(vec4<f32>(v_0.y), w_0, low_1);
            high_1 = fma(vec4<f32>(v_0.y), w_1, high_1);
            low_2 = fma(vec4<f32>(v_0.z), w_0, low_2);
            high_2 = fma(vec4<f32>(v_0.z), w_1, high_2);
            low_3 = fma(vec4<f32>(v_0.w), w_0, low_3);
            high_3 = fma(vec4<f32>(v_0.w), w_1, high_3);
            low_4 = fma(vec4<f32>(v_1.x), w_0, low_4);
            high_4 = fma(vec4<f32>(v_1.x), w_1, high_4);
            low_5 = fma(vec4<f32>(v_1.y), w_0, low_5);
            high_5 = fma(vec4<f32>(v_1.y), w_1, high_5);
            low_6 = fma(vec4<f32>(v_1.z), w_0, low_6);
            high_6 = fma(vec4<f32>(v_1.z), w_1, high_6);
            low_7 = fma(vec4<f32>(v_1.w), w_0, low_7);
            high_7 = fma(vec4<f32>(v_1.w), w_1, high_7);
        }
    }
    let row = slot + thread.y;
    let column = output + thread.x;
    store_row(part, part.base, row, column, low_0);
    store_row(part, part.base, row, column + 64u, high_0);
    store_row(part, part.base, row + 16u, column, low_1);
    store_row(part, part.base, row + 16u, column + 64u, high_1);
    store_row(part, part.base, row + 32u, column, low_2);
    store_row(part, part.base, row + 32u, column + 64u, high_2);
    store_row(part, part.base, row + 48u, column, low_3);
    store_row(part, part.base, row + 48u, column + 64u, high_3);
    store_row(part, part.base, row + 64u, column, low_4);
    store_row(part, part.base, row + 64u, column + 64u, high_4);
    store_row(part, part.base, row + 80u, column, low_5);
    store_row(part, part.base, row + 80u, column + 64u, high_5);
    store_row(part, part.base, row + 96u, column, low_6);
    store_row(part, part.base, row + 96u, column + 64u, high_6);
    store_row(part, part.base, row + 112u, column, low_7);
    store_row(part, part.base, row + 112u, column + 64u, high_7);
}
