//! Results stay: one number per stream, per pulse type and kernel, per device, per modifier of weights
//! and per noise model, for fixed seeds.
//!
//! `pinned.txt` holds them. A change of a line there changes everybody's results, so it belongs in
//! the changelog. The numbers are equal on every machine with fused multiply-adds, whatever its
//! registers; those of products differ between families of instruction sets and are pinned for
//! AVX2, with which the portable vectors of `pulp` add up in one order.

use mho_core::UpdateParameters;
use mho_core::config::{IoParameters, ModifierParameters, ModifierType, PulseType, WeightNoise};
use mho_core::devices::{
    Cells, Device, DeviceConfig, LinearStep, PiecewiseStep, Plane, PlaneRef, PowStep,
};
use mho_core::inference::ProgrammedWeights;
use mho_core::modifier::Modifier;
use mho_core::mvm::{Direction, Lines, Mvm, Request};
use mho_core::pulse::counts::{Sample, counts};
use mho_core::pulse::{self, Update};
use mho_core::rng::{Key, Stream};

use crate::inference::{fixtures, model};

const PINNED: &str = include_str!("pinned.txt");

/// FNV-1a over words of any kind.
struct Digest(u64);

impl Digest {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn word(mut self, word: u64) -> Self {
        for byte in word.to_le_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        self
    }

    fn floats(self, values: &[f32]) -> Self {
        values.iter().fold(self, |digest, value| digest.word(u64::from(value.to_bits())))
    }

    fn integers(self, values: &[i64]) -> Self {
        values.iter().fold(self, |digest, value| digest.word(value.cast_unsigned()))
    }
}

/// Compares found numbers with the pinned ones whose name starts with `group`.
fn compare(group: &str, found: &[(String, Digest)]) {
    let pinned: Vec<(&str, &str)> = PINNED
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(name, _)| name.starts_with(group))
        .collect();
    let mut wrong = String::new();
    for (name, Digest(value)) in found {
        let value = format!("{value:016x}");
        if !pinned.contains(&(name, &value)) {
            wrong += &format!("{name} {value}\n");
        }
    }
    assert!(wrong.is_empty(), "not as pinned:\n{wrong}");
    assert_eq!(pinned.len(), found.len(), "numbers pinned and found for {group}");
}

const ROWS: usize = 37;
/// More than one group of 64 columns, and not a multiple of the lanes.
const COLUMNS: usize = 150;

fn normals(len: usize, block: u32, scale: f32) -> Vec<f32> {
    let mut out = vec![0.0; len];
    Key::new(71, 0).stream(Stream::Read).fill_normal(0, block, &mut out);
    out.iter_mut().for_each(|value| *value *= scale);
    out
}

#[test]
fn streams() {
    const STREAMS: [Stream; 20] = [
        Stream::Construct,
        Stream::FrozenForward,
        Stream::FrozenBackward,
        Stream::InputRound,
        Stream::InputNoise,
        Stream::WeightNoise,
        Stream::OutputNoise,
        Stream::OutputRound,
        Stream::PulseX,
        Stream::PulseD,
        Stream::CycleToCycle,
        Stream::PulseRound,
        Stream::Weights,
        Stream::Diffusion,
        Stream::Reset,
        Stream::Program,
        Stream::Drift,
        Stream::Read,
        Stream::Modifier,
        Stream::WriteNoise,
    ];
    let key = Key::new(0x0123_4567_89ab_cdef, 5 << 32 | 77);
    let mut found = Vec::new();
    for stream in STREAMS {
        for (pass, draw) in [("forward", key.stream(stream)), ("backward", key.backward(stream))] {
            let (mut words, mut values) = (vec![0; COLUMNS], vec![0.0; COLUMNS]);
            draw.fill_words(3, 5, &mut words);
            let mut digest = words.iter().fold(Digest::new(), |d, word| d.word(u64::from(*word)));
            draw.fill_uniform(4, 6, &mut values);
            digest = digest.floats(&values);
            draw.fill_normal(5, (1 << 24) - 1, &mut values);
            found.push((format!("stream/{stream:?}/{pass}"), digest.floats(&values)));
        }
    }
    compare("stream/", &found);
}

