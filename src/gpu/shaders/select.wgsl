// Lists the rows whose output clipped in the pass before and takes their flags back. Draws go by
// the number of the row, so the order of the list does not matter.

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> state: array<u32>;

var<workgroup> count: atomic<u32>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) thread: u32) {
    if thread == 0u {
        atomicStore(&count, 0u);
    }
    workgroupBarrier();
    for (var row = thread; row < params.samples; row += 256u) {
        if state[flag_at(row)] != 0u {
            state[flag_at(row)] = 0u;
            state[list_at(atomicAdd(&count, 1u))] = row;
        }
    }
    workgroupBarrier();
    if thread == 0u {
        state[COUNT] = atomicLoad(&count);
        state[ANY] = 0u;
    }
}
