//! Unit cells on both processors.

use mho_core::Error;
use mho_core::config::{IoParameters, PulseType, UpdateParameters, WeightNoise};
use mho_core::devices::{ConstantStep, DeviceConfig, PulsedParameters, SoftBounds, WeightClip};
use mho_core::gpu::{Pick, Product};
use mho_core::mvm::{Direction, Lines, Request};
use mho_core::rng::Key;
use mho_core::unit_cells::gpu::GpuCellTile;
use mho_core::unit_cells::{
    Batch, BufferedTransferCompound, CellConfig, CellSpec, CellState, CellTileConfig, CellTileSpec,
    ChoppedTransferCompound, Crosspoint, DynamicTransferCompound, Entry, MixedPrecisionCompound,
    OneSidedUnitCell, OwnedEntry, ReferenceUnitCell, TransferCompound, VectorUnitCell,
    VectorUnitCellUpdatePolicy, update,
};

use super::{adapter, largest_difference, values};

/// State of a tile of cells, as its caller owns it.
#[derive(Clone)]
pub(super) struct State {
    pub(super) weights: Vec<f32>,
    pub(super) entries: Vec<Option<OwnedEntry>>,
}

impl State {
    pub(super) fn borrow<'a>(&'a mut self, spec: &CellSpec) -> CellState<'a> {
        let entries: Vec<Option<Entry<'a>>> =
            self.entries.iter_mut().map(|entry| entry.as_mut().map(OwnedEntry::as_mut)).collect();
        CellState::new(spec, &mut self.weights, entries).unwrap()
    }
}

/// A tile of cells on both processors.
pub(super) struct Cells {
    pub(super) spec: CellTileSpec,
    pub(super) host: State,
    /// What the host has of the other one.
    pub(super) copy: State,
    pub(super) card: GpuCellTile,
    calls: u64,
}

impl Cells {
    pub(super) fn new(
        [rows, columns]: [usize; 2],
        device: CellConfig,
        update: UpdateParameters,
        pick: &Pick,
    ) -> Self {
        let config = CellTileConfig::new(device).with(|p| p.update = update);
        let spec = CellTileSpec::new(config, rows, columns, false).unwrap();
        let cells = spec.cells();
        let mut host =
            State { weights: vec![0.0; rows * columns], entries: cells.allocate().unwrap() };
        cells.construct(host.borrow(cells), 7).unwrap();
        let card = GpuCellTile::new(spec.clone(), pick).unwrap();
        let mut both = Self { copy: host.clone(), spec, host, card, calls: 0 };
        both.upload();
        both
    }

    pub(super) fn upload(&mut self) {
        self.copy = self.host.clone();
        let state = self.copy.borrow(self.spec.cells());
        self.card.write_weights(&state).unwrap();
        self.card.write_parameters(&state).unwrap();
        self.card.write_reads(&state).unwrap();
    }

    fn key(&mut self) -> Key {
        self.calls += 1;
        Key::new(5, self.calls)
    }

    pub(super) fn update(&mut self, x: &[f32], d: &[f32], learning_rate: f64) {
        let (batch, key) = (Batch { x, bias: None, d, learning_rate }, self.key());
        let cells = self.spec.cells();
        update(cells, self.host.borrow(cells), &batch, key).unwrap();
        self.card.update(&mut self.copy.borrow(cells), &batch, key).unwrap();
    }

    pub(super) fn download(&mut self) {
        self.card.read_weights(&mut self.copy.borrow(self.spec.cells())).unwrap();
    }

