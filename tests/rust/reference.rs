//! One pulse after another in double precision, by the formulas of the devices and with a generator
//! of its own: what the kernels are compared with.

use mho_core::devices::{DeviceConfig, Plane};
use rayon::prelude::*;
use serde_json::Value;

/// How the mean step depends on the weight. Pairs are for pulses up and down.
enum Law {
    /// `size + slope (w + reference)`, towards the bound for negative slopes.
    Linear { slopes: [f64; 2], reference: f64, multiplicative: bool },
    /// `size max(1 - amplitude exp(gamma z), 0)` with `z = scale w + b`.
    Exponential {
        amplitudes: [f64; 2],
        gammas: [f64; 2],
        scale: f64,
        b: f64,
        /// What the noise has beside the step, and per unit of weight.
        noise: [f64; 2],
    },
    /// `size x^gamma` at the relative distance `x` to the bound.
    Power { gammas: [f64; 2] },
    /// `size` times a value between those at the nodes.
    Piecewise { nodes: [Vec<f64>; 2] },
}

/// A cell of a device whose cells are equal.
pub struct Reference {
    law: Law,
    sizes: [f64; 2],
    bounds: [f64; 2],
    std: f64,
}

impl Reference {
    /// The cells of `config`, whose hidden parameters are `planes`, without that of the write noise.
    pub fn new(config: &DeviceConfig, planes: &[(&'static str, Plane)]) -> Self {
        let plane = |wanted: &str| {
            let found = planes.iter().find(|(name, _)| *name == wanted);
            found.map(|(_, plane)| f64::from(plane.as_ref().at(0)))
        };
        let value = serde_json::to_value(config).unwrap();
        let field = |name: &str| &value["params"][name];
        let number = |name: &str| field(name).as_f64().unwrap();
        let list = |name: &str| -> Vec<f64> {
            field(name).as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
        };
        let reference = plane("reference").unwrap_or(0.0);
        let sizes = ["dwmin_up", "dwmin_down"].map(|name| plane(name).unwrap());
        let [upper, lower] = ["max_bound", "min_bound"].map(|name| plane(name).unwrap());
        let law = match value["type"].as_str().unwrap() {
            "ConstantStep" => {
                Law::Linear { slopes: [0.0; 2], reference: 0.0, multiplicative: true }
            }
            "LinearStep" | "SoftBounds" => Law::Linear {
                slopes: ["slope_up", "slope_down"].map(|name| plane(name).unwrap()),
                reference: 0.0,
                multiplicative: field("mult_noise").as_bool().unwrap(),
            },
            "SoftBoundsReference" => Law::Linear {
                slopes: [-sizes[0] / upper, -sizes[1] / lower],
                reference,
                multiplicative: field("mult_noise").as_bool().unwrap(),
            },
            "ExpStep" => Law::Exponential {
                amplitudes: ["A_up", "A_down"].map(number),
                gammas: [number("gamma_up"), -number("gamma_down")],
                scale: 2.0 * number("a") / (upper - lower),
                b: number("b"),
                noise: ["dw_min_std_add", "dw_min_std_slope"].map(number),
            },
            "PowStep" | "PowStepReference" => {
                Law::Power { gammas: ["gamma_up", "gamma_down"].map(|name| plane(name).unwrap()) }
            }
            "PiecewiseStep" => {
                Law::Piecewise { nodes: ["piecewise_up", "piecewise_down"].map(list) }
            }
            other => panic!("no reference for {other}"),
        };
        let std = value["params"]["pulsed"]["dw_min_std"].as_f64().unwrap();
        // The kernels compute in f32: bounds of theirs are what weights end at.
        let bounds = [lower, upper].map(|bound| f64::from(bound as f32 - reference as f32));
        Self { law, sizes, bounds, std }
    }

    /// Lower and upper bound.
    pub fn bounds(&self) -> [f64; 2] {
        self.bounds
    }

    /// Mean of a step, and what the noise is in units of `dw_min_std`.
    fn change(&self, w: f64, up: bool) -> [f64; 2] {
        let [lower, upper] = self.bounds;
        let which = usize::from(!up);
        let size = if up { self.sizes[0] } else { -self.sizes[1] };
        match &self.law {
            Law::Linear { slopes, reference, multiplicative } => {
                let sign = if up { 1.0 } else { -1.0 };
                let mean = (sign * slopes[which]).mul_add(w + reference, size);
                [mean, if *multiplicative { mean } else { size }]
            }
            Law::Exponential { amplitudes, gammas, scale, b, noise } => {
                let z = scale * w + b;
                let mean = size * (1.0 - amplitudes[which] * (gammas[which] * z).exp()).max(0.0);
                [mean, mean.abs() + noise[0] + noise[1] * w.abs()]
            }
            Law::Power { gammas } => {
                let distance = if up { upper - w } else { w - lower };
                let x = (distance / (upper - lower)).clamp(0.0, 1.0);
                let mean = size * x.powf(gammas[which]);
                [mean, mean]
            }
            Law::Piecewise { nodes } => {
                let nodes = &nodes[which];
                let pieces = nodes.len() - 1;
                let u = ((w - lower) / (upper - lower) * pieces as f64).clamp(0.0, pieces as f64);
                let at = (u as usize).min(pieces.max(1) - 1);
                let next = nodes[(at + 1).min(pieces)];
                let mean = size * (nodes[at] + (next - nodes[at]) * (u - at as f64));
                [mean, mean]
            }
        }
    }

    fn step(&self, w: f64, up: bool, xi: f64) -> f64 {
        let [mean, noise] = self.change(w, up);
        (w + mean + self.std * noise * xi).clamp(self.bounds[0], self.bounds[1])
    }

    /// Weights of `cells` cells after slots with these directions, each of which has a pulse with
    /// `probability`.
    pub fn simulate(
        &self,
        start: f64,
        directions: &[bool],
        probability: f64,
        cells: usize,
        seed: u64,
    ) -> Vec<f64> {
        let run = |cell: usize| {
            let mut draws = Draws::new(seed << 32 ^ cell as u64);
            directions.iter().fold(start, |w, up| {
                if probability < 1.0 && draws.uniform() >= probability {
                    return w;
                }
                self.step(w, *up, draws.normal())
            })
        };
        (0..cells).into_par_iter().map(run).collect()
    }
}

/// SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014),
/// and normals by the polar coordinates of Box and Muller.
struct Draws {
    state: u64,
    spare: Option<f64>,
}

impl Draws {
    /// The stream number `seed`; streams start far apart.
    fn new(seed: u64) -> Self {
        let mut draws = Self { state: seed, spare: None };
        draws.state = draws.word();
        draws
    }

    fn word(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn uniform(&mut self) -> f64 {
        (self.word() >> 11) as f64 / 9_007_199_254_740_992.0
    }

    fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        let (sine, cosine) = (std::f64::consts::TAU * self.uniform()).sin_cos();
        self.spare = Some(radius * sine);
        radius * cosine
    }
}

/// The device with equal cells.
pub fn without_spread(config: &DeviceConfig) -> DeviceConfig {
    fn equal(fields: &mut Value) {
        for (name, value) in fields.as_object_mut().into_iter().flatten() {
            if name.ends_with("_dtod") || name == "reference_std" {
                *value = 0.0.into();
            }
            equal(value);
        }
    }
    let mut value = serde_json::to_value(config).unwrap();
    equal(&mut value);
    serde_json::from_value(value).unwrap()
}
