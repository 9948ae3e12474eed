// Buffers in units of pulses, in the order of operations of chopper.rs.

fn chopped(h: f32, value: f32) -> Digested {
    let omega = select(h, 0.0, params.no_buffer != 0u) + value;
    if abs(omega) < 1.0 {
        return Digested(omega, 0.0);
    }
    let pulses = clamp(trunc(omega), -params.most, params.most);
    var rest = left(omega, pulses);
    if params.limit > 0.0 {
        rest = clamp(rest, -params.limit, params.limit);
    }
    return Digested(rest, pulses);
}
