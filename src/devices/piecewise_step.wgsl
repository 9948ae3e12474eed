// Twin of src/devices/piecewise_step.rs. Constants: noise, number of pieces. The values at the nodes
// stand behind the planes: up, then down. Extra constant of a cell: pieces per unit of weight.

fn prepare(hidden: Cell) -> Cell {
    var cell = hidden;
    let range = hidden.max_bound - hidden.min_bound;
    let divided = range > 0.0 && params.rule[0].y > 0.0;
    cell.extra.x = select(0.0, params.rule[0].y / range, divided);
    return cell;
}

fn mean_step(w: f32, up: bool, cell: Cell) -> f32 {
    let pieces = params.rule[0].y;
    let u = clamp((w - cell.min_bound) * cell.extra.x, 0.0, pieces);
    let at = min(floor(u), max(pieces - 1.0, 0.0));
    let nodes = u32(pieces) + 1u;
    let low_at = params.table + select(nodes, 0u, up) + u32(at);
    let low = planes[low_at];
    let high = planes[min(low_at + 1u, arrayLength(&planes) - 1u)];
    let value = fma(select(0.0, high - low, pieces > 0.0), u - at, low);
    return select(-cell.down, cell.up, up) * value;
}

fn step_noise(mean: f32, w: f32, up: bool, cell: Cell) -> f32 {
    return params.rule[0].x * mean;
}
