//! A saved model: its analog layers, and what is digital beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::Path;

use super::any_tile::AnyTile;
use super::folder::{Folder, failed, replaced};
use super::names;
use super::saved_tile::{SavedTile, vector};
use super::tensor::{Tensor, Values};
use super::tensor_file;
use crate::error::{Error, Result};

/// Name of the tile, or of the array of tiles, in its layer.
const TILE: &str = "analog_module";
/// Name of the tiles in an array.
const ARRAY: &str = "array";

/// A layer whose weights are in one tile or in several.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SavedLayer {
    /// Class in Python, where a map tells it.
    pub class: Option<String>,
    /// Tiles by part of the inputs, then by part of the outputs: their products are summed over the inputs,
    /// and stand side by side over the outputs. A layer with groups has the input parts of the first group
    /// first; nothing here tells how many groups there are.
    pub tiles: Vec<Vec<SavedTile>>,
    /// Added once to the outputs of several tiles, one per output; that of a single tile is its own.
    pub bias: Option<Vec<f32>>,
    /// What else belongs to the layer, by name.
    pub others: BTreeMap<String, Tensor>,
    /// Whether tile or array are the child `analog_module` of the layer; otherwise they are the layer.
    is_child: bool,
    is_array: bool,
}

impl SavedLayer {
    /// A layer of one tile, as `AnalogLinear` has it.
    #[must_use]
    pub fn new(tile: SavedTile) -> Self {
        Self {
            class: None,
            tiles: vec![vec![tile]],
            bias: None,
            others: BTreeMap::new(),
            is_child: true,
            is_array: false,
        }
    }

    /// The only tile; `None` if there are several.
    #[must_use]
    pub fn tile(&self) -> Option<&SavedTile> {
        match &self.tiles[..] {
            [part] if !self.is_array => part.first(),
            _ => None,
        }
    }

    /// The only tile, to use it; `None` if there are several.
    pub fn tile_mut(&mut self) -> Option<&mut SavedTile> {
        match &mut self.tiles[..] {
            [part] if !self.is_array => part.first_mut(),
            _ => None,
        }
    }

    /// Writes all tensors of the layer with this name to `tensors`.
    fn put(&self, name: &str, tensors: &mut BTreeMap<String, Tensor>) -> Result<()> {
        let base = if self.is_child { below(name, TILE) } else { name.to_owned() };
        for (column, part) in self.tiles.iter().enumerate() {
            for (row, tile) in part.iter().enumerate() {
                let array = || below(&base, &format!("{ARRAY}.{column}.{row}"));
                let prefix = if self.is_array { array() } else { base.clone() };
                for (entry, tensor) in tile.entries()? {
                    tensors.insert(below(&prefix, &entry), tensor);
                }
            }
        }
        if let Some(bias) = &self.bias {
            tensors.insert(below(&base, "bias"), Tensor::vector(Values::F32(bias.clone())));
        }
        for (entry, tensor) in &self.others {
            tensors.insert(below(&base, entry), tensor.clone());
        }
        Ok(())
    }
}

/// A model that was saved, or is to be.
///
/// ```no_run
/// use mho_core::state::SavedModel;
/// use mho_core::tile::Pass;
///
/// // A folder of `mho.nn.save_analog`, or a file of `safetensors.torch.save_file(model.state_dict())`.
/// let mut model = SavedModel::open("checkpoint")?;
/// for (name, layer) in &mut model.layers {
///     if let Some(saved) = layer.tile_mut() {
///         println!("{name}: {} x {}", saved.tile.outputs(), saved.tile.inputs());
///         saved.tile.drift(3600.0)?;
///     }
/// }
/// // Python loads it again.
/// model.write_folder("drifted")?;
/// # Ok::<(), mho_core::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct SavedModel {
    /// Analog layers by full name.
    pub layers: BTreeMap<String, SavedLayer>,
    /// All other tensors by full name: digital layers.
    pub tensors: BTreeMap<String, Tensor>,
    /// Names of tensors that stand under another name, with that one.
    pub tied: BTreeMap<String, String>,
    folder: Option<Folder>,
}