    /// Largest difference of what is a matrix, in units of the weight; all else has to be equal.
    pub(super) fn difference(&mut self) -> f32 {
        self.download();
        let mut worst = largest_difference(&self.host.weights, &self.copy.weights);
        let in_pulses = matches!(
            self.spec.config().device,
            CellConfig::ChoppedTransferCompound(_) | CellConfig::DynamicTransferCompound(_)
        );
        let slots = self.spec.cells().slots();
        for ((host, copy), slot) in self.host.entries.iter().zip(&self.copy.entries).zip(slots) {
            match (host, copy) {
                (Some(OwnedEntry::Floats(host)), Some(OwnedEntry::Floats(copy))) => {
                    let is_scaled = in_pulses && slot.name.starts_with("buffered");
                    let scale = if is_scaled { FAST as f32 } else { 1.0 };
                    worst = worst.max(scale * largest_difference(host, copy));
                }
                (host, copy) => assert_eq!(host, copy, "{}", slot.name),
            }
        }
        worst
    }

    /// Whether anything has happened to the weights.
    fn has_moved(&self) -> bool {
        self.host.weights.iter().any(|w| *w != 0.0)
    }
}

/// Step of the fast device of a chain.
const FAST: f64 = 0.002;

/// Pulses one by one, as they are on the other side. Where the processor adds them up, weights differ by
/// a thousandth of their way.
fn one_by_one() -> UpdateParameters {
    UpdateParameters::default().with(|p| p.exact_pulses = true)
}

/// Constant steps of `dw_min` without any variation.
fn exact(dw_min: f64) -> PulsedParameters {
    PulsedParameters::default().with(|p| {
        p.dw_min = dw_min;
        p.dw_min_dtod = 0.0;
        p.dw_min_std = 0.0;
        p.up_down_dtod = 0.0;
        p.w_max = 1.0;
        p.w_max_dtod = 0.0;
        p.w_min = -1.0;
        p.w_min_dtod = 0.0;
        p.reset_std = 0.0;
    })
}

fn step(dw_min: f64) -> Crosspoint {
    DeviceConfig::ConstantStep(ConstantStep::default().with(|p| p.pulsed = exact(dw_min))).into()
}

/// Steps that depend on the weight and on the crosspoint, without noise.
pub(super) fn soft(dw_min: f64) -> Crosspoint {
    let mut soft = SoftBounds::default();
    soft.pulsed.dw_min = dw_min;
    soft.pulsed.dw_min_std = 0.0;
    (soft.pulsed.reset_std, soft.pulsed.reset_dtod) = (0.01, 0.01);
    (soft.pulsed.lifetime, soft.pulsed.diffusion) = (100.0, 0.01);
    DeviceConfig::SoftBounds(soft).into()
}

/// The same with noise of the writes.
fn written(dw_min: f64) -> Crosspoint {
    let mut soft = SoftBounds::default().with(|p| p.write_noise_std = 0.5);
    (soft.pulsed.dw_min, soft.pulsed.dw_min_std, soft.pulsed.reset_std) = (dw_min, 0.0, 0.01);
    DeviceConfig::SoftBounds(soft).into()
}

fn perfect() -> IoParameters {
    IoParameters::default().with(|p| p.is_perfect = true)
}

/// Every line that is large enough fires, once.
fn single() -> UpdateParameters {
    UpdateParameters::default().with(|p| {
        p.desired_bl = 1;
        p.update_bl_management = false;
        p.update_management = false;
    })
}

fn implicit() -> UpdateParameters {
    UpdateParameters::default().with(|p| p.pulse_type = PulseType::DeterministicImplicit)
}

fn signs(count: usize, seed: u64) -> Vec<f32> {
    values(count, seed).iter().map(|value| value.signum()).collect()
}

/// Runs some batches on both and compares what is left.
fn follow(mut cells: Cells, batches: u64, samples: usize, lr: f64, tolerance: f32, what: &str) {
    let [rows, columns] = [cells.spec.cells().d_size(), cells.spec.cells().x_size()];
    for batch in 0..batches {
        let x = values(samples * columns, 2 * batch + 1);
        let d = values(samples * rows, 2 * batch + 2);
        cells.update(&x, &d, lr);
    }
    assert!(cells.has_moved(), "{what}");
    let difference = cells.difference();
    assert!(difference <= tolerance, "{what}: {difference}");
}

