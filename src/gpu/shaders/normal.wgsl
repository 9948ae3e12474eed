// Twins of the transforms in src/rng.rs: uniform draws have the same bits, normal draws agree up to
// the rounding of fused operations, the square root and the conversions.

fn uniforms(word: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(word >> vec4<u32>(8u)) * (1.0 / 16777216.0);
}

fn ln_1p(m: f32) -> f32 {
    var p = -0.07632276;
    p = fma(p, m, 0.12760857);
    p = fma(p, m, -0.13160635);
    p = fma(p, m, 0.14201883);
    p = fma(p, m, -0.16623327);
    p = fma(p, m, 0.2000122);
    p = fma(p, m, -0.25000822);
    p = fma(p, m, 0.3333333);
    let square = m * m;
    return fma(p * m, square, fma(square, -0.5, m));
}

fn ln_unit(word: u32) -> f32 {
    let upper = word >= 0xC0000000u;
    let from_end = select(word, ~word, upper);
    let u = (f32(from_end) + 0.5) * (1.0 / 4294967296.0);
    let shifted = bitcast<u32>(u) - 0x3f3504f3u;
    let exponent = f32(bitcast<i32>(shifted) >> 23u);
    let mantissa = bitcast<f32>((shifted & 0x007fffffu) + 0x3f3504f3u) - 1.0;
    let m = select(mantissa, -u, upper);
    let e = select(exponent, 0.0, upper);
    return ln_1p(m) + e * 0.6931472;
}

// Sine and cosine of `word / 2^32` of a full turn.
fn sin_cos_turn(word: u32) -> vec2<f32> {
    let quadrant = (word + (1u << 29u)) >> 30u;
    let rest = bitcast<i32>(word - (quadrant << 30u));
    let x = (f32(rest) + 0.5) * (6.2831855 / 4294967296.0);
    let z = x * x;
    let s = fma(fma(z, -0.00019517, 0.00833218), z, -0.16666655);
    let sine = fma(s * z, x, x);
    let c = fma(fma(z, 2.4438452e-5, -1.3887368e-3), z, 4.1666647e-2);
    let cosine = fma(c * z, z, fma(z, -0.5, 1.0));
    let swap = (quadrant & 1u) == 1u;
    let a = select(sine, cosine, swap);
    let b = select(cosine, sine, swap);
    return vec2<f32>(
        bitcast<f32>(bitcast<u32>(a) ^ ((quadrant & 2u) << 30u)),
        bitcast<f32>(bitcast<u32>(b) ^ (((quadrant + 1u) & 2u) << 30u)),
    );
}

fn box_muller(radius: u32, angle: u32) -> vec2<f32> {
    let r = sqrt(-2.0 * ln_unit(radius));
    let turn = sin_cos_turn(angle);
    return vec2<f32>(r * turn.y, r * turn.x);
}

fn normals(word: vec4<u32>) -> vec4<f32> {
    let low = box_muller(word.x, word.y);
    let high = box_muller(word.z, word.w);
    return vec4<f32>(low, high);
}
