// Twin of the flow of rules without a closed form, src/devices/rule.rs.

fn flow(start: f32, up: bool, u: f32, cell: Cell) -> f32 {
    let h = u / 8.0;
    var w = start;
    for (var part = 0u; part < 8u; part++) {
        let first = mean_step(w, up, cell);
        let second = mean_step(clip_to(fma(0.5 * h, first, w), cell), up, cell);
        let third = mean_step(clip_to(fma(0.5 * h, second, w), cell), up, cell);
        let fourth = mean_step(clip_to(fma(h, third, w), cell), up, cell);
        w = clip_to(fma(h, fma(second + third, 2.0, first + fourth) / 6.0, w), cell);
    }
    return w;
}
