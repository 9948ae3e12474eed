// Twin of src/devices/soft_bounds_reference.rs: linear with the reference subtracted.

fn prepare(hidden: Cell) -> Cell {
    var cell = hidden;
    let reference = hidden.extra.x;
    let upper = hidden.max_bound + reference;
    let lower = hidden.min_bound + reference;
    let slope_up = select(0.0, -hidden.up / upper, upper > 0.0);
    let slope_down = select(0.0, -hidden.down / lower, lower < 0.0);
    cell.up = fma(slope_up, reference, hidden.up);
    cell.down = fma(slope_down, reference, hidden.down);
    cell.extra = vec4<f32>(slope_up, slope_down, hidden.up, hidden.down);
    return cell;
}