#[test]
fn modifiers() {
    use ModifierType as T;
    let weights = normals(ROWS * COLUMNS, 3, 0.3);
    let kinds = [
        T::Discretize,
        T::MultNormal,
        T::AddNormal,
        T::DiscretizeAddNormal,
        T::Dorefa,
        T::Poly,
        T::PcmNoise,
        T::ProgNoise,
        T::Copy,
    ];
    let found = kinds.map(|kind| {
        let parameters = ModifierParameters::default().with(|p| {
            p.kind = kind;
            p.std_dev = 0.5;
            p.res = 0.1;
            p.sto_round = true;
            p.pdrop = 0.1;
            p.pcm_t_inference = 3600.0;
            p.pcm_prob_at_reset = 0.1;
            p.pcm_prob_at_gmax = 0.1;
            p.pcm_prob_at_random = 0.1;
        });
        let mut modified = vec![0.0; weights.len()];
        let modifier = Modifier::new(&parameters).unwrap();
        modifier.modify(&weights, &mut modified, COLUMNS, Key::new(9, 4)).unwrap();
        (format!("modifier/{kind:?}"), Digest::new().floats(&modified))
    });
    compare("modifier/", &found);
}

/// One batch: how many samples, how large, and how pulses come from it.
struct Batch {
    name: &'static str,
    samples: usize,
    /// Standard deviation of the errors.
    scale: f32,
    update: UpdateParameters,
}

fn batches() -> Vec<Batch> {
    let base = UpdateParameters::default;
    let pulse_type = |pulse_type| base().with(|p| p.pulse_type = pulse_type);
    let long = base().with(|p| p.desired_bl = 200);
    let free = base().with(|p| {
        p.fixed_bl = false;
        p.update_bl_management = false;
        p.update_management = false;
    });
    let coarse = base().with(|p| {
        p.res = 0.1;
        p.sto_round = true;
    });
    let batch = |name, samples, scale, update| Batch { name, samples, scale, update };
    vec![
        batch("one_sample", 1, 0.3, base()),
        batch("one_long_sample", 1, 3.0, long.clone()),
        batch("few_slots", 5, 0.01, base()),
        batch("one_slot", 9, 0.001, base()),
        batch("several_chunks", 150, 0.3, base()),
        batch("long", 30, 2.0, long),
        batch("free_length", 20, 0.5, free),
        batch("stochastic", 8, 0.3, pulse_type(PulseType::Stochastic)),
        batch("coarse", 8, 0.3, coarse),
        batch("mean_count", 7, 0.3, pulse_type(PulseType::MeanCount)),
        batch("implicit", 7, 0.3, pulse_type(PulseType::DeterministicImplicit)),
        batch("no_pulses", 7, 0.3, pulse_type(PulseType::NoneWithDevice)),
    ]
}

/// Devices of one kind with all their state.
struct Rig {
    device: Device,
    planes: Vec<(&'static str, Plane)>,
    weights: Vec<f32>,
    persistent: Option<Vec<f32>>,
    counts: Vec<i64>,
}

impl Rig {
    fn new(config: &DeviceConfig, update: &UpdateParameters) -> Self {
        let device = Device::new(config, update, ROWS, COLUMNS, false).unwrap();
        let planes = device.construct(23).unwrap();
        let cells = ROWS * COLUMNS;
        let persistent = device.write_noise().map(|_| vec![0.0; cells]);
        let weights = normals(cells, 1, 0.3);
        let mut rig = Self { device, planes, weights, persistent, counts: vec![0; 2 * cells] };
        rig.apply(|device, cells| device.set_weights(cells, Key::new(7, 1)));
        rig
    }