fn nested() -> Vec<Crosspoint> {
    let random = CellConfig::VectorUnitCell(VectorUnitCell::default().with(|p| {
        p.unit_cell_devices = vec![soft(0.002), soft(0.003)];
        p.update_policy = VectorUnitCellUpdatePolicy::SingleRandom;
    }));
    let pair = CellConfig::OneSidedUnitCell(
        OneSidedUnitCell::default().with(|p| p.unit_cell_devices = vec![soft(0.002)]),
    );
    vec![random.into(), pair.into(), written(0.002)]
}

#[test]
fn vector_cells() {
    let Some(pick) = adapter() else { return };
    for policy in [
        VectorUnitCellUpdatePolicy::All,
        VectorUnitCellUpdatePolicy::SingleFixed,
        VectorUnitCellUpdatePolicy::SingleSequential,
        VectorUnitCellUpdatePolicy::SingleRandom,
    ] {
        for pulses in [one_by_one(), implicit()] {
            let cell = CellConfig::VectorUnitCell(VectorUnitCell::default().with(|p| {
                p.unit_cell_devices = nested();
                p.update_policy = policy;
                p.first_update_idx = 1;
                p.gamma_vec = vec![0.5, -0.3, 0.8];
            }));
            let cells = Cells::new([5, 21], cell, pulses, &pick);
            follow(cells, 4, 5, 0.02, 1e-6, &format!("{policy:?}"));
        }
    }
    let cell = CellConfig::ReferenceUnitCell(
        ReferenceUnitCell::default().with(|p| p.unit_cell_devices = vec![soft(0.002)]),
    );
    let cells = Cells::new([5, 70], cell, one_by_one(), &pick);
    follow(cells, 4, 5, 0.02, 1e-6, "reference");
}

/// Trajectories with one sure pulse per coincidence and writes of whole numbers of pulses.
#[test]
fn transfers_with_sure_pulses() {
    let Some(pick) = adapter() else { return };
    macro_rules! cell {
        ($name:ident, $most:expr, $columns:expr, { $($field:ident: $value:expr),* $(,)? }) => {
            cell!($name, 1, $most, $columns, { $($field: $value),* })
        };
        ($name:ident, $slow:expr, $most:expr, $columns:expr, {
            $($field:ident: $value:expr),* $(,)?
        }) => {
            CellConfig::$name($name::default().with(|p| {
                p.unit_cell_devices = [vec![step(0.002)], vec![step(0.01); $slow]].concat();
                p.transfer_update = implicit().with(|p| p.desired_bl = $most);
                p.units_in_mbatch = false;
                p.transfer_columns = $columns;
                p.fast_lr = 0.002;
                p.scale_fast_lr = false;
                p.transfer_forward = perfect();
                $(p.$field = $value;)*
            }))
        };
    }
    let mut all = Vec::new();
    for columns in [true, false] {
        all.push(cell!(TransferCompound, 31, columns, { gamma: 0.5, transfer_lr: 3.0 }));
        all.push(cell!(TransferCompound, 2, 5, columns, {
            n_reads_per_transfer: 2, random_selection: true, transfer_lr: 20.0,
        }));
        for forget_buffer in [true, false] {
            all.push(cell!(BufferedTransferCompound, 3, columns, {
                forget_buffer: forget_buffer, transfer_lr: 3.0,
            }));
            all.push(cell!(ChoppedTransferCompound, 5, columns, {
                forget_buffer: forget_buffer, momentum: 0.3, auto_granularity: 30.0, out_chop_prob: 0.5,
                gamma: 0.5,
            }));
            all.push(cell!(ChoppedTransferCompound, 1, columns, {
                forget_buffer: forget_buffer, no_buffer: true, in_chop_random: false,
                correct_gradient_magnitudes: true, transfer_lr: 0.02,
            }));
            all.push(cell!(DynamicTransferCompound, 7, columns, {
                forget_buffer: forget_buffer, momentum: 0.2, buffer_cap: 0.5, in_chop_prob: 0.3,
                gamma: 1.0,
            }));
            all.push(cell!(DynamicTransferCompound, 3, columns, {
                forget_buffer: forget_buffer, experimental_correct_accumulation: true,
                in_chop_random: true, in_chop_prob: 0.3, tail_weightening: 2.0,
            }));
        }
    }
    for cell in all {
        let name = format!("{cell:?}");
        let mut cells = Cells::new([3, 4], cell, single(), &pick);
        for call in 0..100 {
            cells.update(&signs(4, 2 * call + 1), &signs(3, 2 * call + 2), 0.5);
        }
        assert!(cells.has_moved(), "{name}");
        let difference = cells.difference();
        assert!(difference <= 1e-6, "{name}: {difference}");
    }
}

