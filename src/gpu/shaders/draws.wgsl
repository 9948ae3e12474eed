// Words and normals of one row of one stream, for checks of the generator.

struct Params {
    key: Key,
    tag: u32,
    row: u32,
    block: u32,
    columns: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// Words, then normals.
@group(0) @binding(1) var<storage, read_write> out: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) thread: vec3<u32>) {
    let word = words(params.key, thread.x, params.row, params.tag, params.block);
    let normal = normals(word);
    for (var k = 0u; k < 4u; k++) {
        let column = first_column(thread.x) + 16u * k;
        if column < params.columns {
            out[column] = word[k];
            out[params.columns + column] = bitcast<u32>(normal[k]);
        }
    }
}
