// Hidden parameters of the cells, one plane after another.

@group(0) @binding(1) var<storage, read> planes: array<f32>;

fn plane(number: u32, at: u32) -> f32 {
    // A constant of the composition, so that the loads of a cell are under way together.
    if ((STORED >> number) & 1u) == 0u {
        return params.constants[number / 4u][number % 4u];
    }
    return planes[params.starts[number / 4u][number % 4u] + at];
}

// The hidden parameters of a cell; a reference device shifts the bounds by its weight.
fn cell_at(at: u32) -> Cell {
    var reference = 0.0;
    if params.reference != NO_PLANE {
        reference = plane(params.reference, at);
    }
    let extra = vec4<f32>(plane(4u, at), plane(5u, at), plane(6u, at), plane(7u, at));
    return Cell(
        plane(0u, at) - reference,
        plane(1u, at) - reference,
        plane(2u, at),
        plane(3u, at),
        extra,
    );
}