/// Reads with noise of all kinds, and writes as trains.
fn noisy() -> IoParameters {
    IoParameters::default().with(|p| {
        p.inp_noise = 0.01;
        p.inp_sto_round = true;
        p.out_noise = 0.05;
        p.out_noise_std = 0.1;
        p.w_noise = 0.02;
        p.w_noise_type = WeightNoise::AdditiveConstant;
        // Levels so fine that a value next to one of them is no matter.
        p.out_res = 1e-6;
    })
}

/// Reads have the noise of the other processor up to a few units in the last place, and so have what is
/// kept of them; a pulse more or less would be a step of 0.002 or more.
#[test]
fn transfers_with_noisy_reads_and_trains() {
    let Some(pick) = adapter() else { return };
    macro_rules! cell {
        ($name:ident { $($field:ident: $value:expr),* $(,)? }) => {
            CellConfig::$name($name::default().with(|p| {
                p.transfer_forward = noisy();
                p.transfer_every = 2.0;
                p.units_in_mbatch = false;
                $(p.$field = $value;)*
            }))
        };
    }
    let random: Crosspoint = CellConfig::VectorUnitCell(VectorUnitCell::default().with(|p| {
        p.unit_cell_devices = vec![soft(0.002), soft(0.003)];
        p.update_policy = VectorUnitCellUpdatePolicy::SingleRandom;
    }))
    .into();
    let pair: Crosspoint = CellConfig::OneSidedUnitCell(
        OneSidedUnitCell::default().with(|p| p.unit_cell_devices = vec![soft(0.002)]),
    )
    .into();
    let fixed = one_by_one().with(|p| {
        p.update_bl_management = false;
        p.update_management = false;
        p.fixed_bl = true;
        p.res = 0.01;
        p.sto_round = true;
        p.desired_bl = 70;
    });
    let mean = one_by_one().with(|p| p.pulse_type = PulseType::MeanCount);
    let into_cells = vec![random.clone(), pair.clone(), pair];
    let written = vec![soft(0.002), written(0.002)];
    let all = [
        cell!(TransferCompound {
            unit_cell_devices: into_cells.clone(),
            gamma: 0.5,
            with_reset_prob: 0.5,
        }),
        cell!(TransferCompound {
            unit_cell_devices: written.clone(),
            transfer_columns: false,
            transfer_update: fixed,
        }),
        cell!(TransferCompound { unit_cell_devices: written.clone(), transfer_update: mean }),
        cell!(BufferedTransferCompound { unit_cell_devices: written, transfer_lr: 3.0 }),
        cell!(ChoppedTransferCompound {
            unit_cell_devices: vec![random.clone(), random.clone()],
            auto_scale: true,
            in_chop_prob: 0.3,
            out_chop_prob: 0.3,
        }),
        cell!(DynamicTransferCompound {
            unit_cell_devices: vec![soft(0.002), random],
            transfer_columns: false,
            in_chop_prob: 0.3,
            gamma: 0.5,
        }),
    ];
    for cell in all {
        let what = format!("{cell:?}");
        let cells = Cells::new([5, 21], cell, one_by_one(), &pick);
        follow(cells, 8, 5, 0.1, 1e-5, &what);
    }
}

