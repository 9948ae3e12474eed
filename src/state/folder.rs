//! Folders that hold a whole model: which files belong to it, and what of it is analog.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, Result};

/// Name of the file with the map.
const MAP: &str = "analog_map.json";
/// Name of the file with the tensors if there is one.
const WHOLE: &str = "model.safetensors";
/// Name of the index if there are several.
const INDEX: &str = "model.safetensors.index.json";
const FORMAT: u64 = 1;

/// The map of a folder: what of it is of use here, and all of it, to be written again.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    path: String,
    map: Map,
    all: Value,
}

#[derive(Debug, Clone, Deserialize)]
struct Map {
    format: u64,
    layers: BTreeMap<String, Layer>,
    files: BTreeMap<String, String>,
    tied: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Layer {
    class: String,
}

impl Folder {
    /// Reads the map of a folder.
    ///
    /// # Errors
    /// [`Error::File`] if there is none, [`Error::State`] if it is damaged or of another version.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(MAP);
        let text = fs::read_to_string(&path).map_err(|error| failed(&path, &error))?;
        let path = path.display().to_string();
        let damaged =
            |error: serde_json::Error| Error::State { why: format!("{path}: is damaged: {error}") };
        let all: Value = serde_json::from_str(&text).map_err(damaged)?;
        let map: Map = serde_json::from_str(&text).map_err(damaged)?;
        if map.format != FORMAT {
            let why = format!(
                "{path}: format {} is not supported by mho {}",
                map.format,
                env!("CARGO_PKG_VERSION")
            );
            return Err(Error::State { why });
        }
        Ok(Self { path, map, all })
    }

    /// Names of the files with tensors, and their check sums.
    ///
    /// # Errors
    /// [`Error::State`] for what is no name of such a file: a path cannot lead elsewhere.
    pub(super) fn files(&self) -> Result<Vec<(&str, u32)>> {
        let refused = |why: String| Error::State { why: format!("{}: files: {why}", self.path) };
        let checked = |(name, text): (&'_ String, &'_ String)| {
            if !is_shard(name) {
                return Err(refused(format!("{name:?} is no name of a file with weights")));
            }
            let sum = u32::from_str_radix(text, 16);
            sum.map_err(|_| refused(format!("{text:?} is no check sum")))
        };
        let files = self.map.files.iter();
        files.map(|(name, text)| Ok((name.as_str(), checked((name, text))?))).collect()
    }

    /// Names of tensors that stand under another name, with that one.
    pub(super) fn tied(&self) -> BTreeMap<String, String> {
        self.map.tied.clone()
    }

    /// Class of a layer.
    pub(super) fn class(&self, layer: &str) -> Option<String> {
        self.map.layers.get(layer).map(|layer| layer.class.clone())
    }

    /// Checks that analog layers are in layers of the map.
    ///
    /// # Errors
    /// [`Error::State`] with the name of one that is not.
    pub(super) fn check_layers<'a>(&self, names: impl Iterator<Item = &'a String>) -> Result<()> {
        // Layers with several matrices have them below their own name.
        let is_inside = |name: &str, layer: &str| {
            layer.is_empty()
                || name
                    .strip_prefix(layer)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        for name in names {
            if !self.map.layers.keys().any(|layer| is_inside(name, layer)) {
                let why = format!("{}: knows no layer {name:?}", self.path);
                return Err(Error::State { why });
            }
        }
        Ok(())
    }

    /// Writes a folder with this map, and with one file that `write` writes and tells the check sum of.
    ///
    /// # Errors
    /// [`Error::File`], and what `write` returns; files that were there stay then.
    pub(super) fn write(
        &self,
        folder: &Path,
        write: impl FnOnce(&Path) -> Result<u32>,
    ) -> Result<()> {
        fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
        let checksum = replaced(&folder.join(WHOLE), write)?;
        let mut all = self.all.clone();
        if let Some(map) = all.as_object_mut() {
            let files = serde_json::json!({ WHOLE: format!("{checksum:08x}") });
            map.insert("files".to_owned(), files);
        }
        replaced(&folder.join(MAP), |path| {
            let text = format!("{all:#}\n");
            fs::write(path, text).map_err(|error| failed(path, &error))
        })?;
        remove_others(folder)
    }
}

/// Removes the weights of an earlier save.
fn remove_others(folder: &Path) -> Result<()> {
    let entries = fs::read_dir(folder).map_err(|error| failed(folder, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| failed(folder, &error))?;
        let name = entry.file_name();
        let is_old =
            name.to_str().is_some_and(|name| name == INDEX || (name != WHOLE && is_shard(name)));
        if is_old {
            fs::remove_file(entry.path()).map_err(|error| failed(&entry.path(), &error))?;
        }
    }
    Ok(())
}

/// Whether a text is `model.safetensors` or `model-00001-of-00002.safetensors`.
fn is_shard(name: &str) -> bool {
    let Some(middle) =
        name.strip_prefix("model").and_then(|rest| rest.strip_suffix(".safetensors"))
    else {
        return false;
    };
    let number = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    let numbers = middle.strip_prefix('-').and_then(|rest| rest.split_once("-of-"));
    middle.is_empty() || numbers.is_some_and(|(one, all)| number(one) && number(all))
}

/// Writes a file under another name, and gives it its own when it is complete.
pub(super) fn replaced<R>(path: &Path, write: impl FnOnce(&Path) -> Result<R>) -> Result<R> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let unfinished = PathBuf::from(name);
    let written = write(&unfinished).and_then(|result| {
        fs::rename(&unfinished, path).map(|()| result).map_err(|error| failed(path, &error))
    });
    if written.is_err() {
        // What cannot be removed either is not worth another error.
        let _ = fs::remove_file(&unfinished);
    }
    written
}

/// An error of the system.
pub(super) fn failed(path: &Path, error: &std::io::Error) -> Error {
    Error::File { path: path.display().to_string(), why: error.to_string() }
}
