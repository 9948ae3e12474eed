//! A tile of a saved model, and what is digital around it.

use std::collections::BTreeMap;

use super::any_tile::AnyTile;
use super::header::Header;
use super::names;
use super::tensor::{Tensor, Values};
use super::tile_state::{TileState, check_finite};
use crate::error::{Error, Result};
use crate::memory;

/// What a tile in Python has of the weights beside them, which is not written.
const ALIASES: [&str; 2] = ["analog_ctx", "shared_weights"];
/// Entries of tiles that compute in torch, with the names that tiles of the core have for them.
const TORCH_WEIGHTS: &str = "tile.weight";
const TORCH_NOISE: &str = "tile.out_noise_values";

/// Digital values around the array of one tile. In evaluation mode a tile returns
/// `(W clip(x, r) / r) r mapping_scales alpha out_scaling_alpha + bias` with `r` the absolute value of the
/// input range, and what is absent left out; in training mode without `alpha`. The column of an analog bias
/// sees `1 / r`, see [`AnyTile::set_bias_input`].
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Periphery {
    /// Added to the outputs, one per output.
    pub bias: Option<Vec<f32>>,
    /// Factors between raw and logical weights: one, or one per output.
    pub mapping_scales: Option<Vec<f32>>,
    /// Factors that are trained: one, or one per output.
    pub out_scaling_alpha: Option<Vec<f32>>,
    /// Range to which inputs are clipped and by which they are divided; its sign does not matter.
    pub input_range: Option<f32>,
    /// Number of batches that the range has followed.
    pub input_range_update_idx: Option<f32>,
    /// Factors of the compensation of drift: one, or one per output.
    pub alpha: Option<Vec<f32>>,
    /// What else belongs to the tile, by name: programmed weights, parameters of their drift, modified
    /// weights, quantisers.
    pub others: BTreeMap<String, Tensor>,
}

/// A tile of a saved model.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SavedTile {
    /// The tile; it goes on where the saved one was. One that computed in torch has no random numbers of its
    /// own, so that its seed is 0.
    pub tile: AnyTile,
    /// Raw learning rate, if it has one.
    pub learning_rate: Option<f64>,
    /// What is digital around it.
    pub periphery: Periphery,
    header: Header,
}

impl SavedTile {
    /// A tile without periphery and learning rate.
    ///
    /// # Errors
    /// [`Error::Config`] when a value of the configuration cannot be written.
    pub fn new(tile: AnyTile) -> Result<Self> {
        let header = Header::new(&tile.config(), tile.analog_bias())?;
        Ok(Self { tile, learning_rate: None, periphery: Periphery::default(), header })
    }

    /// Class of the tile in Python; none if it was not made there.
    #[must_use]
    pub fn tile_class(&self) -> Option<&str> {
        self.header.tile_class()
    }

    /// Configuration of the tile in Python as JSON text, with mapping, modifier, noise model and all else
    /// that is not the core's, by the names of classes; none if it was not made there.
    #[must_use]
    pub fn rpu_config(&self) -> Option<&str> {
        self.header.rpu_config()
    }

    /// Whether it computed in torch, with no random numbers of its own.
    pub(crate) fn is_of_torch(&self) -> bool {
        self.header.is_of_torch()
    }

    pub(super) fn from_entries(entries: BTreeMap<String, Tensor>) -> Result<Self> {
        let (mut state, mut others) = (BTreeMap::new(), BTreeMap::new());
        for (name, tensor) in entries {
            if name.starts_with("analog_tile_") {
                state.insert(name, tensor);
            } else if !ALIASES.contains(&name.as_str()) {
                others.insert(name, tensor);
            }
        }
        let Some(header) = state.remove(names::CONFIG) else {
            return Err(Error::State { why: format!("{} is missing", names::CONFIG) });
        };
        let header = Header::read(&header)?;
        let tile = match others.remove(TORCH_WEIGHTS) {
            Some(weights) => from_torch(&header, weights, others.remove(TORCH_NOISE))?,
            None => {
                let (config, dw_min) = (header.config()?, header.dw_min.clone());
                AnyTile::from_state(&TileState::new(config, dw_min, header.analog_bias, state))?
            }
        };
        let periphery = Periphery::from_entries(others)?;
        Ok(Self { tile, learning_rate: header.learning_rate, periphery, header })
    }

