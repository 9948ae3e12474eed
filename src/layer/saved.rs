//! Layers for inference, made of saved ones.

use std::collections::BTreeMap;
use std::ops::Range;

use super::inference::{InferenceLinear, InferencePart};
use crate::error::{Error, Result};
use crate::inference::{InferenceConfig, InferenceTile, ProgrammedWeights, Programming};
use crate::memory;
use crate::rng::derived;
use crate::state::{SavedLayer, SavedTile, Tensor, Values, names};
use crate::tile::Tile;

/// Classes of layers that are one product of a matrix; a file without a map does not tell.
const LINEAR: [&str; 2] = ["AnalogLinear", "AnalogLinearMapped"];
/// Classes of tiles that are programmed.
const CLASSES: [&str; 2] = ["InferenceTile", "TorchInferenceTile"];
/// What passes of training see instead of the weights, which evaluation does not.
const MODIFIED: &str = "modified_weights";

impl InferenceLinear {
    /// The layer that `AnalogLinear` of the Python package computes in evaluation mode, from what was saved of
    /// it: weights, digital periphery, noise of the products, noise model and drift compensation. Products go on
    /// with the random numbers that the saved layer would have drawn next; those of programming and drift follow
    /// from `seed`, as do all of tiles that computed in torch.
    ///
    /// Weights that were programmed before they were saved are as they were, drifted and corrected:
    /// [`InferenceLinear::drift_weights`] reads that chip at other times.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for other layers, for tiles that are not for inference, and for entries such as
    /// those of quantisers; [`Error::Config`] or [`Error::Unsupported`]
    /// naming the field of the configuration; [`Error::State`] for values that are missing or do not fit;
    /// [`Error::Shape`] for programmed weights whose devices have no drift parameters of their own;
    /// [`Error::Memory`].
    pub fn from_saved(layer: &SavedLayer, seed: u64) -> Result<Self> {
        let class = layer.class.as_deref().and_then(|class| class.rsplit('.').next());
        if let Some(class) = class.filter(|class| !LINEAR.contains(class)) {
            let why =
                "it is not a product of one matrix; use its tiles by InferenceTile::from_tile";
            return Err(Error::unsupported(format!("layer {class}"), why));
        }
        refuse_others(layer.others.keys(), |_| false)?;
        let (mut parts, mut column, mut out_features) = (Vec::new(), 0, 0);
        for (number, tiles) in layer.tiles.iter().enumerate() {
            let mut row = 0;
            let inputs = tiles.first().map_or(0, |saved| saved.tile.inputs());
            for saved in tiles {
                check_fit(saved.tile.inputs() == inputs)?;
                let rows = row..row + saved.tile.outputs();
                row = rows.end;
                let seed = derived(seed, parts.len() as u64);
                parts.push(part(saved, rows, column..column + inputs, seed)?);
            }
            check_fit(row > 0 && (number == 0 || row == out_features))?;
            (column, out_features) = (column + inputs, row);
        }
        check_fit(!parts.is_empty())?;
        let bias = of_outputs("bias", layer.bias.as_ref(), out_features, false)?;
        Ok(Self { in_features: column, out_features, parts, bias })
    }
}

fn check_fit(fits: bool) -> Result<()> {
    let why = "are not all there, or do not fit together";
    if fits { Ok(()) } else { Err(refused("tiles", why)) }
}

