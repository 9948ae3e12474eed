// Twins of src/devices/math.rs.

fn exp2_of(value: f32) -> f32 {
    let t = clamp(value, -126.0, 126.0);
    let whole = round(t);
    let x = (t - whole) * 0.6931472;
    var p = fma(x, 1.0 / 5040.0, 1.0 / 720.0);
    p = fma(p, x, 1.0 / 120.0);
    p = fma(p, x, 1.0 / 24.0);
    p = fma(p, x, 1.0 / 6.0);
    p = fma(p, x, 0.5);
    p = fma(p, x, 1.0);
    p = fma(p, x, 1.0);
    return p * bitcast<f32>(u32(i32(whole) + 127) << 23u);
}

fn exp_of(value: f32) -> f32 {
    return exp2_of(value * 1.442695);
}

fn log2_of(x: f32) -> f32 {
    let shifted = bitcast<u32>(x) - 0x3f3504f3u;
    let exponent = f32(bitcast<i32>(shifted) >> 23u);
    let mantissa = bitcast<f32>((shifted & 0x007fffffu) + 0x3f3504f3u) - 1.0;
    return fma(ln_1p(mantissa), 1.442695, exponent);
}

// `x^gamma` for `0 <= x <= 1`.
fn pow_unit(x: f32, gamma: f32) -> f32 {
    let smallest = 1.17549435e-38;
    let power = exp2_of(gamma * log2_of(max(x, smallest)));
    return select(power, 0.0, x <= smallest && gamma > 0.0);
}

fn expm1_of(value: f32) -> f32 {
    let t = clamp(value * 1.442695, -126.0, 126.0);
    let whole = round(t);
    let x = (t - whole) * 0.6931472;
    var p = fma(x, 1.0 / 5040.0, 1.0 / 720.0);
    p = fma(p, x, 1.0 / 120.0);
    p = fma(p, x, 1.0 / 24.0);
    p = fma(p, x, 1.0 / 6.0);
    p = fma(p, x, 0.5);
    p = fma(p, x, 1.0);
    let scale = bitcast<f32>(u32(i32(whole) + 127) << 23u);
    return fma(p * x, scale, scale - 1.0);
}

// `ln(1 + x)` for `x > -1`.
fn ln_1p_of(x: f32) -> f32 {
    let small = abs(x) < 0.25;
    let shifted = bitcast<u32>(1.0 + x) - 0x3f3504f3u;
    let exponent = select(f32(bitcast<i32>(shifted) >> 23u), 0.0, small);
    let mantissa = bitcast<f32>((shifted & 0x007fffffu) + 0x3f3504f3u) - 1.0;
    return fma(exponent, 0.6931472, ln_1p(select(mantissa, x, small)));
}

// `value / t` of a function that is `t` to first order.
fn ratio_of(value: f32, t: f32) -> f32 {
    let small = abs(t) < 1e-8;
    return select(value / select(t, 1.0, small), 1.0, small);
}