    fn apply(&mut self, f: impl FnOnce(&Device, Cells<'_>) -> mho_core::Result<()>) {
        let planes: Vec<PlaneRef<'_>> =
            self.planes.iter().map(|(_, plane)| plane.as_ref()).collect();
        let persistent = self.persistent.as_deref_mut();
        let cells = Cells { weights: &mut self.weights, persistent, planes: &planes };
        f(&self.device, cells).unwrap();
    }

    fn update(&mut self, x: &[f32], d: &[f32], bias: Option<f32>) {
        let planes: Vec<PlaneRef<'_>> =
            self.planes.iter().map(|(_, plane)| plane.as_ref()).collect();
        pulse::update(
            Update::new(
                &self.device,
                &mut self.weights,
                &planes,
                [x, d],
                0.05,
                Key::new(0xfeed_0000_beef, 1 << 33 | 3),
            )
            .with(|u| {
                u.persistent = self.persistent.as_deref_mut();
                u.bias = bias;
                u.counts = Some(&mut self.counts);
            }),
        )
        .unwrap();
    }

    fn digest(&self) -> Digest {
        let persistent = self.persistent.as_deref().unwrap_or_default();
        Digest::new().floats(&self.weights).floats(persistent).integers(&self.counts)
    }
}

/// Weights and counts after the update of a device with a batch.
fn updated(config: &DeviceConfig, batch: &Batch, bias: Option<f32>) -> Digest {
    let mut rig = Rig::new(config, &batch.update);
    let inputs = COLUMNS - usize::from(bias.is_some());
    let mut x = normals(batch.samples * inputs, 2, 1.0);
    // Lines without a pulse, as after a rectifier.
    x.iter_mut().step_by(5).for_each(|x| *x = 0.0);
    let d = normals(batch.samples * ROWS, 3, batch.scale);
    rig.update(&x, &d, bias);
    rig.digest()
}

/// All pulsed devices, with parameters that tell them apart.
fn devices() -> impl Iterator<Item = (&'static str, DeviceConfig)> {
    DeviceConfig::PULSED.iter().map(|name| {
        let mut config = DeviceConfig::pulsed_default(name).unwrap();
        match &mut config {
            DeviceConfig::SoftBoundsReference(device) => device.reference_std = 0.1,
            DeviceConfig::PowStepReference(device) => {
                (device.reference_std, device.pow_gamma) = (0.1, 1.6);
            }
            DeviceConfig::PiecewiseStep(device) => {
                device.piecewise_up = vec![1.5, 1.0, 0.8, 0.2].into();
                device.piecewise_down = vec![0.3, 0.9, 1.0, 1.4].into();
            }
            _ => {}
        }
        (*name, config)
    })
}

#[test]
fn updates_of_every_device() {
    let mut found = Vec::new();
    for (name, config) in devices() {
        for batch in batches() {
            let digest = updated(&config, &batch, None);
            found.push((format!("update/{name}/{}", batch.name), digest));
        }
    }
    compare("update/", &found);
}

/// Without noise, and with steps and noise so large that pulses act one by one.
#[test]
fn updates_of_unusual_devices() {
    let mut found = Vec::new();
    for (name, config) in devices() {
        for (kind, dw_min, dw_min_std) in [("no_noise", 0.001, 0.0), ("coarse_steps", 0.05, 2.0)] {
            let mut config = config.clone();
            let pulsed = config.pulsed_mut().unwrap();
            (pulsed.dw_min, pulsed.dw_min_std) = (dw_min, dw_min_std);
            for batch in batches() {
                if ["one_sample", "one_long_sample", "few_slots", "long"].contains(&batch.name) {
                    let digest = updated(&config, &batch, None);
                    found.push((format!("unusual/{name}/{kind}/{}", batch.name), digest));
                }
            }
        }
    }
    compare("unusual/", &found);
}

#[test]
fn updates_with_write_noise_and_bias() {
    let configs = [
        DeviceConfig::LinearStep(LinearStep::default().with(|p| p.write_noise_std = 2.0)),
        DeviceConfig::PowStep(PowStep::default().with(|p| p.write_noise_std = 2.0)),
        DeviceConfig::PiecewiseStep(PiecewiseStep::default().with(|p| p.write_noise_std = 2.0)),
    ];
    let mut found = Vec::new();
    for config in configs {
        for batch in batches() {
            let name = format!("write_noise/{}/{}", config.name(), batch.name);
            found.push((name, updated(&config, &batch, None)));
        }
    }
    compare("write_noise/", &found);
    let mut found = Vec::new();
    for (name, config) in
        [("ConstantStep", "ConstantStep"), ("SoftBounds", "SoftBounds"), ("Ideal", "Ideal")]
    {
        let config = DeviceConfig::named(config).unwrap();
        for batch in batches() {
            found
                .push((format!("bias/{name}/{}", batch.name), updated(&config, &batch, Some(0.7))));
        }
    }
    compare("bias/", &found);
}

/// Pulses of one sample inside of a batch.
#[test]
fn counts_of_one_sample() {
    let mut found = Vec::new();
    for batch in batches() {
        let rig = Rig::new(&DeviceConfig::default(), &batch.update);
        let x = normals(batch.samples * COLUMNS, 2, 1.0);
        let d = normals(batch.samples * ROWS, 3, batch.scale);
        let mut out = vec![0; ROWS * COLUMNS];
        let key = Key::new(1 << 50 | 9, 4);
        let at = batch.samples - 1;
        let device = &rig.device;
        let sample = Sample { device, x: &x, bias: None, d: &d, learning_rate: 0.05, key, at };
        counts(&sample, &mut out).unwrap();
        found.push((format!("counts/{}", batch.name), Digest::new().integers(&out)));
    }
    compare("counts/", &found);
}

/// Hidden parameters, and weights after decay, diffusion and reset.
#[test]
fn devices_and_their_lifecycle() {
    let mut found = Vec::new();
    for (name, mut config) in devices() {
        let pulsed = config.pulsed_mut().unwrap();
        (pulsed.lifetime, pulsed.lifetime_dtod) = (100.0, 0.2);
        (pulsed.diffusion, pulsed.diffusion_dtod) = (0.01, 0.2);
        (pulsed.reset_std, pulsed.reset_dtod) = (0.01, 0.02);
        pulsed.corrupt_devices_prob = 0.02;
        let mut rig = Rig::new(&config, &UpdateParameters::default());
        let mut digest = Digest::new();
        for (_, plane) in &rig.planes {
            digest = match plane {
                Plane::Constant(value) => digest.floats(&[*value]),
                Plane::Values(values) => digest.floats(values),
            };
        }
        found.push((format!("device/{name}/planes"), digest));
        rig.apply(|device, cells| device.decay(cells, 2.0, Key::new(7, 2)));
        rig.apply(|device, cells| device.diffuse(cells, Key::new(7, 3)));
        rig.apply(|device, cells| device.reset_columns(cells, 140, 20, 0.5, Key::new(7, 4)));
        found.push((format!("device/{name}/lifecycle"), rig.digest()));
    }
    compare("device/", &found);
}

/// The family of instruction sets whose bits products are pinned for.
fn has_avx2_family() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && !is_x86_feature_detected!("avx512f");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

#[test]
fn products() {
    if !has_avx2_family() {
        println!("skipped: products are pinned for machines with AVX2 and without AVX-512");
        return;
    }
    let d = IoParameters::default;
    let all = d().with(|p| {
        p.inp_noise = 0.01;
        p.inp_sto_round = true;
        p.out_sto_round = true;
        p.out_noise_std = 0.3;
        p.out_bound = 1.0;
        p.w_noise = 0.01;
        p.w_noise_type = WeightNoise::PcmRead;
        p.ir_drop = 1.0;
        p.out_nonlinearity = 0.1;
        p.v_offset_std = 0.01;
        p.r_series = 0.001;
    });
    let mut found = Vec::new();
    for (name, io) in [("perfect", IoParameters::perfect()), ("default", d()), ("all", all)] {
        for direction in [Direction::Forward, Direction::Backward] {
            for samples in [1, 2, 3, 77] {
                let mvm = Mvm::new(&io, direction, ROWS, COLUMNS).unwrap();
                let lines = mvm.construct_lines(3).unwrap();
                let line = |name: &str| -> &[f32] {
                    lines.iter().find(|(key, _)| *key == name).map_or(&[], |(_, values)| values)
                };
                let mut y = vec![0.0; samples * mvm.n_out()];
                let mut mask = vec![0; y.len()];
                mvm.run(
                    Request::new(
                        &normals(samples * mvm.n_in(), 5, 0.7),
                        &normals(ROWS * COLUMNS, 6, 0.3),
                        &mut y,
                        Lines {
                            out_noise_values: line("out_noise_values"),
                            v_offset: line("v_offset"),
                            w_asymmetry: line("w_asymmetry"),
                            out_nonlinearity: line("out_nonlinearity"),
                            out_nonlinearity_factor: line("out_nonlinearity_factor")[0],
                        },
                        Key::new(12, 34),
                    )
                    .with(|u| u.mask = Some(&mut mask)),
                )
                .unwrap();
                let digest = mask.iter().fold(Digest::new(), |d, flag| d.word(u64::from(*flag)));
                found.push((
                    format!("product/{name}/{}/{samples}", direction.name()),
                    digest.floats(&y),
                ));
            }
        }
    }
    compare("product/", &found);
}

#[test]
fn programmed_weights() {
    const COLUMNS: usize = 150;
    let mut weights = vec![0.0; 3 * COLUMNS];
    Key::new(8, 1).stream(Stream::Weights).fill_normal(0, 0, &mut weights);
    let found: Vec<_> = fixtures("models")
        .iter()
        .enumerate()
        .map(|(number, fixture)| {
            let model = model(fixture);
            let (key, later) = (Key::new(9, 4), Key::new(9, 5));
            let programmed = ProgrammedWeights::program(&model, &weights, COLUMNS, key).unwrap();
            let read = programmed.drifted(&model, 86400.0, later).unwrap();
            let name = fixture["config"]["type"].as_str().unwrap();
            let mut digest = Digest::new().floats(programmed.weights());
            for parameters in programmed.drift_noise_parameters() {
                digest = digest.floats(parameters);
            }
            (format!("inference/{name}/{number}"), digest.floats(&read))
        })
        .collect();
    compare("inference/", &found);
}
