// Twin of src/devices/linear.rs. Constants: noise, whether it is a factor on the whole step. Extra
// constants of a cell: slopes up and down, then the parts of the steps with additive noise.

fn mean_step(w: f32, up: bool, cell: Cell) -> f32 {
    let constant = select(-cell.down, cell.up, up);
    return fma(select(-cell.extra.y, cell.extra.x, up), w, constant);
}

fn step_noise(mean: f32, w: f32, up: bool, cell: Cell) -> f32 {
    let constant = select(cell.extra.w, cell.extra.z, up);
    return params.rule[0].x * select(constant, mean, params.rule[0].y != 0.0);
}

fn flow(w: f32, up: bool, u: f32, cell: Cell) -> f32 {
    let t = select(-cell.extra.y, cell.extra.x, up) * u;
    return fma(mean_step(w, up, cell) * u, ratio_of(expm1_of(t), t), w);
}
