// Stochastic pulse trains, one thread per line and slice; twin of src/pulse/trains.rs. A bit is
// `U < p` for a uniform U: whole for short trains, else its binary digits come until every
// comparison is decided.

const PULSE_X: u32 = 8u;
const PULSE_D: u32 = 9u;
// Slots up to which each of them compares a word of its own.
const FEW: u32 = 4u;
// Block of the evaluations that four samples with a single slot share.
const SHARED: u32 = 0xffffffu;

// Per slice: sample here, sample in the batch, position among the slices of its sample, slots; the
// last with bit 31 where the sample has no more.
@group(0) @binding(1) var<storage, read> slices: array<vec4<u32>>;
// Per sample and line: probability in units of 2^-32; the sign in bit 31 and certainty in bit 0.
@group(0) @binding(2) var<storage, read> thresholds: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read_write> trains: array<u32>;

@compute @workgroup_size(64)
fn main(
    @builtin(global_invocation_id) thread: vec3<u32>,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let line = thread.x;
    if line >= params.lines {
        return;
    }
    let slice = slices[group.y];
    let threshold = thresholds[slice.x * params.lines + line];
    let slots = slice.w & 0x7fffffffu;
    let all = (1u << slots) - 1u;
    var digits = threshold.x;
    var bits = select(0u, all, (threshold.y & 1u) != 0u);
    var open = select(all, 0u, digits == 0u);
    let tag = select(PULSE_X, PULSE_D, params.is_d != 0u);
    if slice.w == 0x80000001u {
        let word = words(params.key, line, slice.y / 4u, tag, SHARED);
        bits |= select(0u, 1u, word[slice.y % 4u] < threshold.x);
        open = 0u;
    } else if slots <= FEW {
        let word = words(params.key, line, slice.y, tag, slice.z * 8u);
        for (var k = 0u; k < slots; k++) {
            bits |= select(0u, 1u << k, word[k] < threshold.x);
        }
        open = 0u;
    }
    for (var quad = 0u; quad < 8u && open != 0u; quad++) {
        let word = words(params.key, line, slice.y, tag, slice.z * 8u + quad);
        for (var k = 0u; k < 4u; k++) {
            let digit = select(0u, 0xffffffffu, digits >= 0x80000000u);
            bits |= open & digit & ~word[k];
            open &= ~(word[k] ^ digit);
            digits <<= 1u;
        }
    }
    trains[group.y * params.lines + line] = bits | (threshold.y & 0x80000000u);
}