impl SavedModel {
    /// Opens a folder that `save_analog` has written, or a file with the state of a model or of a tile in
    /// the format of safetensors. All is read and checked, or nothing.
    ///
    /// # Errors
    /// [`Error::File`] for what cannot be read; [`Error::State`] for a file that is damaged, of another
    /// version or of another save, and for tiles whose state does not fit, by name;
    /// [`Error::Unsupported`] for tiles that are Python code, and for files that were written before they
    /// told all that the core needs; [`Error::Config`], [`Error::Memory`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path.as_ref(), true)
    }

    /// As [`SavedModel::open`], for folders whose files were changed on purpose: check sums are not compared.
    ///
    /// # Errors
    /// As there.
    pub fn open_changed(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path.as_ref(), false)
    }

    fn open_with(path: &Path, verify: bool) -> Result<Self> {
        if !path.is_dir() {
            return Self::from_tensors(read_file(path)?.0, None);
        }
        let folder = Folder::read(path)?;
        let mut tensors = BTreeMap::new();
        for (name, checksum) in folder.files()? {
            let file = path.join(name);
            let (found, sum) = read_file(&file)?;
            if verify && sum != checksum {
                let why = format!(
                    "{}: is damaged or of another save than the map, where its check sum is another one",
                    file.display()
                );
                return Err(Error::State { why });
            }
            for (name, tensor) in found {
                if tensors.contains_key(&name) {
                    let why = format!("{}: {name:?} is in another file as well", file.display());
                    return Err(Error::State { why });
                }
                tensors.insert(name, tensor);
            }
        }
        Self::from_tensors(tensors, Some(folder))
    }

    /// As [`SavedModel::open`], from the content of a file of safetensors.
    ///
    /// # Errors
    /// As there.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let (found, _) = tensor_file::read("the file", bytes.len() as u64, bytes)?;
        Self::from_tensors(found.into_iter().collect(), None)
    }

    /// The content of a file of safetensors, as [`SavedModel::write_file`] writes it.
    ///
    /// # Errors
    /// As there.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let tensors = self.all()?;
        let mut bytes = Vec::new();
        tensor_file::write("the file", by_name(&tensors), &mut bytes)?;
        Ok(bytes)
    }

    /// Writes a file of safetensors; it gets its name when it is complete. `load_state_dict` of a model that
    /// is built like this one takes what `safetensors.torch.load_file` reads from it.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Memory`]; [`Error::State`] for tensors whose values do not fill their shape.
    pub fn write_file(&self, path: impl AsRef<Path>) -> Result<()> {
        let tensors = self.all()?;
        replaced(path.as_ref(), |path| write_file(path, &tensors)).map(|_| ())
    }

    /// Writes a folder that `load_analog` opens, of a model that was in one: with the same map, and all
    /// tensors in one file.
    ///
    /// # Errors
    /// As [`SavedModel::write_file`], and [`Error::State`] for a model that was not in a folder or has
    /// other layers than its map.
    pub fn write_folder(&self, path: impl AsRef<Path>) -> Result<()> {
        let Some(folder) = &self.folder else {
            let why = "the model was not in a folder, so that there is no map of it; write a file";
            return Err(Error::State { why: why.to_owned() });
        };
        folder.check_layers(self.layers.keys())?;
        let tensors = self.all()?;
        folder.write(path.as_ref(), |path| write_file(path, &tensors))
    }

    /// Adds a layer of one tile.
    ///
    /// # Errors
    /// [`Error::Config`] when a value of the configuration cannot be written.
    pub fn insert(&mut self, name: impl Into<String>, tile: AnyTile) -> Result<&mut SavedLayer> {
        let layer = SavedLayer::new(SavedTile::new(tile)?);
        let name = name.into();
        self.layers.insert(name.clone(), layer);
        self.layers.get_mut(&name).ok_or(Error::State { why: name })
    }

    /// Every tensor by its full name.
    fn all(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut tensors = self.tensors.clone();
        for (name, layer) in &self.layers {
            layer.put(name, &mut tensors)?;
        }
        Ok(tensors)
    }

    fn from_tensors(tensors: BTreeMap<String, Tensor>, folder: Option<Folder>) -> Result<Self> {
        let tied = folder.as_ref().map(Folder::tied).unwrap_or_default();
        for (name, first) in &tied {
            if tensors.contains_key(name) || !tensors.contains_key(first) {
                let why = format!("{name:?} is tied to {first:?}, and one of them is not there");
                return Err(Error::State { why });
            }
        }
        let tiles = tile_names(&tensors);
        let mut of_tiles: BTreeMap<String, BTreeMap<String, Tensor>> = BTreeMap::new();
        let mut rest = BTreeMap::new();
        for (name, tensor) in tensors {
            match owner(&tiles, &name) {
                Some((tile, entry)) => {
                    let entries = of_tiles.entry(tile.to_owned()).or_default();
                    entries.insert(entry.to_owned(), tensor);
                }
                None => {
                    rest.insert(name, tensor);
                }
            }
        }
        let mut grids: BTreeMap<Place<'_>, Grid> = BTreeMap::new();
        for (name, entries) in &mut of_tiles {
            let entries = std::mem::take(entries);
            let tile = SavedTile::from_entries(entries).map_err(|error| in_tile(name, error))?;
            let (place, at) = place(name);
            grids.entry(place).or_default().insert(at, tile);
        }
        let mut layers = BTreeMap::new();
        for (place, grid) in grids {
            let class = folder.as_ref().and_then(|folder| folder.class(place.layer));
            let layer = assembled(place, class, grid, &mut rest)?;
            if layers.insert(place.layer.to_owned(), layer).is_some() {
                let why = format!("{:?} is one tile and an array of tiles", place.layer);
                return Err(Error::State { why });
            }
        }
        if let Some(folder) = &folder {
            folder.check_layers(layers.keys())?;
        }
        Ok(Self { layers, tensors: rest, tied, folder })
    }
}

