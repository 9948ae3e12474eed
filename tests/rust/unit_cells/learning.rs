//! Learning of a noisy linear map, against figures measured with aihwkit 1.2: medians of the relative
//! error of the weights over seven seeds.

use mho_core::UpdateParameters;
use mho_core::devices::{ConstantStep, DeviceConfig, PulsedParameters, SoftBoundsReference};
use mho_core::rng::{Key, Stream};
use mho_core::unit_cells::{
    BufferedTransferCompound, CellConfig, CellTile, ChoppedTransferCompound, Crosspoint,
    DynamicTransferCompound, MixedPrecisionCompound, OneSidedUnitCell, ReferenceUnitCell,
    TransferCompound, VectorUnitCell, VectorUnitCellUpdatePolicy,
};

use super::{floats, perfect, set, tile_with};

const ROWS: usize = 10;
const COLUMNS: usize = 20;
const BATCH: usize = 10;

fn uniform(len: usize, seed: u64, call: u64, scale: f32) -> Vec<f32> {
    let mut out = vec![0.0; len];
    Key::new(seed, call).stream(Stream::Weights).fill_uniform(0, 0, &mut out);
    out.iter_mut().for_each(|value| *value = scale * (2.0 * *value - 1.0));
    out
}

/// Devices of the experiment, whose symmetry points spread by `offset`.
fn device(offset: f64, dw_min: f64) -> Crosspoint {
    let pulsed = PulsedParameters::default().with(|p| {
        p.dw_min = dw_min;
        p.w_max = 1.0;
        p.w_min = -1.0;
        p.w_max_dtod = 0.1;
        p.w_min_dtod = 0.1;
        p.up_down_dtod = 0.1;
        p.reset_std = 0.0;
    });
    DeviceConfig::SoftBoundsReference(SoftBoundsReference::default().with(|p| {
        p.pulsed = pulsed;
        p.subtract_symmetry_point = true;
        p.reference_mean = 0.0;
        p.reference_std = offset;
    }))
    .into()
}

struct Task {
    cell: CellConfig,
    update: UpdateParameters,
    lr: f64,
    batches: u64,
    /// What is done to a new tile.
    prepare: fn(&mut CellTile),
}

impl Task {
    fn new(cell: CellConfig, lr: f64) -> Self {
        let update = UpdateParameters::default();
        Self { cell, update, lr, batches: 4000, prepare: |_| {} }
    }

    fn with_bl(mut self, desired_bl: i64) -> Self {
        self.update.desired_bl = desired_bl;
        self
    }

    /// Relative error of the weights, averaged over the last fifth.
    fn error(&self, seed: u64) -> f64 {
        let mut tile = tile_with(ROWS, COLUMNS, self.cell.clone(), self.update.clone(), seed);
        (self.prepare)(&mut tile);
        tile.set_weights(&[0.0; ROWS * COLUMNS]).unwrap();
        let teacher = uniform(ROWS * COLUMNS, seed, 1 << 40, 0.6);
        let size: f64 = teacher.iter().map(|w| f64::from(*w).powi(2)).sum();
        let (mut sum, mut count) = (0.0, 0.0);
        for number in 0..self.batches {
            let x = uniform(BATCH * COLUMNS, seed, number, 1.0);
            let mut d = vec![0.0; BATCH * ROWS];
            Key::new(seed, number).stream(Stream::Read).fill_normal(0, 0, &mut d);
            for (x, d) in x.chunks(COLUMNS).zip(d.chunks_mut(ROWS)) {
                let weights = tile.weights().chunks(COLUMNS).zip(teacher.chunks(COLUMNS));
                for (d, (w, t)) in d.iter_mut().zip(weights) {
                    let error: f32 = w.iter().zip(t).zip(x).map(|((w, t), x)| (w - t) * x).sum();
                    *d = error - 0.3 * *d;
                }
            }
            tile.update(&x, &d, self.lr).unwrap();
            if number >= self.batches * 4 / 5 && number % 10 == 0 {
                let pairs = tile.weights().iter().zip(&teacher);
                let distance: f64 = pairs.map(|(w, t)| f64::from(w - t).powi(2)).sum();
                sum += (distance / size).sqrt();
                count += 1.0;
            }
        }
        sum / count
    }

    fn median(&self) -> f64 {
        let mut errors: Vec<f64> = (1..=7).map(|seed| self.error(seed)).collect();
        errors.sort_by(f64::total_cmp);
        errors[3]
    }
}

