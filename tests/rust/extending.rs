//! The Rust code of `docs/extending.md`: a device of one's own, and what any device must fulfil.

use mho_core::config::PulseType;
use mho_core::devices::{
    Branch, Cell, CellDraws, CellRef, ConstantStep, Device, DeviceConfig, ExpStep, LinearStep,
    MAX_EXTRA, Plane, PowStep, PulsedDevice, PulsedParameters, Response, Rule, SoftBounds,
};
use mho_core::pulse::counts::{Sample, counts};
use mho_core::pulse::{Update, update};
use mho_core::{Error, Key, Result, UpdateParameters};
use serde::{Deserialize, Serialize};

/// Device whose step has the window of Joglekar and Wolf ("The elusive memristor: properties of
/// basic electrical circuits", Eur. J. Phys. 30, 661, 2009): at the relative weight `x` between
/// the bounds, `1 - |2x - 1|^(2p)` of its size is left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JoglekarStep {
    /// Parameters shared by all pulsed devices.
    pub pulsed: PulsedParameters,
    /// Mean exponent.
    pub p: f64,
    /// Relative spread of the exponent.
    pub p_dtod: f64,
}

impl Default for JoglekarStep {
    fn default() -> Self {
        Self { pulsed: PulsedParameters::default(), p: 2.0, p_dtod: 0.1 }
    }
}

/// Positions in the constants of a cell: the drawn exponent, and twice the inverse of the range.
const EXPONENT: usize = 0;
const SCALE: usize = 1;

/// One pulse of [`JoglekarStep`].
#[derive(Debug, Clone, Copy)]
pub struct JoglekarRule {
    std: f32,
}

/// Position between the bounds, from -1 to 1.
fn position(w: f32, cell: CellRef) -> f32 {
    (w - cell.min_bound) * cell.extra[SCALE] - 1.0
}

impl Rule for JoglekarRule {
    fn prepare(self, mut cell: CellRef) -> CellRef {
        let range = cell.max_bound - cell.min_bound;
        cell.extra[SCALE] = if range > 0.0 { 2.0 / range } else { 0.0 };
        cell
    }

    fn mean(self, w: f32, up: bool, cell: CellRef) -> f32 {
        let size = if up { cell.up } else { -cell.down };
        size * (1.0 - position(w, cell).abs().powf(2.0 * cell.extra[EXPONENT]))
    }

    fn noise(self, mean: f32, _w: f32, _up: bool, _cell: CellRef) -> f32 {
        self.std * mean
    }

    fn branch(self, w: f32, up: bool, cell: CellRef) -> Branch {
        let size = if up { cell.up } else { -cell.down };
        let (y, power) = (position(w, cell), 2.0 * cell.extra[EXPONENT]);
        let far = y.abs().max(1e-6);
        let slope = -power * far.powf(power - 1.0) * y.signum() * cell.extra[SCALE];
        let curvature = -power * (power - 1.0) * far.powf(power - 2.0) * cell.extra[SCALE].powi(2);
        Branch::multiplicative(self.mean(w, up, cell), size * slope, size * curvature, self.std)
    }

    fn std(self) -> f32 {
        self.std
    }
}

impl PulsedDevice for JoglekarStep {
    const NAME: &'static str = "JoglekarStep";
    const EXTRA: &'static [&'static str] = &["exponent"];
    const EXTRA_DRAWS: usize = 1;
    type Rule<'a> = JoglekarRule;

    fn pulsed(&self) -> &PulsedParameters {
        &self.pulsed
    }

    fn validate(&self, path: &str) -> Result<()> {
        self.pulsed.validate(path)?;
        if self.p.is_finite() && self.p > 0.0 && self.p_dtod.is_finite() {
            return Ok(());
        }
        Err(Error::config(format!("{path}.p"), "must be positive, and p_dtod finite"))
    }

    fn rule(&self) -> JoglekarRule {
        JoglekarRule { std: self.pulsed.dw_min_std as f32 }
    }

    fn response(&self) -> Response {
        Response::new(&[include_str!("joglekar_step.wgsl")], self.rule().std, &[])
    }

    fn extra(&self, _cell: &mut Cell, normals: &[f64]) -> [f64; MAX_EXTRA] {
        [self.p * (1.0 + self.p_dtod * normals[0]).abs(), 0.0, 0.0, 0.0]
    }

    fn extra_varies(&self) -> bool {
        self.p_dtod != 0.0
    }
}

