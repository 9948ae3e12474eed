// Twin of src/devices/pow_step.rs and src/devices/pow_step_reference.rs. Constants: noise. Extra
// constants of a cell: exponents up and down, then the inverse of its range.

fn prepare(hidden: Cell) -> Cell {
    var cell = hidden;
    let range = hidden.max_bound - hidden.min_bound;
    let moves = range > 0.0;
    cell.up = select(0.0, hidden.up, moves);
    cell.down = select(0.0, hidden.down, moves);
    cell.extra.z = select(0.0, 1.0 / range, moves);
    return cell;
}

fn mean_step(w: f32, up: bool, cell: Cell) -> f32 {
    let distance = select(w - cell.min_bound, cell.max_bound - w, up);
    let x = clamp(distance * cell.extra.z, 0.0, 1.0);
    return select(-cell.down, cell.up, up) * pow_unit(x, select(cell.extra.y, cell.extra.x, up));
}

fn step_noise(mean: f32, w: f32, up: bool, cell: Cell) -> f32 {
    return params.rule[0].x * mean;
}

fn flow(w: f32, up: bool, u: f32, cell: Cell) -> f32 {
    let distance = select(w - cell.min_bound, cell.max_bound - w, up);
    let r = clamp(distance * cell.extra.z, 0.0, 1.0);
    let power = select(cell.extra.y, cell.extra.x, up) - 1.0;
    let y = select(cell.down, cell.up, up) * u * cell.extra.z * min(pow_unit(r, power), 1e15);
    let t = power * y;
    var change = select(1e30, -1.0, y > 0.0);
    if t > -1.0 {
        change = expm1_of(-y * ratio_of(ln_1p_of(t), t));
    }
    return fma(select(1.0, -1.0, up) * (cell.max_bound - cell.min_bound), r * change, w);
}