/// Prefixes of the tiles: what the entries with configurations are called without their names.
fn tile_names(tensors: &BTreeMap<String, Tensor>) -> BTreeSet<String> {
    let prefix = |name: &String| match name.strip_suffix(names::CONFIG)? {
        "" => Some(String::new()),
        prefix => prefix.strip_suffix('.').map(str::to_owned),
    };
    tensors.keys().filter_map(prefix).collect()
}

/// The tile that a tensor belongs to, and its name there.
fn owner<'a>(tiles: &BTreeSet<String>, name: &'a str) -> Option<(&'a str, &'a str)> {
    let mut places: Vec<usize> = name.match_indices('.').map(|(at, _)| at).collect();
    places.reverse();
    let found = places.into_iter().find(|at| tiles.contains(&name[..*at]));
    found
        .map(|at| (&name[..at], &name[at + 1..]))
        .or_else(|| tiles.contains("").then_some(("", name)))
}

/// Where a tile is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place<'a> {
    layer: &'a str,
    is_child: bool,
    is_array: bool,
}

/// Tiles of a layer by part of the inputs and of the outputs.
type Grid = BTreeMap<[usize; 2], SavedTile>;

/// The layer of a tile, and where it is among its tiles.
fn place(name: &str) -> (Place<'_>, [usize; 2]) {
    let in_array = in_array(name);
    let (base, at) = in_array.unwrap_or((name, [0; 2]));
    let is_array = in_array.is_some();
    let layer = base.strip_suffix(TILE);
    let (layer, is_child) = match layer.map(|layer| (layer, layer.strip_suffix('.'))) {
        Some(("", _)) => ("", true),
        Some((_, Some(layer))) => (layer, true),
        _ => (base, false),
    };
    (Place { layer, is_child, is_array }, at)
}

/// The array that a tile with such a name is in, and where.
fn in_array(name: &str) -> Option<(&str, [usize; 2])> {
    let mut parts = name.rsplitn(4, '.');
    let row = parts.next()?.parse().ok()?;
    let column = parts.next()?.parse().ok()?;
    (parts.next()? == ARRAY).then(|| (parts.next().unwrap_or_default(), [column, row]))
}

