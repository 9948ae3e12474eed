// Twin of src/devices/constant_step.rs. Constants: noise.

fn prepare(cell: Cell) -> Cell {
    return cell;
}

fn mean_step(w: f32, up: bool, cell: Cell) -> f32 {
    return select(-cell.down, cell.up, up);
}

fn step_noise(mean: f32, w: f32, up: bool, cell: Cell) -> f32 {
    return params.rule[0].x * mean;
}

fn flow(w: f32, up: bool, u: f32, cell: Cell) -> f32 {
    return fma(mean_step(w, up, cell), u, w);
}
