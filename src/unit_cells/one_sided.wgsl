// Which pairs of a column are reset and what is written to them; twin of `refreshed` in one_sided.rs.

struct Params {
    count: u32,
    // Thresholds of the larger and of the smaller device, relative to the largest weights.
    upper: f32,
    lower: f32,
    minus_max: f32,
    plus_max: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> minus: array<f32>;
@group(0) @binding(2) var<storage, read> plus: array<f32>;
@group(0) @binding(3) var<storage, read_write> chosen: array<u32>;
@group(0) @binding(4) var<storage, read_write> minus_write: array<f32>;
@group(0) @binding(5) var<storage, read_write> plus_write: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) thread: vec3<u32>) {
    let row = thread.x;
    if row >= params.count {
        return;
    }
    let b = divide(minus[row], params.minus_max);
    let a = divide(plus[row], params.plus_max);
    let difference = plus[row] - minus[row];
    let is_plus = plus[row] > minus[row];
    let saturated = select(
        a > params.lower && b > params.upper,
        a > params.upper && b > params.lower,
        is_plus,
    );
    chosen[row] = u32(saturated);
    minus_write[row] = select(0.0, -difference, saturated && !is_plus);
    plus_write[row] = select(0.0, difference, saturated && is_plus);
}
