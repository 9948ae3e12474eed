//! Layers made from a configuration for inference: what acts in evaluation, and that training is refused.

use mho_core::config::{InputRangeParameter, MappingParameter, WeightClipType};
use mho_core::inference::{InferenceConfig, InferenceTile, StateIndependentNoiseModel};
use mho_core::layer::{Linear, LinearParameters, RawTile};
use mho_core::tile::Pass;
use mho_core::{Error, IoParameters, Result, TileConfig, presets};

const WEIGHTS: [f32; 4] = [0.5, -0.25, 0.1, 0.8];

/// The mapping and input ranges of the preset around exact products and devices without noise.
fn config() -> InferenceConfig {
    let mut config = presets::standard_hwa_training();
    config.forward = IoParameters::perfect();
    let mut model = StateIndependentNoiseModel::default();
    (model.prog_noise_scale, model.read_noise_scale) = (0.0, 0.0);
    (model.drift_nu_mean, model.drift_nu_std) = (0.05, 0.0);
    config.noise_model = model.into();
    config
}

fn layer(config: &InferenceConfig) -> Linear<InferenceTile> {
    let mut layer = Linear::for_inference(2, 2, true, config, 1).unwrap();
    layer.set_weights(&WEIGHTS, Some(&[0.3, 0.4])).unwrap();
    layer
}

#[track_caller]
fn close(found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len());
    let is_close = |(f, e): (&f32, &f32)| (f - e).abs() <= tolerance;
    assert!(found.iter().zip(expected).all(is_close), "{found:?} instead of {expected:?}");
}

#[track_caller]
fn refused<T>(result: Result<T>, start: &str) {
    let Err(error) = result else { panic!("{start} was taken") };
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    assert!(error.to_string().starts_with(&format!("{start} is not supported")), "{error}");
}

#[test]
fn mapping_and_input_ranges_act() {
    let mut layer = layer(&config());
    assert_eq!(layer.mapping_scales().collect::<Vec<_>>(), [[0.5, 0.8]]);
    // A few roundings of numbers below 2.
    close(RawTile::weights(layer.tiles().next().unwrap()), &[1.0, -0.5, 0.125, 1.0], 1e-6);
    assert_eq!(layer.input_ranges().next().unwrap().value(), 3.0);
    layer.input_ranges_mut().next().unwrap().set(1.0).unwrap();
    // The first input is clipped to 1.
    close(&layer.forward(&[2.0, 0.5], Pass::Test).unwrap(), &[0.675, 0.9], 1e-6);
}

#[test]
fn weights_of_a_layer_drift_and_outputs_are_corrected() {
    let mut layer = layer(&config());
    layer.tiles_mut().try_for_each(|tile| tile.drift_weights(1e6)).unwrap();
    let left = ((1e6f32 + 20.0) / 20.0).powf(-0.05);
    // Powers and readouts are exact to some roundings of f32, those of numbers below 2.
    close(&layer.weights().unwrap(), &WEIGHTS.map(|w| w * left), 5e-6);
    close(&layer.forward(&[1.0, 0.5], Pass::Test).unwrap(), &[0.675, 0.9], 5e-6);
    layer.set_weights(&WEIGHTS, None).unwrap();
    assert!(layer.tiles().all(|tile| tile.programming().is_none()));
}

#[test]
fn large_layers_are_split_as_the_preset_says() {
    let layer = Linear::for_inference(600, 700, true, &config(), 1).unwrap();
    let sizes = layer.tiles().map(|tile| (tile.d_size(), tile.x_size()));
    assert_eq!(sizes.collect::<Vec<_>>(), [(700, 300), (700, 300)]);
    let raw = layer.tiles().flat_map(|tile| RawTile::weights(tile).chunks(300));
    let largest = raw.map(|row| row.iter().fold(0.0f32, |most, w| most.max(w.abs())));
    assert!(largest.into_iter().all(|most| (most - 1.0).abs() < 1e-6));
}

#[test]
fn what_nothing_acts_on_is_refused_by_name() {
    let mut layer = layer(&config());
    let before = layer.input_ranges().next().unwrap().value();
    refused(layer.forward(&[1.0, 0.5], Pass::Train), "Pass::Train");
    refused(layer.step(0.1), "step");
    assert_eq!(layer.input_ranges().next().unwrap().value(), before);
    let tile = layer.tiles_mut().next().unwrap();
    refused(RawTile::forward(tile, &[0.0; 2], &mut [0.0; 2], None, Pass::Train), "Pass::Train");
    refused(RawTile::backward(tile, &[0.0; 2], &mut [0.0; 2], Pass::Test), "backward");
    refused(RawTile::update(tile, &[0.0; 2], &[0.0; 2], 0.1), "update");

    let mut analog_bias = config();
    analog_bias.mapping.digital_bias = false;
    let start = "mapping.digital_bias = false";
    refused(Linear::for_inference(2, 2, true, &analog_bias, 1), start);
    Linear::for_inference(2, 2, false, &analog_bias, 1).unwrap();

    let mapping = MappingParameter::default().with(|p| p.learn_out_scaling = true);
    let learned = LinearParameters::default().with(|p| p.mapping = mapping);
    refused(Linear::new(2, 2, &TileConfig::default(), &learned, 1), "mapping.learn_out_scaling");
}

#[test]
fn errors_name_the_field_of_the_configuration() {
    let mut config = config();
    let range = InputRangeParameter::default().with(|p| p.enable = true);
    config.pre_post.input_range = range.with(|p| p.init_value = 0.0);
    let error = Linear::for_inference(2, 2, true, &config, 1).unwrap_err().to_string();
    assert!(error.starts_with("pre_post.input_range.init_value: "), "{error}");
}

#[test]
fn weights_are_clipped_as_the_configuration_says() {
    let clipped = |change: &dyn Fn(&mut InferenceConfig)| {
        let mut config = config();
        change(&mut config);
        let mut tile = InferenceTile::new(2, 2, &config, 1).unwrap();
        tile.set_weights(&[0.5, -2.0, 0.1, 1.0]).unwrap();
        tile.clip_weights().unwrap();
        tile.tile().weights().to_vec()
    };
    assert_eq!(clipped(&|_| {}), [0.5, -1.0, 0.1, 1.0]);
    assert_eq!(clipped(&|c| c.clip.kind = WeightClipType::None), [0.5, -2.0, 0.1, 1.0]);
    // The mean of 2 and 1.
    let channels = clipped(&|c| {
        c.clip.kind = WeightClipType::AverageChannelMax;
        c.clip.fixed_value = -1.0;
    });
    assert_eq!(channels, [0.5, -1.5, 0.1, 1.0]);
    // Mean -0.1, squares 0.36 + 3.61 + 0.04 + 1.21 over 3.
    let gaussian = clipped(&|c| {
        c.clip.kind = WeightClipType::LayerGaussian;
        (c.clip.sigma, c.clip.fixed_value) = (0.5, -1.0);
    });
    let limit = 0.5 * (5.22f32 / 3.0).sqrt();
    close(&gaussian, &[0.5, -limit, 0.1, limit], 1e-6);
}

#[test]
fn clipping_drops_what_was_programmed() {
    for (kind, is_kept) in [(WeightClipType::None, true), (WeightClipType::FixedValue, false)] {
        let mut config = config();
        config.clip.kind = kind;
        let mut tile = InferenceTile::new(2, 2, &config, 1).unwrap();
        tile.set_weights(&WEIGHTS).unwrap();
        tile.program_weights().unwrap();
        tile.clip_weights().unwrap();
        assert_eq!(tile.programming().is_some(), is_kept);
    }
}
