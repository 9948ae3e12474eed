//! Layers that Python has trained for inference, programmed and aged here.

use mho_core::inference::InferenceTile;
use mho_core::layer::InferenceLinear;
use mho_core::state::{AnyTile, SavedLayer, SavedModel, Tensor, Values};
use mho_core::{Error, Tile, TileConfig};
use proptest::prelude::*;

use super::files::{data, product};
use super::next::numbers;

const YEAR: f64 = 365.0 * 24.0 * 3600.0;

/// Ranges, scales, learned scales and biases of four tiles, and the random numbers of the saved layer.
#[test]
fn a_layer_goes_on_with_the_same_bits() {
    let mut model = SavedModel::open(data("model")).unwrap();
    let mut layer = InferenceLinear::from_saved(&model.layers["first"], 1).unwrap();
    assert_eq!((layer.in_features(), layer.out_features(), layer.tiles().count()), (7, 5, 4));
    let x = numbers(3, 7, 0);
    assert_eq!(layer.forward(&x).unwrap(), product(&mut model, "first", &x, 7));
}

#[test]
fn tiles_that_computed_in_torch_have_seeds_of_their_own() {
    let mut model = SavedModel::open(data("states.safetensors")).unwrap();
    let layer = InferenceLinear::from_saved(&model.layers["torch_scales"], 5).unwrap();
    assert_eq!(layer.tiles().next().unwrap().tile().seed(), 5);
    let saved = model.layers.get_mut("torch_scales").unwrap();
    assert_eq!(
        saved.tile().unwrap().tile.weights(),
        layer.tiles().next().unwrap().tile().weights()
    );
}

#[test]
fn programmed_weights_are_taken_over() {
    let model = SavedModel::open(data("states.safetensors")).unwrap();
    let saved = &model.layers["inference_drifted"];
    let periphery = &saved.tile().unwrap().periphery;
    let others = &periphery.others;
    let entry = |name: &str| others[name].floats().unwrap();
    let mut layer = InferenceLinear::from_saved(saved, 1).unwrap();
    let tile = layer.tiles().next().unwrap();
    let drifted = saved.tile().unwrap().tile.weights();
    assert!(tile.tile().weights() == drifted && drifted != entry("programmed_weights"));
    assert_eq!(Some(tile.alpha()), periphery.alpha.as_deref());
    let state = tile.programming().unwrap();
    let programmed = &state.programmed;
    assert_eq!(programmed.reference_combined_weights(), entry("reference_combined_weights"));
    let parameters = programmed.drift_noise_parameters();
    let groups = others.keys().filter(|name| name.starts_with("drift_noise_parameters"));
    assert!(!parameters.is_empty() && parameters.len() == groups.count());
    assert_eq!(parameters[0], entry("drift_noise_parameters.0"));
    assert_eq!(state.drift_baseline, entry("drift_baseline"));
    let drifted = drifted.to_vec();
    layer.drift_weights(YEAR).unwrap();
    assert_ne!(layer.tiles().next().unwrap().tile().weights(), drifted);
}

#[test]
fn all_tiles_are_programmed_and_drift_or_none() {
    let model = SavedModel::open(data("model")).unwrap();
    let new = |seed| InferenceLinear::from_saved(&model.layers["first"], seed).unwrap();
    let (mut layer, mut twin) = (new(1), new(1));
    layer.program_weights().unwrap();
    assert!(layer.tiles().all(|tile| tile.programming().is_some() && tile.events() == 1));
    layer.drift_weights(YEAR).unwrap();
    let (events, before) = (|tile: &InferenceTile| tile.events(), layer.clone());
    assert!(matches!(layer.drift_weights(-1.0), Err(Error::Argument { .. })));
    assert!(layer.tiles().map(events).eq(before.tiles().map(events)));
    // Programming comes first where it was not done.
    twin.drift_weights(YEAR).unwrap();
    let x = numbers(2, 7, 0);
    assert_eq!(layer.forward(&x).unwrap(), twin.forward(&x).unwrap());
    // Tiles, and layers of other seeds, have errors of their own.
    let errors = |layer: &InferenceLinear| -> Vec<f32> {
        let error = |tile: &InferenceTile| {
            let state = &tile.programming().unwrap().programmed;
            state.weights()[0] - state.reference_combined_weights()[0]
        };
        layer.tiles().map(error).collect()
    };
    let mut other = new(2);
    other.program_weights().unwrap();
    let mut all = [errors(&layer), errors(&other)].concat();
    all.sort_by(f32::total_cmp);
    all.dedup();
    assert_eq!(all.len(), 8);
}

#[track_caller]
fn refused(layer: &SavedLayer, what: &str) {
    let error = InferenceLinear::from_saved(layer, 1).unwrap_err().to_string();
    assert!(error.starts_with(what), "{error}");
}

#[test]
fn what_is_no_layer_for_inference_is_refused_by_name() {
    let model = SavedModel::open(data("model")).unwrap();
    refused(&model.layers["last"], "AnalogTile is not supported");
    let own: AnyTile = Tile::new(2, 3, &TileConfig::default(), 1).unwrap().into();
    let mut built = SavedModel::default();
    refused(built.insert("own", own).unwrap(), "a tile that was not made in Python");
    let changed = |change: fn(&mut SavedLayer)| {
        let mut layer = model.layers["first"].clone();
        change(&mut layer);
        layer
    };
    let of_conv = changed(|layer| layer.class = Some("mho.nn.AnalogConv2d".to_owned()));
    refused(&of_conv, "layer AnalogConv2d is not supported");
    let quantised = changed(|layer| {
        let scale = Tensor::new(vec![1], Values::F32(vec![1.0])).unwrap();
        layer.tiles[1][0].periphery.others.insert("bias_quantizer.scale".to_owned(), scale);
    });
    refused(&quantised, "bias_quantizer.scale is not supported");
    let zero = changed(|layer| layer.tiles[0][1].periphery.input_range = Some(0.0));
    let state =
        |error: Error| matches!(error, Error::State { why } if why.starts_with("input_range"));
    assert!(state(InferenceLinear::from_saved(&zero, 1).unwrap_err()));
}

proptest! {
    #![proptest_config(super::cases(64))]

    /// Layers are plain data, which anybody may have changed: what does not fit is an error.
    #[test]
    fn changed_layers_are_refused_or_work(
        counts in prop::collection::vec(0usize..5, 4),
        range in any::<Option<f32>>(),
        (column, row) in (0usize..2, 0usize..2),
        dropped in prop::option::of((0usize..2, any::<bool>())),
        (t_inference, samples) in (any::<f64>(), 0usize..20),
    ) {
        let model = SavedModel::open(data("model")).unwrap();
        let mut layer = model.layers["first"].clone();
        let periphery = &mut layer.tiles[column][row].periphery;
        let vector = |count: usize| (count > 0).then(|| vec![0.5; count]);
        periphery.mapping_scales = vector(counts[0]);
        periphery.out_scaling_alpha = vector(counts[1]);
        periphery.bias = vector(counts[2]);
        periphery.input_range = range;
        layer.bias = vector(counts[3]);
        if let Some((part, all)) = dropped {
            if all { layer.tiles.clear() } else { layer.tiles[part].truncate(1) }
        }
        let Ok(mut layer) = InferenceLinear::from_saved(&layer, 3) else { return Ok(()) };
        let _ = layer.drift_weights(t_inference);
        if let Ok(y) = layer.forward(&vec![0.5; samples]) {
            prop_assert_eq!(y.len() * layer.in_features(), samples * layer.out_features());
        }
    }
}