/// A tile with its surroundings.
fn part(
    saved: &SavedTile,
    rows: Range<usize>,
    columns: Range<usize>,
    seed: u64,
) -> Result<InferencePart> {
    let class = saved.tile_class().unwrap_or("a tile that was not made in Python");
    let Some(config) = saved.rpu_config().filter(|_| CLASSES.contains(&class)) else {
        let why = "only InferenceTile and TorchInferenceTile of Python are programmed; use \
                   InferenceTile::from_tile";
        return Err(Error::unsupported(class, why));
    };
    let config = InferenceConfig::from_saved(config)?;
    let mut tile = InferenceTile::from_tile(array(saved, seed)?, &config, seed)?;
    let periphery = &saved.periphery;
    refuse_others(periphery.others.keys(), |name| name == MODIFIED || is_of_programming(name))?;
    if let Some(mut programming) = programming(&periphery.others, tile.tile().spec().x_size())? {
        if let Some(alpha) = &periphery.alpha {
            programming.alpha = memory::copied(alpha)?;
        }
        tile.resume(programming)?;
    }
    if periphery.input_range == Some(0.0) {
        return Err(refused("input_range", "must not be zero"));
    }
    let count = rows.len();
    let scales = of_outputs("mapping_scales", periphery.mapping_scales.as_ref(), count, true)?;
    let learned =
        of_outputs("out_scaling_alpha", periphery.out_scaling_alpha.as_ref(), count, true)?;
    Ok(InferencePart {
        tile,
        bias: of_outputs("bias", periphery.bias.as_ref(), count, false)?,
        rows,
        columns,
        range: periphery.input_range.map(f32::abs),
        factors: [scales, learned].into_iter().filter(|factors| !factors.is_empty()).collect(),
        analog_bias: saved.tile.analog_bias(),
    })
}

/// The array of a tile, the column of an analog bias being one of its inputs.
fn array(saved: &SavedTile, seed: u64) -> Result<Tile> {
    let mut state = saved.tile.state()?;
    state.analog_bias = false;
    if saved.is_of_torch() {
        let seed = Tensor::vector(Values::I64(vec![seed.cast_signed()]));
        state.entries.insert(names::SEED.to_owned(), seed);
    }
    Tile::from_state(&state)
}

/// What is programmed, if anything is.
fn programming(others: &BTreeMap<String, Tensor>, columns: usize) -> Result<Option<Programming>> {
    if !others.contains_key("programmed_weights") {
        return Ok(None);
    }
    let one = |name: &str| match others.get(name) {
        Some(tensor) => floats(name, tensor),
        None => Err(refused(name, "is missing")),
    };
    let listed = |group: &str| {
        let of_group =
            |at: usize| Some((at, others.get(&names::in_group(group, &at.to_string()))?));
        (0..).map_while(of_group).map(|(_, tensor)| floats(group, tensor)).collect::<Result<_>>()
    };
    let programmed = ProgrammedWeights::from_state(
        columns,
        one("reference_combined_weights")?,
        one("programmed_weights")?,
        listed("drift_noise_parameters")?,
        listed("programmed_conductances")?,
    )?;
    let baseline = others.get("drift_baseline").map(|tensor| floats("drift_baseline", tensor));
    Ok(Some(Programming::new(programmed, baseline.transpose()?.unwrap_or_default())))
}

fn is_of_programming(name: &str) -> bool {
    let group = name.split('.').next().unwrap_or_default();
    [
        "programmed_weights",
        "reference_combined_weights",
        "drift_noise_parameters",
        "programmed_conductances",
        "drift_baseline",
    ]
    .contains(&group)
}

fn refuse_others<'a>(
    mut names: impl Iterator<Item = &'a String>,
    is_known: impl Fn(&str) -> bool,
) -> Result<()> {
    let why = "this part of a layer is computed in Python only; save it without";
    match names.find(|name| !is_known(name)) {
        Some(name) => Err(Error::unsupported(name, why)),
        None => Ok(()),
    }
}

fn refused(name: &str, why: &str) -> Error {
    Error::State { why: format!("{name}: {why}") }
}

fn floats(name: &str, tensor: &Tensor) -> Result<Vec<f32>> {
    match &tensor.values {
        Values::F32(values) => memory::copied(values),
        _ => Err(refused(name, "expected F32; save the model after .float()")),
    }
}

/// Values for outputs, one for each or, if `one` is enough, one for all; none are empty.
fn of_outputs(name: &str, values: Option<&Vec<f32>>, count: usize, one: bool) -> Result<Vec<f32>> {
    let Some(values) = values else { return Ok(Vec::new()) };
    if values.len() != count && !(one && values.len() == 1) {
        return Err(refused(name, &format!("{} values for {count} outputs", values.len())));
    }
    memory::copied(values)
}
