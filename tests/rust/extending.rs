//! The example of `docs/extending.md`: a device and an algorithm of one's own; and what any device must fulfil.

#[allow(dead_code, reason = "its main function")]
#[path = "../../examples/extending.rs"]
mod example;

use example::{JoglekarStep, PeriodicCarry, learn};
use mho_core::compound::CustomCompound;
use mho_core::config::PulseType;
use mho_core::devices::{
    Branch, CellRef, ConstantStep, Device, DeviceConfig, MAX_EXTRA, PiecewiseStep, Plane,
    PulsedDevice, PulsedParameters, Response, Rule, SoftBounds,
};
use mho_core::layer::RawTile;
use mho_core::pulse::counts::{Sample, counts};
use mho_core::pulse::{Update, update};
use mho_core::testing::conforms;
use mho_core::{Error, IoParameters, Key, Result, Tile, TileConfig, UpdateParameters};

#[test]
fn own_and_built_in_devices_conform() {
    conforms(&JoglekarStep::default()).unwrap();
    conforms(&ConstantStep::default()).unwrap();
    conforms(&SoftBounds::default()).unwrap();
    conforms(&PiecewiseStep::default()).unwrap();
}

/// Constant steps with a mistake.
#[derive(Debug, Clone, Default, PartialEq)]
struct Wrong(PulsedParameters);

#[derive(Debug, Clone, Copy)]
struct WrongRule;

impl Rule for WrongRule {
    fn mean(self, w: f32, up: bool, cell: CellRef) -> f32 {
        if up { cell.up } else { -cell.down * (1.0 + w) }
    }

    fn noise(self, mean: f32, _w: f32, _up: bool, _cell: CellRef) -> f32 {
        0.3 * mean
    }

    fn branch(self, w: f32, up: bool, cell: CellRef) -> Branch {
        Branch::multiplicative(self.mean(w, up, cell), 0.0, 0.0, 0.3)
    }

    fn std(self) -> f32 {
        0.3
    }
}

impl PulsedDevice for Wrong {
    const NAME: &'static str = "Wrong";
    type Rule<'a> = WrongRule;

    fn pulsed(&self) -> &PulsedParameters {
        &self.0
    }

    fn pulsed_mut(&mut self) -> &mut PulsedParameters {
        &mut self.0
    }

    fn validate(&self, path: &str) -> Result<()> {
        self.0.validate(path)
    }

    fn rule(&self) -> WrongRule {
        WrongRule
    }

    fn response(&self) -> Response {
        Response::new(&[], 0.3, &[])
    }
}

#[test]
fn a_wrong_derivative_is_reported() {
    let report = conforms(&Wrong::default()).unwrap_err();
    assert!(report.broken().iter().all(|what| what.contains("branch.slope")), "{report}");
    assert!(report.to_string().starts_with("Wrong does not conform:"));
}

/// A built-in device that is handed over as one of another crate does the same, to the bit.
#[test]
fn own_devices_have_the_bits_of_built_in_ones() {
    let soft = SoftBounds::default().with(|p| p.write_noise_std = 0.5);
    let weights =
        [DeviceConfig::SoftBounds(soft.clone()), DeviceConfig::custom(soft)].map(|device| {
            let mut tile =
                Tile::new(70, 90, &TileConfig::default().with(|p| p.device = device), 3).unwrap();
            learn(&mut tile, 50).unwrap();
            tile.diffuse().unwrap();
            tile.reset_columns(0, 5, 0.5).unwrap();
            tile.weights().to_vec()
        });
    assert_eq!(weights[0], weights[1]);
}

#[test]
fn own_devices_have_no_text() {
    let device = DeviceConfig::custom(JoglekarStep::default());
    let config = TileConfig::default().with(|p| p.device = device);
    let error = config.to_json().unwrap_err().to_string();
    assert!(error.contains("JoglekarStep") && error.contains("another crate"), "{error}");
    assert!(TileConfig::from_json(r#"{"device": {"type": "Custom", "params": {}}}"#).is_err());
}

#[test]
fn own_algorithms_learn() {
    let device = DeviceConfig::custom(JoglekarStep::default());
    let config = TileConfig::new(device).with(|config| {
        config.forward = IoParameters::perfect();
        config.update.desired_bl = 300;
    });
    let (devices, rule) = ([config.clone(), config.clone()], PeriodicCarry::new(10));
    let mut tile = CustomCompound::new([10, 20], &config, &devices, rule, 42).unwrap();
    let off = learn(&mut tile, 1000).unwrap();
    // It begins at 1; what the noise of pulses leaves is about 0.1, twice that of one device.
    assert!(off < 0.2, "{off}");
    // The rule belongs to the state: a copy carries when the original does.
    let mut copy = tile.clone();
    learn(&mut copy, 15).unwrap();
    learn(&mut tile, 15).unwrap();
    assert_eq!(RawTile::weights(&copy), RawTile::weights(&tile));
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

/// Applies a batch with the rule of any device, one pulse after another. `cells` are the prepared
/// constants of the crosspoints, `draw` gives standard normals.
fn update_outside<'a, R: Rule>(
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

#[test]
fn counted_pulses_are_those_of_an_update() {
    let (d_size, x_size, samples) = (5, 19, 7);
    let value = |at: usize| ((at * at) as f32 * 0.37).sin();
    let x: Vec<f32> = (0..samples * x_size).map(value).collect();
    let d: Vec<f32> = (0..samples * d_size).map(|at| value(at + 1000)).collect();
    let pulsed = PulsedParameters::default().with(|p| p.dw_min_std = 0.0);
    let built_in = ConstantStep::default().with(|p| p.pulsed = pulsed);
    let key = Key::new(3, 8);
    for pulse_type in
        [PulseType::StochasticCompressed, PulseType::MeanCount, PulseType::DeterministicImplicit]
    {
        let parameters = UpdateParameters::default().with(|p| {
            p.pulse_type = pulse_type;
            p.sto_round = true;
            p.res = 0.05;
            p.desired_bl = 70;
        });
        let config = DeviceConfig::ConstantStep(built_in.clone());
        let device = Device::new(&config, &parameters, d_size, x_size, false).unwrap();
        let planes = device.construct(4).unwrap();
        let mut expected = vec![0.0; d_size * x_size];
        let mut all = vec![0; 2 * expected.len()];
        update(
            Update::new(
                &device,
                &mut expected,
                &planes.iter().map(|(_, plane)| plane.as_ref()).collect::<Vec<_>>(),
                [&x, &d],
                0.05,
                key,
            )
            .with(|u| u.counts = Some(&mut all)),
        )
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