/// Applies a batch with the rule of any device, one pulse after another. `cells` are the prepared
/// constants of the crosspoints, `draw` gives standard normals.
pub fn update_outside<'a, R: Rule>(
    samples: impl Iterator<Item = Sample<'a>>,
    rule: R,
    cells: &[CellRef],
    weights: &mut [f32],
    mut draw: impl FnMut() -> f32,
) -> Result<()> {
    let mut pulses = vec![0; weights.len()];
    for sample in samples {
        counts(&sample, &mut pulses)?;
        for ((w, n), cell) in weights.iter_mut().zip(&pulses).zip(cells) {
            for _ in 0..n.abs() {
                let moved = rule.step(*w, *n > 0, *cell, draw());
                *w = moved.clamp(cell.min_bound, cell.max_bound);
            }
        }
    }
    Ok(())
}

/// Prepared constants of all cells, as the kernels see them.
fn prepared<D: PulsedDevice>(device: &D, d_size: usize, x_size: usize) -> Vec<CellRef> {
    let pulsed = device.pulsed();
    let rule = device.rule();
    (0..d_size * x_size)
        .map(|at| {
            let normal = ((at as f64) * 0.7).sin();
            let draws = CellDraws { gain: normal, bounds: [normal, -normal], ..Default::default() };
            let mut cell = pulsed.cell(&draws);
            let extra = device.extra(&mut cell, &vec![normal; D::EXTRA_DRAWS]);
            rule.prepare(CellRef {
                max_bound: cell.max_bound as f32,
                min_bound: cell.min_bound as f32,
                up: cell.up as f32,
                down: cell.down as f32,
                extra: extra.map(|value| value as f32),
            })
        })
        .collect()
}

/// What the kernels take for granted.
fn conforms<D: PulsedDevice>(device: &D) {
    let name = D::NAME;
    assert!(D::EXTRA.len() <= MAX_EXTRA, "{name}");
    assert!(device.granularity() > 0.0, "{name}");
    device.validate("device").unwrap();
    let rule = device.rule();
    for cell in prepared(device, 4, 5) {
        for share in [0.11f32, 0.3, 0.45, 0.62, 0.9] {
            let w = cell.min_bound + share * (cell.max_bound - cell.min_bound);
            for up in [true, false] {
                let branch = rule.branch(w, up, cell);
                let mean = |w: f32| f64::from(rule.mean(w, up, cell));
                assert_eq!(f64::from(branch.mean), mean(w), "{name}");
                let noise = rule.noise(branch.mean, w, up, cell);
                assert!((branch.noise - noise).abs() <= 1e-6 * noise.abs(), "{name}: noise");
                let step = rule.step(w, up, cell, -1.5);
                // Two roundings of a weight below 2.
                assert!((step - (w + branch.mean - 1.5 * noise)).abs() < 3e-7, "{name}: step");
                // Central differences: the step is of the order `up`, known to 1e-7 of that, over
                // a distance of 0.02; the third derivative adds some 1e-4 / 6 of its scale.
                let h = 0.01f64;
                let near = [mean((f64::from(w) - h) as f32), mean((f64::from(w) + h) as f32)];
                let slope = (near[1] - near[0]) / (2.0 * h);
                let curvature = (near[1] + near[0] - 2.0 * mean(w)) / (h * h);
                let scale = f64::from(cell.up.max(cell.down));
                let off = (f64::from(branch.slope) - slope).abs() / scale;
                assert!(off < 0.01 + 0.02 * slope.abs() / scale, "{name}: slope off by {off}");
                let off = (f64::from(branch.curvature) - curvature).abs() / scale;
                assert!(
                    off < 0.1 + 0.05 * curvature.abs() / scale,
                    "{name}: curvature off by {off}"
                );
            }
        }
    }
}

#[test]
fn own_and_built_in_devices_conform() {
    conforms(&JoglekarStep::default());
    conforms(&ConstantStep::default());
    conforms(&LinearStep::default());
    conforms(&SoftBounds::default());
    conforms(&ExpStep::default());
    conforms(&PowStep::default());
}

#[test]
fn own_steps_follow_the_formula() {
    let device = JoglekarStep { p_dtod: 0.0, ..JoglekarStep::default() };
    let rule = device.rule();
    let range = CellRef { max_bound: 0.5, min_bound: -0.3, up: 0.01, down: 0.02, extra: [0.0; 4] };
    let cell = rule.prepare(CellRef { extra: [2.0, 0.0, 0.0, 0.0], ..range });
    for (w, share) in [(0.1f32, 1.0f32), (-0.3, 0.0), (0.5, 0.0), (0.3, 1.0 - 0.0625)] {
        assert!((rule.mean(w, true, cell) - 0.01 * share).abs() < 1e-7, "{w}");
        assert!((rule.mean(w, false, cell) + 0.02 * share).abs() < 1e-7, "{w}");
    }
    let wrong = JoglekarStep { p: -1.0, ..JoglekarStep::default() };
    assert!(
        matches!(wrong.validate("device"), Err(Error::Config { field, .. }) if field == "device.p")
    );
}