fn tiki_taka(offset: f64) -> Task {
    let cell = TransferCompound::default().with(|p| {
        p.unit_cell_devices = vec![device(offset, 0.01), device(0.0, 0.01)];
        p.transfer_forward = perfect();
    });
    Task::new(CellConfig::TransferCompound(cell), 0.03)
}

fn buffered(offset: f64) -> Task {
    let cell = BufferedTransferCompound::default().with(|p| {
        p.unit_cell_devices = vec![device(offset, 0.01), device(0.0, 0.01)];
        p.transfer_forward = perfect();
        p.units_in_mbatch = false;
        p.fast_lr = 0.1;
        p.scale_fast_lr = false;
    });
    Task::new(CellConfig::BufferedTransferCompound(cell), 0.01).with_bl(5)
}

fn chopped(offset: f64, in_chop_prob: f64) -> Task {
    let cell = ChoppedTransferCompound::default().with(|p| {
        p.unit_cell_devices = vec![device(offset, 0.01), device(0.0, 0.01)];
        p.transfer_forward = perfect();
        p.in_chop_prob = in_chop_prob;
        p.fast_lr = 0.5;
        p.auto_scale = true;
    });
    Task::new(CellConfig::ChoppedTransferCompound(cell), 0.01).with_bl(5)
}

fn dynamic(offset: f64) -> Task {
    let cell = DynamicTransferCompound::default().with(|p| {
        p.unit_cell_devices = vec![device(offset, 0.01), device(0.0, 0.01)];
        p.transfer_forward = perfect();
        p.transfer_update = UpdateParameters::default().with(|p| p.desired_bl = 1);
        p.in_chop_prob = 0.1;
        p.fast_lr = 0.5;
        p.auto_scale = true;
    });
    Task::new(CellConfig::DynamicTransferCompound(cell), 0.01).with_bl(5)
}

fn mixed() -> Task {
    let cell = MixedPrecisionCompound::default().with(|p| p.device = device(0.0, 0.01));
    Task::new(CellConfig::MixedPrecisionCompound(cell), 0.01)
}

fn vector(count: usize, update_policy: VectorUnitCellUpdatePolicy) -> Task {
    let cell = VectorUnitCell::default().with(|p| {
        p.unit_cell_devices = vec![device(0.0, 0.01); count];
        p.update_policy = update_policy;
    });
    Task::new(CellConfig::VectorUnitCell(cell), 0.01)
}

/// Transfers into a device with larger steps, and the fast device seen as well.
fn residual(gamma: f64) -> Task {
    let cell = TransferCompound::default().with(|p| {
        p.unit_cell_devices = vec![device(0.0, 0.01), device(0.0, 0.05)];
        p.transfer_forward = perfect();
        p.gamma = gamma;
    });
    Task::new(CellConfig::TransferCompound(cell), 0.03)
}

/// A pair of one-sided devices without variation.
fn pair(refresh_every: i64, desired_bl: i64) -> Task {
    let pulsed = super::exact(0.01).with(|p| {
        p.w_min = 0.0;
        p.dw_min_std = 0.3;
    });
    let cell = OneSidedUnitCell::default().with(|p| {
        p.unit_cell_devices = vec![
            DeviceConfig::ConstantStep(ConstantStep::default().with(|p| p.pulsed = pulsed)).into(),
        ];
        p.refresh_every = refresh_every;
        p.refresh_forward = perfect();
        p.refresh_update = UpdateParameters::default().with(|p| p.desired_bl = desired_bl);
    });
    Task { batches: 1000, ..Task::new(CellConfig::OneSidedUnitCell(cell), 0.01) }
}

