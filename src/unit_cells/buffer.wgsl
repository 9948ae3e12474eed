// What a digital buffer makes of a transferred value, in the order of operations of buffer.rs: a value
// next to a threshold must cross it on both sides.

const MAX_FLOAT: f32 = 3.40282347e+38;

// A product that is rounded before it is added: drivers fuse nothing through a minimum.
fn rounded(product: f32) -> f32 {
    return min(product, MAX_FLOAT);
}

// What is left of `omega` after pulses worth `written`.
fn left(omega: f32, written: f32) -> f32 {
    if params.forgets != 0u {
        return params.momentum * omega;
    }
    return omega - rounded(params.taken * written);
}

// What the buffer becomes, and the pulses.
struct Digested {
    h: f32,
    pulses: f32,
}

fn buffered(h: f32, value: f32) -> Digested {
    let omega = h + value;
    let pulses = clamp(trunc(divide(omega, params.threshold)), -params.most, params.most);
    return Digested(select(left(omega, pulses * params.threshold), omega, pulses == 0.0), pulses);
}