/// The layer that tiles make up, with what belongs to it of all other tensors.
fn assembled(
    place: Place<'_>,
    class: Option<String>,
    grid: Grid,
    rest: &mut BTreeMap<String, Tensor>,
) -> Result<SavedLayer> {
    let Place { layer: name, is_child, is_array } = place;
    let rows = grid.keys().filter(|[column, _]| *column == 0).count();
    let fits = grid.keys().enumerate().all(|(at, [column, row])| {
        Some(*column) == at.checked_div(rows) && Some(*row) == at.checked_rem(rows)
    });
    let mut tiles: Vec<Vec<SavedTile>> = Vec::new();
    for ([_, row], tile) in grid {
        match tiles.last_mut() {
            Some(part) if row > 0 => part.push(tile),
            _ => tiles.push(vec![tile]),
        }
    }
    let outputs = |part: &Vec<SavedTile>| -> Vec<usize> {
        part.iter().map(|tile| tile.tile.outputs()).collect()
    };
    let alike = tiles.iter().all(|part| {
        let inputs = part.first().map(|tile| tile.tile.inputs());
        outputs(part) == outputs(&tiles[0])
            && part.iter().all(|tile| Some(tile.tile.inputs()) == inputs)
    });
    if !fits || !alike {
        let why =
            format!("{name}: the tiles of its array are not all there, or do not fit together");
        return Err(Error::State { why });
    }
    let mut layer =
        SavedLayer { class, tiles, bias: None, others: BTreeMap::new(), is_child, is_array };
    if is_array {
        let base = if is_child { below(name, TILE) } else { name.to_owned() };
        let own = below(&base, "");
        let of_layer: Vec<String> =
            rest.keys().filter(|key| key.starts_with(&own)).cloned().collect();
        for key in of_layer {
            if let Some(tensor) = rest.remove(&key) {
                layer.others.insert(key[own.len()..].to_owned(), tensor);
            }
        }
        let count: usize = outputs(&layer.tiles[0]).iter().sum();
        layer.bias = match layer.others.remove("bias") {
            Some(bias) => {
                let bias = vector("bias", bias).map_err(|error| in_tile(&base, error))?;
                let groups = bias.len().checked_div(count).filter(|groups| *groups > 0);
                if groups.is_none_or(|groups| groups * count != bias.len()) {
                    let why = format!("{base}.bias: {} values for {count} outputs", bias.len());
                    return Err(Error::State { why });
                }
                Some(bias)
            }
            None => None,
        };
    }
    Ok(layer)
}

/// The name of what is called `name` inside of `base`.
fn below(base: &str, name: &str) -> String {
    if base.is_empty() { name.to_owned() } else { format!("{base}.{name}") }
}

/// An error with the name of the tile in its message.
fn in_tile(name: &str, error: Error) -> Error {
    let shown = if name.is_empty() { "the tile" } else { name };
    match error {
        Error::State { why } => Error::State { why: format!("{shown}: {why}") },
        Error::Config { field, why } => Error::Config { field: format!("{shown}: {field}"), why },
        Error::Unsupported { feature, why } => {
            Error::Unsupported { feature: format!("{shown}: {feature}"), why }
        }
        other => other,
    }
}

/// All tensors of a file, and its check sum.
fn read_file(path: &Path) -> Result<(BTreeMap<String, Tensor>, u32)> {
    let file = File::open(path).map_err(|error| failed(path, &error))?;
    let len = file.metadata().map_err(|error| failed(path, &error))?.len();
    let shown = path.display().to_string();
    let (tensors, checksum) = tensor_file::read(&shown, len, BufReader::new(file))?;
    Ok((tensors.into_iter().collect(), checksum))
}

fn write_file(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<u32> {
    let file = File::create(path).map_err(|error| failed(path, &error))?;
    let shown = path.display().to_string();
    tensor_file::write(&shown, by_name(tensors), BufWriter::new(file))
}

fn by_name(tensors: &BTreeMap<String, Tensor>) -> Vec<(&str, &Tensor)> {
    tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect()
}
