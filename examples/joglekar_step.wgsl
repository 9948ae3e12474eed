// Twin of the rule in `extending.rs`. Constants: noise. Extra constants of a cell: the exponent,
// then twice the inverse of its range.

fn prepare(hidden: Cell) -> Cell {
    var cell = hidden;
    let range = hidden.max_bound - hidden.min_bound;
    cell.extra.y = select(0.0, 2.0 / range, range > 0.0);
    return cell;
}

fn mean_step(w: f32, up: bool, cell: Cell) -> f32 {
    let size = select(-cell.down, cell.up, up);
    let position = (w - cell.min_bound) * cell.extra.y - 1.0;
    return size * (1.0 - pow(abs(position), 2.0 * cell.extra.x));
}

fn step_noise(mean: f32, w: f32, up: bool, cell: Cell) -> f32 {
    return params.rule[0].x * mean;
}