#[test]
fn exact_writes() {
    let Some(pick) = adapter() else { return };
    let cell = CellConfig::TransferCompound(TransferCompound::default().with(|p| {
        p.unit_cell_devices = vec![soft(0.002), written(0.002)];
        p.transfer_forward = perfect();
        p.transfer_update =
            UpdateParameters::default().with(|p| p.pulse_type = PulseType::NoneWithDevice);
    }));
    let cells = Cells::new([5, 21], cell, one_by_one(), &pick);
    follow(cells, 8, 3, 0.1, 1e-6, "exact");
}

#[test]
fn refreshes() {
    let Some(pick) = adapter() else { return };
    for refresh_update in [one_by_one(), implicit()] {
        for refresh_forward in [perfect(), noisy()] {
            let cell = CellConfig::OneSidedUnitCell(OneSidedUnitCell::default().with(|p| {
                p.unit_cell_devices = vec![soft(0.02)];
                p.refresh_every = 2;
                p.refresh_upper_thres = 0.3;
                p.refresh_lower_thres = 0.2;
                p.refresh_update = refresh_update.clone();
                p.refresh_forward = refresh_forward;
            }));
            let cells = Cells::new([5, 11], cell, one_by_one(), &pick);
            follow(cells, 6, 6, 0.2, 1e-5, "refresh");
        }
    }
}

#[test]
fn mixed_precision() {
    let Some(pick) = adapter() else { return };
    for n_bins in [0, 5] {
        for device in [soft(0.002), nested()[0].clone(), nested()[1].clone()] {
            let cell =
                CellConfig::MixedPrecisionCompound(MixedPrecisionCompound::default().with(|p| {
                    p.device = device;
                    p.n_x_bins = n_bins;
                    p.n_d_bins = n_bins;
                    p.random_row = true;
                    p.n_rows_per_transfer = 3;
                }));
            let cells = Cells::new([5, 21], cell, one_by_one(), &pick);
            follow(cells, 8, 5, 0.1, 1e-6, "mixed");
        }
    }
}

/// A cell with a bit of everything, and weights in it.
fn moved(pick: &Pick) -> Cells {
    let cell = CellConfig::ChoppedTransferCompound(ChoppedTransferCompound::default().with(|p| {
        p.unit_cell_devices = vec![nested()[0].clone(), nested()[1].clone()];
        p.transfer_forward = perfect();
        p.gamma = 0.7;
        p.in_chop_prob = 0.5;
    }));
    let mut cells = Cells::new([5, 21], cell, one_by_one(), pick);
    for call in 0..4 {
        cells.update(&values(5 * 21, 2 * call + 1), &values(5 * 5, 2 * call + 2), 0.1);
    }
    let difference = cells.difference();
    assert!(difference < 1e-6, "{difference}");
    cells
}

#[test]
fn operations_on_weights() {
    let Some(pick) = adapter() else { return };
    let mut cells = moved(&pick);
    for operation in 0..5 {
        let key = cells.key();
        let Cells { spec, host, copy, card, .. } = &mut cells;
        let spec = spec.cells();
        let before = host.weights.clone();
        let (state, mut other) = (host.borrow(spec), copy.borrow(spec));
        match operation {
            0 => {
                spec.decay(state, 2.0, key).unwrap();
                card.decay(&other, 2.0, key).unwrap();
            }
            1 => {
                spec.diffuse(state, key).unwrap();
                card.diffuse(&other, key).unwrap();
            }
            2 => {
                let clip = WeightClip::FixedValue(0.01);
                spec.clip_weights(state, clip, key).unwrap();
                card.clip_weights(&other, clip, key).unwrap();
            }
            3 => {
                spec.reset_columns(state, 3, 7, 0.7, key).unwrap();
                card.reset_columns(&other, 3, 7, 0.7, key).unwrap();
            }
            _ => {
                let weights = values(5 * 21, 99);
                spec.set_weights(state, &weights, key).unwrap();
                card.set_weights(&mut other, &weights, key).unwrap();
            }
        }
        assert!(cells.host.weights != before, "{operation}");
        let difference = cells.difference();
        assert!(difference < 1e-6, "{operation}: {difference}");
    }
}