/// The twin in WGSL is valid in all compositions; no adapter is needed.
#[cfg(feature = "wgpu")]
#[test]
fn own_response_compiles() {
    use wgpu::naga::front::wgsl;
    use wgpu::naga::valid::{Capabilities, ValidationFlags, Validator};

    let sources = mho_core::gpu::pulse_sources("JoglekarStep", &JoglekarStep::default().response());
    assert!(!sources.is_empty());
    for (name, source) in sources {
        assert!(source.contains("pow(abs(position)"), "{name}");
        let module = wgsl::parse_str(&source)
            .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(&source)));
        Validator::new(ValidationFlags::all(), Capabilities::empty())
            .validate(&module)
            .unwrap_or_else(|error| panic!("{name}: {error:?}"));
    }
}

/// Constants of the cells of a device of the registry.
fn cells_of(planes: &[(&str, Plane)], count: usize) -> Vec<CellRef> {
    let get = |name: &str, at: usize| {
        planes.iter().find(|(key, _)| *key == name).unwrap().1.as_ref().at(at)
    };
    let cell = |at| CellRef {
        max_bound: get("max_bound", at),
        min_bound: get("min_bound", at),
        up: get("dwmin_up", at),
        down: get("dwmin_down", at),
        extra: [0.0; MAX_EXTRA],
    };
    (0..count).map(cell).collect()
}

#[test]
fn counted_pulses_are_those_of_an_update() {
    let (d_size, x_size, samples) = (5, 19, 7);
    let value = |at: usize| ((at * at) as f32 * 0.37).sin();
    let x: Vec<f32> = (0..samples * x_size).map(value).collect();
    let d: Vec<f32> = (0..samples * d_size).map(|at| value(at + 1000)).collect();
    let pulsed = PulsedParameters { dw_min_std: 0.0, ..PulsedParameters::default() };
    let built_in = ConstantStep { pulsed };
    let key = Key::new(3, 8);
    for pulse_type in
        [PulseType::StochasticCompressed, PulseType::MeanCount, PulseType::DeterministicImplicit]
    {
        let parameters = UpdateParameters {
            pulse_type,
            sto_round: true,
            res: 0.05,
            desired_bl: 70,
            ..UpdateParameters::default()
        };
        let config = DeviceConfig::ConstantStep(built_in.clone());
        let device = Device::new(&config, &parameters, d_size, x_size, false).unwrap();
        let planes = device.construct(4).unwrap();
        let mut expected = vec![0.0; d_size * x_size];
        let mut all = vec![0; 2 * expected.len()];
        update(Update {
            device: &device,
            weights: &mut expected,
            planes: &planes.iter().map(|(_, plane)| plane.as_ref()).collect::<Vec<_>>(),
            persistent: None,
            x: &x,
            bias: None,
            d: &d,
            learning_rate: 0.05,
            key,
            counts: Some(&mut all),
        })
        .unwrap();
        let sample =
            |at| Sample { device: &device, x: &x, bias: None, d: &d, learning_rate: 0.05, key, at };
        let mut sum = vec![0; expected.len()];
        let mut one = sum.clone();
        for at in 0..samples {
            counts(&sample(at), &mut one).unwrap();
            sum.iter_mut().zip(&one).for_each(|(sum, one)| *sum += one.abs());
        }
        let (down, up) = all.split_at(expected.len());
        let both: Vec<i64> = down.iter().zip(up).map(|(down, up)| down + up).collect();
        assert!(sum == both && sum.iter().sum::<i64>() > 1000, "{pulse_type:?}");
        let mut weights = vec![0.0; expected.len()];
        let cells = cells_of(&planes, weights.len());
        update_outside((0..samples).map(sample), built_in.rule(), &cells, &mut weights, || 0.0)
            .unwrap();
        for (got, expected) in weights.iter().zip(&expected) {
            // Sums of up to 490 steps of 1e-3 in float32.
            assert!((got - expected).abs() < 1e-5, "{pulse_type:?}: {got} {expected}");
        }
        assert!(matches!(
            counts(&sample(samples), &mut one),
            Err(Error::Argument { argument: "sample", .. })
        ));
        assert!(matches!(counts(&sample(0), &mut []), Err(Error::Shape { .. })));
    }
}
