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

// Value at a node.
fn node_value(up: bool, at: u32) -> f32 {
    let nodes = u32(params.rule[0].y) + 1u;
    return planes[params.table + select(nodes, 0u, up) + at];
}

fn flow(start: f32, up: bool, u: f32, cell: Cell) -> f32 {
    let pieces = params.rule[0].y;
    if pieces <= 0.0 {
        return fma(mean_step(start, up, cell), u, start);
    }
    let size = select(-cell.down, cell.up, up);
    let length = (cell.max_bound - cell.min_bound) / pieces;
    var w = start;
    var left = u;
    var at = min(floor(clamp((w - cell.min_bound) * cell.extra.x, 0.0, pieces)), pieces - 1.0);
    // No node is met twice.
    for (var crossed = 0u; crossed <= u32(pieces); crossed++) {
        let low = node_value(up, u32(at));
        let high = node_value(up, u32(at) + 1u);
        let first = fma(at, length, cell.min_bound);
        let share = clamp((w - first) * cell.extra.x, 0.0, 1.0);
        let step = fma(high - low, share, low);
        let mean = size * step;
        let slope = size * (high - low) * cell.extra.x;
        let ahead = mean > 0.0;
        let there = select(low, high, ahead);
        let node = fma(at + select(0.0, 1.0, ahead), length, cell.min_bound);
        if there * step > 0.0 && mean != 0.0 {
            let growth = there / step - 1.0;
            let time = max((node - w) / mean * ratio_of(ln_1p_of(growth), growth), 0.0);
            if time < left {
                if at == select(0.0, pieces - 1.0, ahead) {
                    return select(cell.min_bound, cell.max_bound, ahead);
                }
                w = node;
                left -= time;
                at += select(-1.0, 1.0, ahead);
                continue;
            }
        }
        let t = slope * left;
        return fma(mean * left, ratio_of(expm1_of(t), t), w);
    }
    return w;
}
