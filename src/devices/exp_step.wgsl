// Twin of src/devices/exp_step.rs. Constants: noise, amplitudes, exponents, a, b, the parts of the
// noise that do not follow the step, whether there are some. Extra constants of a cell: `dz / dw`,
// then 1 for cells that can move.

fn prepare(hidden: Cell) -> Cell {
    var cell = hidden;
    let range = hidden.max_bound - hidden.min_bound;
    let moves = range > 0.0;
    cell.up = select(0.0, hidden.up, moves);
    cell.down = select(0.0, hidden.down, moves);
    cell.extra.x = select(0.0, 2.0 * params.rule[1].y / range, moves);
    cell.extra.y = select(0.0, 1.0, moves);
    return cell;
}

fn mean_step(w: f32, up: bool, cell: Cell) -> f32 {
    let z = fma(cell.extra.x, w, params.rule[1].z);
    let gamma = select(params.rule[1].x, params.rule[0].w, up);
    let amplitude = select(params.rule[0].z, params.rule[0].y, up);
    let rest = 1.0 - amplitude * exp_of(gamma * z);
    return select(-cell.down, cell.up, up) * max(rest, 0.0);
}

fn step_noise(mean: f32, w: f32, up: bool, cell: Cell) -> f32 {
    let full = cell.extra.y * (fma(params.rule[2].x, abs(w), params.rule[1].w) + abs(mean));
    return params.rule[0].x * select(mean, full, params.rule[2].y != 0.0);
}

fn flow(w: f32, up: bool, u: f32, cell: Cell) -> f32 {
    let z = fma(cell.extra.x, w, params.rule[1].z);
    let gamma = select(params.rule[1].x, params.rule[0].w, up);
    let lost = select(params.rule[0].z, params.rule[0].y, up) * exp_of(gamma * z);
    let rest = 1.0 - lost;
    if rest <= 0.0 {
        return w;
    }
    let rate = gamma * cell.extra.x;
    let size = select(-cell.down, cell.up, up);
    let t = -rate * size * u;
    if lost == 0.0 {
        return fma(size, u, w);
    }
    if abs(t) <= 1.0 {
        let change = expm1_of(t);
        let x = rest * change;
        if x <= -1.0 {
            return w + select(-1e30, 1e30, size > 0.0);
        }
        return w + size * u * rest * ratio_of(change, t) * ratio_of(ln_1p_of(x), x);
    }
    let power = exp_of(-abs(t));
    let sum = select(fma(rest, power, lost), fma(lost, power, rest), t > 0.0);
    if sum <= 0.0 {
        return w + select(-1e30, 1e30, size > 0.0);
    }
    return w - (log2_of(max(sum, 1.17549435e-38)) * 0.6931472 + max(t, 0.0)) / rate;
}
