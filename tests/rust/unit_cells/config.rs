//! Configurations: what Python writes, and what is refused.

use mho_core::config::PulseType;
use mho_core::devices::{DeviceConfig, Ideal, PowStep};
use mho_core::unit_cells::{
    CellConfig, CellSpec, CellTileConfig, ChoppedTransferCompound, Crosspoint,
    DynamicTransferCompound, MixedPrecisionCompound, OneSidedUnitCell, ReferenceUnitCell,
    TransferCompound, VectorUnitCell,
};
use mho_core::{Error, UpdateParameters};

use super::{constant, exact, step};

/// The fields of all cells with their defaults, but the devices, as the Python package writes them.
const DEFAULTS: &str = include_str!("defaults.json");

#[test]
fn defaults_are_those_of_python() {
    let defaults: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(DEFAULTS).unwrap();
    assert_eq!(defaults.len(), CellConfig::NAMES.len());
    for (name, params) in defaults {
        let text = serde_json::json!({"type": name, "params": params}).to_string();
        let cell: CellConfig = serde_json::from_str(&text).unwrap();
        let written = serde_json::to_value(&cell).unwrap();
        let mut fields = written["params"].as_object().unwrap().clone();
        fields.remove("unit_cell_devices");
        fields.remove("device");
        assert_eq!(serde_json::Value::Object(fields), params, "{name}");
        // And nothing else was left to the defaults of Rust.
        let empty: CellConfig =
            serde_json::from_str(&format!(r#"{{"type": "{name}", "params": {{}}}}"#)).unwrap();
        assert_eq!(cell, empty, "{name}");
    }
}

#[test]
fn nested_cells_are_read_and_written() {
    let inner = CellConfig::OneSidedUnitCell(
        OneSidedUnitCell::default().with(|p| p.unit_cell_devices = vec![step(0.01)]),
    );
    let cell = CellConfig::TransferCompound(TransferCompound::default().with(|p| {
        p.unit_cell_devices = vec![inner.into(), DeviceConfig::PowStep(PowStep::default()).into()]
    }));
    let config = CellTileConfig::new(cell);
    let text = serde_json::to_string(&config).unwrap();
    assert_eq!(CellTileConfig::from_json(&text).unwrap(), config);
}

fn message(text: &str) -> String {
    match CellTileConfig::from_json(text) {
        Err(Error::Config { field, why }) => format!("{field}: {why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn wrong_fields_are_named() {
    let of_device = |device: &str| {
        message(&format!(
            r#"{{"device": {{"type": "VectorUnitCell",
                 "params": {{"unit_cell_devices": [{device}]}}}}}}"#
        ))
    };
    let text = of_device(r#"{"type": "ConstantStep", "params": {"pulsed": {"dw_mim": 1.0}}}"#);
    assert!(text.contains("dw_mim") && text.contains("unit_cell_devices"), "{text}");
    let text = of_device(r#"{"type": "ConstantStep", "params": {"pulsed": {"dw_min": "x"}}}"#);
    assert!(text.contains("dw_min") && text.contains("unit_cell_devices"), "{text}");
    let text = of_device(r#"{"type": "Nothing", "params": {}}"#);
    assert!(text.contains("Nothing"), "{text}");
    let text = of_device(r#"{"type": "VectorUnitCell", "params": {"gamma": []}}"#);
    assert!(text.contains("gamma"), "{text}");
    let text = of_device("3");
    assert!(text.contains("unit_cell_devices"), "{text}");
    let text = message(r#"{"device": {"type": "TransferCompound", "params": {"gama": 1.0}}}"#);
    assert!(text.contains("gama"), "{text}");
}

/// The error of a cell with default pulse generation names the field and, in part, why.
fn refused(cell: CellConfig, field: &str, why: &str) {
    refused_with(cell, &UpdateParameters::default(), field, why);
}

fn refused_with(cell: CellConfig, update: &UpdateParameters, field: &str, why: &str) {
    match CellSpec::new(&cell, update, 3, 4, false) {
        Err(Error::Config { field: found, why: reason }) => {
            assert_eq!(found, field, "{reason}");
            assert!(reason.contains(why), "{reason}");
        }
        other => panic!("{field}: {:?}", other.map(|_| ())),
    }
}

#[test]
fn impossible_cells_are_refused() {
    let two = || vec![step(0.01), step(0.02)];
    refused(
        CellConfig::VectorUnitCell(VectorUnitCell::default()),
        "device.unit_cell_devices",
        "needs devices",
    );
    refused(
        CellConfig::ReferenceUnitCell(ReferenceUnitCell::default()),
        "device.unit_cell_devices",
        "needs devices",
    );
    refused(
        CellConfig::MixedPrecisionCompound(MixedPrecisionCompound::default()),
        "device.device.unit_cell_devices",
        "needs devices",
    );
    refused(
        CellConfig::OneSidedUnitCell(
            OneSidedUnitCell::default()
                .with(|p| p.unit_cell_devices = vec![step(0.01), step(0.01), step(0.01)]),
        ),
        "device.unit_cell_devices",
        "1 or 2",
    );
    refused(
        CellConfig::OneSidedUnitCell(OneSidedUnitCell::default().with(|p| {
            p.unit_cell_devices = vec![step(0.01), DeviceConfig::PowStep(PowStep::default()).into()]
        })),
        "device.unit_cell_devices",
        "one kind",
    );
    refused(
        CellConfig::OneSidedUnitCell(OneSidedUnitCell::default().with(|p| {
            p.unit_cell_devices = vec![DeviceConfig::PowStep(PowStep::default()).into()];
            p.copy_inverted = true;
        })),
        "device.copy_inverted",
        "no mirror image",
    );
    let mut unbounded = exact(0.01);
    unbounded.w_max = 0.0;
    refused(
        CellConfig::OneSidedUnitCell(OneSidedUnitCell::default().with(|p| {
            p.unit_cell_devices = vec![constant(unbounded)];
            p.refresh_every = 1;
        })),
        "device.refresh_every",
        "w_max",
    );
    let vector = |change: fn(&mut VectorUnitCell)| {
        let mut cell = VectorUnitCell::default().with(|p| p.unit_cell_devices = two());
        change(&mut cell);
        CellConfig::VectorUnitCell(cell)
    };
    refused(vector(|cell| cell.gamma_vec = vec![1.0]), "device.gamma_vec", "each of the 2");
    refused(vector(|cell| cell.first_update_idx = 2), "device.first_update_idx", "between 0 and 1");
    refused(vector(|cell| cell.first_update_idx = -1), "device.first_update_idx", "between");
    refused(
        vector(|cell| {
            cell.unit_cell_devices[1] = DeviceConfig::Ideal(Ideal::default()).into();
        }),
        "device.unit_cell_devices[1]",
        "no pulses",
    );
    let mut counting = exact(0.01);
    counting.count_pulses = true;
    let mut broken = exact(0.01);
    broken.dw_min = -1.0;
    for (pulsed, field) in [(counting, "count_pulses"), (broken, "dw_min")] {
        let cell = VectorUnitCell::default().with(|p| p.unit_cell_devices = vec![constant(pulsed)]);
        let field = format!("device.unit_cell_devices[0].{field}");
        refused(CellConfig::VectorUnitCell(cell), &field, "");
    }
    let transfer = TransferCompound::default().with(|p| p.unit_cell_devices = two());
    let cell: Crosspoint = CellConfig::TransferCompound(transfer).into();
    refused(
        CellConfig::VectorUnitCell(
            VectorUnitCell::default().with(|p| p.unit_cell_devices = vec![cell]),
        ),
        "device.unit_cell_devices[0]",
        "cannot be a part",
    );
}

#[test]
fn impossible_transfers_are_refused() {
    let two = || vec![step(0.01), step(0.02)];
    let transfer = |change: fn(&mut TransferCompound)| {
        let mut cell = TransferCompound::default().with(|p| p.unit_cell_devices = two());
        change(&mut cell);
        CellConfig::TransferCompound(cell)
    };
    refused(
        transfer(|cell| cell.unit_cell_devices.truncate(1)),
        "device.unit_cell_devices",
        "2 or more",
    );
    refused(transfer(|cell| cell.gamma_vec = vec![1.0, 0.0]), "device.gamma_vec", "last device");
    refused(transfer(|cell| cell.n_reads_per_transfer = 0), "device.n_reads_per_transfer", "");
    refused(transfer(|cell| cell.with_reset_prob = 1.5), "device.with_reset_prob", "0 and 1");
    refused(
        transfer(|cell| (cell.with_reset_prob, cell.transfer_columns) = (0.5, false)),
        "device.with_reset_prob",
        "only columns",
    );
    refused(transfer(|cell| cell.transfer_lr = f64::NAN), "device.transfer_lr", "finite");
    refused(transfer(|cell| cell.transfer_lr_vec = vec![1.0]), "device.transfer_lr_vec", "each");
    refused(
        transfer(|cell| cell.transfer_update.desired_bl = 0),
        "device.transfer_update.desired_bl",
        "",
    );
    refused(
        transfer(|cell| cell.transfer_forward.out_res = f64::NAN),
        "device.transfer_forward.out_res",
        "",
    );
    let chopped = |change: fn(&mut ChoppedTransferCompound)| {
        let mut cell = ChoppedTransferCompound::default().with(|p| p.unit_cell_devices = two());
        change(&mut cell);
        CellConfig::ChoppedTransferCompound(cell)
    };
    refused(
        chopped(|cell| cell.unit_cell_devices.push(step(0.01))),
        "device.unit_cell_devices",
        "exactly 2",
    );
    refused(chopped(|cell| cell.n_reads_per_transfer = 2), "device.n_reads_per_transfer", "be 1");
    refused(chopped(|cell| cell.random_selection = true), "device.random_selection", "");
    refused(chopped(|cell| cell.with_reset_prob = 0.1), "device.with_reset_prob", "be 0");
    refused(chopped(|cell| cell.in_chop_prob = -0.1), "device.in_chop_prob", "0 and 1");
    refused(
        CellConfig::DynamicTransferCompound(DynamicTransferCompound::default().with(|p| {
            p.unit_cell_devices = two();
            p.in_chop_prob = 0.0;
        })),
        "device.in_chop_prob",
        "positive",
    );
    refused(
        CellConfig::MixedPrecisionCompound(MixedPrecisionCompound::default().with(|p| {
            p.device = step(0.01);
            p.n_d_bins = 1;
        })),
        "device.n_d_bins",
        "at least 2",
    );
}

#[test]
fn updates_without_pulses_are_refused() {
    let cells = [
        CellConfig::VectorUnitCell(
            VectorUnitCell::default().with(|p| p.unit_cell_devices = vec![step(0.01)]),
        ),
        CellConfig::TransferCompound(
            TransferCompound::default()
                .with(|p| p.unit_cell_devices = vec![step(0.01), step(0.01)]),
        ),
    ];
    for cell in cells {
        for pulse_type in [PulseType::None, PulseType::NoneWithDevice] {
            let update = UpdateParameters::default().with(|p| p.pulse_type = pulse_type);
            refused_with(cell.clone(), &update, "update.pulse_type", "");
        }
    }
}

/// Names of the state are those of the standard, with a number for each level.
#[test]
fn names_of_the_state() {
    let inner = CellConfig::VectorUnitCell(
        VectorUnitCell::default().with(|p| p.unit_cell_devices = vec![step(0.01), step(0.01)]),
    );
    let names = |cell| {
        let spec = CellSpec::new(&cell, &UpdateParameters::default(), 3, 4, false).unwrap();
        spec.slots().into_iter().map(|slot| slot.name).collect::<Vec<_>>()
    };
    let of_transfer = names(CellConfig::TransferCompound(
        TransferCompound::default()
            .with(|p| p.unit_cell_devices = vec![inner.clone().into(), step(0.01)]),
    ));
    let base = [
        "max_bound",
        "min_bound",
        "dwmin_up",
        "dwmin_down",
        "decay_scales",
        "diffusion_rates",
        "reset_bias",
        "drift_nu",
    ];
    let mut expected = Vec::new();
    for suffix in ["_0_0", "_1_0"] {
        expected.extend(base.map(|name| format!("{name}{suffix}")));
        expected.push(format!("hidden_weights{suffix}"));
    }
    expected.push("hidden_weights_0".to_owned());
    // The last device has the visible weights.
    expected.extend(base.map(|name| format!("{name}_1")));
    assert_eq!(of_transfer[..expected.len()], expected);
    let of_mixed = names(CellConfig::MixedPrecisionCompound(
        MixedPrecisionCompound::default().with(|p| p.device = inner.into()),
    ));
    assert!(of_mixed.contains(&"hidden_weights_1".to_owned()));
    assert!(of_mixed.contains(&"hidden_weights_chi".to_owned()));
}