    /// Its entries by their names below the tile.
    pub(super) fn entries(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut entries = self.tile.state()?.entries;
        let header = self.header.with(self.learning_rate, self.tile.dw_min());
        if self.header.is_of_torch() {
            let noise = entries.remove(&format!("{}.out_noise_values", names::FORWARD));
            let weights = entries.remove(names::WEIGHTS);
            entries = [(TORCH_WEIGHTS, weights), (TORCH_NOISE, noise)]
                .into_iter()
                .filter_map(|(name, tensor)| Some((name.to_owned(), tensor?)))
                .collect();
        }
        entries.insert(names::CONFIG.to_owned(), header.write()?);
        self.periphery.put(&mut entries)?;
        Ok(entries)
    }
}

/// A tile of the core with the product of one that computes in torch.
fn from_torch(header: &Header, weights: Tensor, noise: Option<Tensor>) -> Result<AnyTile> {
    let [outputs, inputs] = weights.shape[..] else {
        let why = format!("{TORCH_WEIGHTS}: expected two axes, got {:?}", weights.shape);
        return Err(Error::State { why });
    };
    let mut state = AnyTile::new(outputs, inputs, &header.config()?, false, 0)?.state()?;
    state.entries.insert(names::WEIGHTS.to_owned(), weights);
    if let Some(noise) = noise {
        state.entries.insert(format!("{}.out_noise_values", names::FORWARD), noise);
    }
    AnyTile::from_state(&state)
}

/// The names of the typed entries, each with what it is read from and written to.
macro_rules! vectors {
    ($apply:ident) => {
        $apply!(bias mapping_scales out_scaling_alpha alpha)
    };
}

impl Periphery {
    fn from_entries(mut entries: BTreeMap<String, Tensor>) -> Result<Self> {
        macro_rules! taken {
            ($($name:ident)*) => {
                Self {
                    $($name: entries.remove(stringify!($name))
                        .map(|tensor| vector(stringify!($name), tensor)).transpose()?,)*
                    input_range: number("input_range", entries.remove("input_range"))?,
                    input_range_update_idx:
                        number("input_range_update_idx", entries.remove("input_range_update_idx"))?,
                    others: entries,
                }
            };
        }
        Ok(vectors!(taken))
    }

    fn put(&self, entries: &mut BTreeMap<String, Tensor>) -> Result<()> {
        macro_rules! put {
            ($($name:ident)*) => {$(
                if let Some(values) = &self.$name {
                    let values = Values::F32(memory::copied(values)?);
                    entries.insert(stringify!($name).to_owned(), Tensor::vector(values));
                }
            )*};
        }
        vectors!(put);
        let numbers = [
            ("input_range", self.input_range),
            ("input_range_update_idx", self.input_range_update_idx),
        ];
        for (name, number) in numbers {
            if let Some(number) = number {
                entries.insert(name.to_owned(), Tensor::vector(Values::F32(vec![number])));
            }
        }
        entries.extend(self.others.iter().map(|(name, tensor)| (name.clone(), tensor.clone())));
        Ok(())
    }
}

/// A digital vector.
pub(super) fn vector(name: &str, tensor: Tensor) -> Result<Vec<f32>> {
    let described = tensor.describe();
    match tensor.values {
        // One factor may also have no axis.
        Values::F32(values) if tensor.shape.len() <= 1 => {
            check_finite(name, values.iter().all(|value| value.is_finite()))?;
            Ok(values)
        }
        _ => {
            let why = format!(
                "{name}: expected F32 of one axis at most, got {described}; save the model after .float()"
            );
            Err(Error::State { why })
        }
    }
}

/// A digital number.
fn number(name: &str, tensor: Option<Tensor>) -> Result<Option<f32>> {
    let Some(tensor) = tensor else { return Ok(None) };
    match vector(name, tensor)?[..] {
        [number] => Ok(Some(number)),
        ref values => {
            let why = format!("{name}: expected one value, got {}", values.len());
            Err(Error::State { why })
        }
    }
}