#[test]
fn products_see_the_visible_weights() {
    let Some(pick) = adapter() else { return };
    let mut cells = moved(&pick);
    for (direction, n_in, n_out) in [(Direction::Forward, 21, 5), (Direction::Backward, 5, 21)] {
        let (x, key) = (values(3 * n_in, 3), cells.key());
        let (mut y, mut found) = (vec![0.0; 3 * n_out], vec![7.0; 3 * n_out]);
        cells
            .spec
            .mvm(direction)
            .run(Request::new(&x, &cells.host.weights, &mut y, Lines::default(), key))
            .unwrap();
        cells
            .card
            .product(Product {
                direction,
                x: &x,
                bias: None,
                drop_last: false,
                y: &mut found,
                key,
                is_test: false,
                running: None,
                mask: None,
            })
            .unwrap();
        // Levels of the ADC: 1 / 126 of 2 * 12, times the largest input and more.
        assert!(largest_difference(&y, &found) < 0.01, "{direction:?}");
        assert!(y.iter().any(|y| *y != 0.0));
    }
}

#[test]
fn drift_is_refused() {
    let Some(pick) = adapter() else { return };
    let mut soft = SoftBounds::default();
    soft.pulsed.drift.nu = 0.1;
    let cell = CellConfig::VectorUnitCell(
        VectorUnitCell::default()
            .with(|p| p.unit_cell_devices = vec![DeviceConfig::SoftBounds(soft).into()]),
    );
    let spec = CellTileSpec::new(CellTileConfig::new(cell), 2, 3, false).unwrap();
    assert!(matches!(GpuCellTile::check(&spec), Err(Error::Unsupported { .. })));
    assert!(matches!(GpuCellTile::new(spec, &pick), Err(Error::Unsupported { .. })));
}

/// Noise of pulses has draws of its own, of the same distribution.
#[test]
fn noise_of_pulses() {
    let Some(pick) = adapter() else { return };
    let noisy = || {
        let pulsed = exact(FAST).with(|p| p.dw_min_std = 1.0);
        let device: Crosspoint =
            DeviceConfig::ConstantStep(ConstantStep::default().with(|p| p.pulsed = pulsed)).into();
        device
    };
    let cell =
        CellConfig::BufferedTransferCompound(BufferedTransferCompound::default().with(|p| {
            p.unit_cell_devices = vec![noisy(), noisy()];
            p.transfer_forward = perfect();
            p.transfer_every = 0.25;
        }));
    const SIZES: [usize; 2] = [40, 60];
    let mut cells = Cells::new(SIZES, cell, UpdateParameters::default(), &pick);
    // Every crosspoint sees the same, so they are as many samples.
    for _ in 0..40 {
        cells.update(&[1.0; 4 * SIZES[1]], &[-0.5; 4 * SIZES[0]], 0.01);
    }
    cells.download();
    for name in ["hidden_weights_0", "hidden_weights_1"] {
        let slots = cells.spec.cells().slots();
        let at = slots.iter().position(|slot| slot.name == name);
        let of = |state: &State| match at.map(|at| &state.entries[at]) {
            Some(Some(OwnedEntry::Floats(values))) => moments(values),
            _ => moments(&state.weights),
        };
        let ([mean, std], [other, other_std]) = (of(&cells.host), of(&cells.copy));
        let count = (SIZES[0] * SIZES[1]) as f64;
        // Five deviations of the differences of means and of deviations.
        assert!(std > 0.0 && mean > 0.0, "{name}");
        let error = 5.0 * std * (2.0 / count).sqrt();
        assert!((mean - other).abs() < error, "{name}: {mean} and {other}, up to {error}");
        assert!((std - other_std).abs() < error, "{name}: {std} and {other_std}, up to {error}");
    }
}

/// Mean and deviation.
fn moments(values: &[f32]) -> [f64; 2] {
    let count = values.len() as f64;
    let mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / count;
    let square = values.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum::<f64>();
    [mean, (square / count).sqrt()]
}
