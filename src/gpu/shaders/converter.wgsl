// Twin of src/mvm/converter.rs. Division is exact, for a level must not depend on how a driver
// rounds a quotient.

// The correctly rounded quotient: long division of the significands. Operands or results near the
// ends of the range of exponents take the driver's division.
fn divide(a: f32, b: f32) -> f32 {
    let bits_a = bitcast<u32>(a);
    let bits_b = bitcast<u32>(b);
    let exponent_a = (bits_a >> 23u) & 0xffu;
    let exponent_b = (bits_b >> 23u) & 0xffu;
    let exponent = i32(exponent_a) - i32(exponent_b) + 127;
    let ends = exponent_a == 0u || exponent_a == 255u || exponent_b == 0u || exponent_b == 255u;
    if ends || exponent < 2 || exponent > 253 {
        return a / b;
    }
    let divisor = (bits_b & 0x7fffffu) | 0x800000u;
    var rest = (bits_a & 0x7fffffu) | 0x800000u;
    // Floor of the quotient times 2^26, eight, eight, eight and two binary digits at a time.
    var quotient = rest / divisor;
    rest = rest - quotient * divisor;
    var digits = (rest << 8u) / divisor;
    rest = (rest << 8u) - digits * divisor;
    quotient = (quotient << 8u) | digits;
    digits = (rest << 8u) / divisor;
    rest = (rest << 8u) - digits * divisor;
    quotient = (quotient << 8u) | digits;
    digits = (rest << 8u) / divisor;
    rest = (rest << 8u) - digits * divisor;
    quotient = (quotient << 8u) | digits;
    digits = (rest << 2u) / divisor;
    rest = (rest << 2u) - digits * divisor;
    quotient = (quotient << 2u) | digits;
    let above_one = u32(quotient >= (1u << 26u));
    let dropped = 2u + above_one;
    let half = 1u << (dropped - 1u);
    let tail = quotient & ((1u << dropped) - 1u);
    var significand = quotient >> dropped;
    let tie = tail == half && (rest != 0u || (significand & 1u) == 1u);
    significand += u32(tail > half || tie);
    let scale = u32(exponent) - 1u + above_one;
    let sign = (bits_a ^ bits_b) & 0x80000000u;
    return bitcast<f32>(sign | ((scale << 23u) + significand - 0x800000u));
}

fn clip(value: f32, bound: f32) -> f32 {
    let lower = select(value, bound, value > bound);
    return select(lower, -bound, lower < -bound);
}

// The nearest multiple of `step`, half-way points to the even one; with a `dither` other than 1/2
// rounding is stochastic.
fn quantise(value: f32, step: f32, dither: f32) -> f32 {
    return round(divide(value, step) + (dither - 0.5)) * step;
}
