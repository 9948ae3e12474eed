// Twin of the generator in src/rng.rs: Threefry4x32 with 12 rounds, the same words for the same
// key, stream, row, column and block.

const PARITY: u32 = 0x1BD11BDAu;
const STREAM_BITS: u32 = 8u;

struct Key {
    // Seed, lower half first; upper half of the call; device in the upper 8 bits of the part, event
    // in the others.
    words: vec4<u32>,
    call_low: u32,
}

fn rotate(x: u32, by: u32) -> u32 {
    return (x << by) | (x >> (32u - by));
}

// Rounds with an even number mix word 1 into 0 and 3 into 2, the others 3 into 0 and 1 into 2.
fn even_round(x: vec4<u32>, first: u32, second: u32) -> vec4<u32> {
    let a = x.x + x.y;
    let b = x.z + x.w;
    return vec4<u32>(a, rotate(x.y, first) ^ a, b, rotate(x.w, second) ^ b);
}

fn odd_round(x: vec4<u32>, first: u32, second: u32) -> vec4<u32> {
    let a = x.x + x.w;
    let b = x.z + x.y;
    return vec4<u32>(a, rotate(x.y, second) ^ b, b, rotate(x.w, first) ^ a);
}

fn first_rounds(x: vec4<u32>) -> vec4<u32> {
    return odd_round(even_round(odd_round(even_round(x, 10u, 26u), 11u, 21u), 13u, 27u), 23u, 5u);
}

fn second_rounds(x: vec4<u32>) -> vec4<u32> {
    return odd_round(even_round(odd_round(even_round(x, 6u, 20u), 17u, 11u), 25u, 10u), 18u, 20u);
}

// The four words of evaluation `column` in `row` and `block` of stream `tag`.
fn words(key: Key, column: u32, row: u32, tag: u32, block: u32) -> vec4<u32> {
    let k = key.words;
    let p = PARITY ^ k.x ^ k.y ^ k.z ^ k.w;
    var x = vec4<u32>(column, row, tag | (block << STREAM_BITS), key.call_low) + k;
    x = first_rounds(x) + vec4<u32>(k.y, k.z, k.w, p + 1u);
    x = second_rounds(x) + vec4<u32>(k.z, k.w, p, k.x + 2u);
    return first_rounds(x) + vec4<u32>(k.w, p, k.x, k.y + 3u);
}

// First column of evaluation `at`; its word `k` serves that column plus `16 k`.
fn first_column(at: u32) -> u32 {
    return (at / 16u) * 64u + at % 16u;
}