#[test]
#[ignore = "minutes in a slow build"]
fn errors_of_the_published_algorithms() {
    use VectorUnitCellUpdatePolicy::{All, SingleRandom};
    // Name, task, measured error, allowed deviation.
    let tasks = [
        ("sgd", vector(1, All), 0.388, 0.3),
        ("two devices", vector(2, SingleRandom), 0.367, 0.3),
        ("four devices", vector(4, SingleRandom), 0.358, 0.3),
        ("all of four devices", vector(4, All), 0.380, 0.3),
        ("mixed precision", mixed(), 0.091, 0.2),
        ("tt", tiki_taka(0.0), 0.057, 0.2),
        ("tt, 0.1", tiki_taka(0.1), 0.127, 0.3),
        ("tt, 0.3", tiki_taka(0.3), 0.667, 0.3),
        ("buffered", buffered(0.0), 0.051, 0.2),
        ("buffered, 0.1", buffered(0.1), 0.131, 0.3),
        ("buffered, 0.3", buffered(0.3), 1.417, 0.3),
        ("ttv2", chopped(0.0, 0.0), 0.054, 0.2),
        ("ttv2, 0.1", chopped(0.1, 0.0), 0.124, 0.3),
        ("ttv2, 0.3", chopped(0.3, 0.0), 0.883, 0.3),
        ("ttv3", chopped(0.0, 0.02), 0.057, 0.2),
        ("ttv3, 0.1", chopped(0.1, 0.02), 0.100, 0.3),
        ("ttv3, 0.3", chopped(0.3, 0.02), 0.292, 0.3),
        ("ttv4", dynamic(0.0), 0.051, 0.2),
        ("ttv4, 0.1", dynamic(0.1), 0.052, 0.2),
        ("ttv4, 0.3", dynamic(0.3), 0.052, 0.2),
        ("residual, 0", residual(0.0), 0.109, 0.3),
        ("residual, 0.1", residual(0.1), 0.094, 0.3),
        ("residual, 0.5", residual(0.5), 0.104, 0.3),
        ("pair", pair(0, 31), 1.00, 0.3),
        ("pair, 31 pulses", pair(10, 31), 0.236, 0.3),
        ("pair, 100 pulses", pair(10, 100), 0.132, 0.3),
    ];
    let mut wrong = Vec::new();
    for (name, task, measured, deviation) in tasks {
        let found = task.median();
        println!("{name}: {found:.3}, {measured:.3} in aihwkit");
        if (found / measured - 1.0).abs() > deviation {
            wrong.push(format!("{name}: {found:.3} instead of {measured:.3}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Infinitely fine steps leave the asymmetry: gradient descent learns no better than with 1000 states, for which
/// aihwkit has 0.365, and transfers as well as with steps.
#[test]
#[ignore = "minutes in a slow build"]
fn infinitely_fine_steps() {
    let sgd = VectorUnitCell::default().with(|p| p.unit_cell_devices = vec![device(0.0, 0.0)]);
    let error = Task::new(CellConfig::VectorUnitCell(sgd), 0.01).median();
    println!("sgd: {error:.3}");
    assert!((error / 0.365 - 1.0).abs() < 0.3, "{error}");
    let transfer = TransferCompound::default().with(|p| {
        p.unit_cell_devices = vec![device(0.0, 0.0), device(0.0, 0.0)];
        p.transfer_forward = perfect();
    });
    let error = Task::new(CellConfig::TransferCompound(transfer), 0.03).median();
    println!("tt: {error:.3}");
    assert!(error < 0.1, "{error}");
}

/// A reference at the symmetry point of the fast device takes its offset away.
#[test]
#[ignore = "minutes in a slow build"]
fn zero_shifting() {
    let fast = CellConfig::ReferenceUnitCell(
        ReferenceUnitCell::default()
            .with(|p| p.unit_cell_devices = vec![device(0.3, 0.01), device(0.0, 0.01)]),
    );
    let cell = ChoppedTransferCompound::default().with(|p| {
        p.unit_cell_devices = vec![fast.into(), device(0.0, 0.01)];
        p.transfer_forward = perfect();
        p.in_chop_prob = 0.0;
        p.fast_lr = 0.5;
        p.auto_scale = true;
    });
    let task = Task::new(CellConfig::ChoppedTransferCompound(cell), 0.01).with_bl(5);
    // Without a programmed reference the offset counts in full.
    let error = task.median();
    assert!((error / 0.864 - 1.0).abs() < 0.3, "{error}");
    let error = Task { prepare: program_reference, ..task }.median();
    assert!((error / 0.058 - 1.0).abs() < 0.3, "{error}");
}

/// Sets the reference to the weight at which pulses up and down of the device have the same size.
fn program_reference(tile: &mut CellTile) {
    let of = |name: &str| floats(tile, &format!("{name}_0_0"));
    let (up, down) = (of("dwmin_up"), of("dwmin_down"));
    let (max, min, reference) = (of("max_bound"), of("min_bound"), of("reference"));
    let point =
        |at: usize| (up[at] - down[at]) / (up[at] / max[at] - down[at] / min[at]) - reference[at];
    let points: Vec<f32> = (0..up.len()).map(point).collect();
    set(tile, "hidden_weights_1_0", &points);
}
