//! The product of a layer that is split over several tiles, on borrowed tensors: one call for all.

use super::error::PyResult;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::array::{Borrowed, BytesMut, Floats, FloatsMut};
use super::gil::enter;
use super::lock;
use super::ops::LineTensors;
use super::patches::PyPatches;
use super::periphery::OutputTensors;
use super::spec::{PyTileSpec, direction};
use super::stream::{Stream, key, numbered_together};
use mho_core::mvm::periphery::Outputs;
use mho_core::mvm::{Columns, Grid, GridTile, Images, Inputs, Layout, Patches};
use mho_core::rng::Key;

/// One tile, as Python gives it: specification, inputs of its part or of the whole layer, the first
/// column of its own, weights, seed, calls or number of the call, lines, mask and factors.
type Given<'py> = (
    Bound<'py, PyTileSpec>,
    Bound<'py, PyAny>,
    usize,
    Bound<'py, PyAny>,
    Bound<'py, PyAny>,
    Bound<'py, PyAny>,
    Option<Bound<'py, PyDict>>,
    Option<Bound<'py, PyAny>>,
    Option<Bound<'py, PyTuple>>,
);

/// The borrowed tensors of a tile.
struct Tile<'a> {
    spec: &'a PyTileSpec,
    x: Floats,
    column: usize,
    /// All outputs of a layer at each position of an image, where these are the inputs.
    points: Option<Patches>,
    weight: Floats,
    lines: LineTensors,
    mask: Option<BytesMut>,
    outputs: OutputTensors,
}

impl<'a> Tile<'a> {
    fn new(given: &'a Given<'_>, borrowed: &mut Borrowed) -> PyResult<Self> {
        let (spec, x, column, weight, _, _, lines, mask, factors) = given;
        let (x, weight) = (borrowed.floats("x", x)?, borrowed.floats("weight", weight)?);
        let lines = LineTensors::new(lines.as_ref(), borrowed)?;
        let mask = mask.as_ref().map(|mask| borrowed.bytes_mut("mask", mask)).transpose()?;
        let outputs = OutputTensors::new(factors.as_ref(), None, borrowed)?;
        let (spec, column, points) = (spec.get(), *column, None);
        Ok(Self { spec, x, column, points, weight, lines, mask, outputs })
    }

    /// Its inputs: rows, what there is at points of images, or patches of these.
    fn inputs<'b>(&'b self, layer: &Shape<'b>, width: usize) -> Inputs<'b> {
        let (data, first) = (self.x.slice(), self.column);
        let forward = layer.patches.filter(|_| !layer.backward);
        match self.points.as_ref().or(forward) {
            Some(patches) => Inputs::Patches(Images { data, patches, first, width }),
            None => {
                let stride = data.len().checked_div(layer.samples).unwrap_or(0);
                Inputs::Rows(Columns { data, stride, first, width })
            }
        }
    }
}

/// How the samples of a layer lie in its inputs and outputs.
#[derive(Clone, Copy)]
struct Shape<'a> {
    samples: usize,
    backward: bool,
    /// What samples are of the images of a convolution.
    patches: Option<&'a Patches>,
}

impl<'a> Shape<'a> {
    fn layout(&self) -> Layout<'a> {
        match self.patches {
            Some(patches) if self.backward => Layout::Folded(patches),
            Some(patches) => Layout::Planes(patches.positions()),
            None => Layout::Rows,
        }
    }

    /// The outputs of all samples, `width` of each, as a tensor of the same kind as `x`.
    fn outputs<'py>(&self, x: &Bound<'py, PyAny>, width: usize) -> PyResult<Bound<'py, PyAny>> {
        let images = |patches: &Patches| self.samples / patches.positions();
        let shape = match self.patches {
            Some(patches) if self.backward => vec![images(patches), patches.image_len()],
            Some(patches) => vec![images(patches), width, patches.positions()],
            None => vec![self.samples, width],
        };
        Ok(x.call_method1(intern!(x.py(), "new_empty"), (shape,))?)
    }
}

/// Tiles by input part, and what they have in common.
struct Layer<'a> {
    parts: Vec<Vec<Tile<'a>>>,
    groups: usize,
    shape: Shape<'a>,
    is_test: bool,
    offset: Option<Floats>,
    y: FloatsMut,
}

impl Layer<'_> {
    fn run(mut self, py: Python<'_>, keys: &[Key]) -> PyResult<()> {
        let (groups, shape, is_test) = (self.groups, self.shape, self.is_test);
        let direction = direction(shape.backward);
        enter(py, || {
            let lens: Vec<_> = self.parts.iter().map(Vec::len).collect();
            let mut tiles: Vec<&mut Tile<'_>> = self.parts.iter_mut().flatten().collect();
            let here: Vec<_> = tiles.iter().map(|tile| tile.spec.lock.here()).collect();
            let mut runnings: Vec<Option<FloatsMut>> =
                tiles.iter_mut().map(|tile| tile.lines.running.take()).collect();
            let changes = runnings.iter().map(Option::is_some);
            let _held = lock::hold(here.iter().map(AsRef::as_ref).zip(changes).collect());
            let mut masks: Vec<_> = tiles.iter_mut().map(|tile| tile.mask.take()).collect();
            let factors: Vec<_> = tiles.iter().map(|tile| tile.outputs.factors()).collect();
            let own = masks.iter_mut().zip(&mut runnings).zip(&factors);
            let mut ready =
                tiles.iter().zip(own).zip(keys).map(|((tile, ((mask, running), factors)), key)| {
                    let mvm = tile.spec.mvm(direction);
                    GridTile {
                        mvm,
                        x: tile.inputs(&shape, mvm.n_in()),
                        weights: tile.weight.slice(),
                        key: *key,
                        lines: tile.lines.borrow(),
                        running: running.as_mut().and_then(|value| value.slice().first_mut()),
                        mask: mask.as_mut().map(BytesMut::slice),
                        outputs: Outputs { factors, offset: &[] },
                    }
                });
            let parts = lens.into_iter().map(|len| ready.by_ref().take(len).collect()).collect();
            let offset = self.offset.as_ref().map_or(&[][..], Floats::slice);
            let (samples, layout, y) = (shape.samples, shape.layout(), self.y.slice());
            Grid { parts, groups, samples, is_test, offset, layout, y }.run()
        })
    }
}

/// Runs the kernel with the keys of the tiles.
type Kernel<'a> = &'a mut dyn FnMut(&[Key]) -> PyResult<()>;

/// Borrows everything, what `positions` wants among it, lets `numbered` find the keys of the tiles, and
/// returns the outputs and what it returned.
#[allow(clippy::too_many_arguments, reason = "one flat call keeps the eager path short")]
fn run<'py, P, R>(
    py: Python<'py>,
    given: &[Vec<Given<'py>>],
    shape: Shape<'_>,
    is_test: bool,
    offset: Option<&Bound<'py, PyAny>>,
    groups: usize,
    position: impl Fn(&Given<'py>, &mut Borrowed) -> PyResult<P>,
    numbered: impl FnOnce(&[P], Kernel<'_>) -> PyResult<R>,
) -> PyResult<(Bound<'py, PyAny>, R)> {
    let tiles: Vec<&Given<'py>> = given.iter().flatten().collect();
    let (Some((_, x, ..)), Some(first)) = (tiles.first(), given.first()) else {
        return Err(mho_core::Error::Argument {
            argument: "parts",
            why: "must have a tile".to_owned(),
        }
        .into());
    };
    let mut borrowed = Borrowed::default();
    let positions = tiles.iter().map(|tile| position(tile, &mut borrowed));
    let positions = positions.collect::<PyResult<Vec<_>>>()?;
    let mut parts = Vec::with_capacity(given.len());
    for part in given {
        let part = part.iter().map(|tile| Tile::new(tile, &mut borrowed));
        parts.push(part.collect::<PyResult<Vec<_>>>()?);
    }
    let Shape { samples, backward, patches } = shape;
    if let Some(patches) = patches.filter(|_| backward) {
        for tile in parts.iter_mut().flatten() {
            let lines = tile.x.len().checked_div(samples).unwrap_or(1).max(1);
            tile.points = Some(Patches::of_points(lines, patches.positions())?);
        }
    }
    let offset = offset.map(|offset| borrowed.floats("offset", offset)).transpose()?;
    // Checked here because the outputs are made of it: every sample has an input at least.
    let each = if backward { 1 } else { patches.map_or(1, Patches::positions) };
    if parts.iter().flatten().any(|tile| tile.x.len() < samples / each) {
        let (expected, got) = (format!("{samples} samples"), "fewer elements".to_owned());
        return Err(mho_core::Error::Shape { argument: "x", expected, got }.into());
    }
    let direction = direction(backward);
    let width: usize = first.iter().map(|tile| tile.0.get().mvm(direction).n_out()).sum();
    let output = shape.outputs(x, width * groups)?;
    let y = Borrowed::fresh(&output)?;
    let mut layer = Some(Layer { parts, groups, shape, is_test, offset, y });
    let result =
        numbered(&positions, &mut |keys| layer.take().map_or(Ok(()), |layer| layer.run(py, keys)))?;
    Ok((output, result))
}

/// Numbers a call of each tile of a layer and returns their outputs, `[samples, outputs]`, summed over
/// input parts and side by side, with `offset`, and the numbers, in the order of the tiles. If it fails,
/// no tile has been called. With `patches`, inputs are images, and outputs `[images, outputs, positions]`.
#[pyfunction]
#[pyo3(signature = (parts, samples, is_test, offset=None, groups=1, patches=None))]
pub(super) fn forward_grid<'py>(
    py: Python<'py>,
    parts: Vec<Vec<Given<'py>>>,
    samples: usize,
    is_test: bool,
    offset: Option<&Bound<'py, PyAny>>,
    groups: usize,
    patches: Option<&Bound<'py, PyPatches>>,
) -> PyResult<(Bound<'py, PyAny>, Vec<i64>)> {
    let patches = patches.map(|patches| &patches.get().0);
    let shape = Shape { samples, backward: false, patches };
    let stream =
        |tile: &Given<'py>, borrowed: &mut Borrowed| Stream::new(&tile.4, &tile.5, borrowed);
    run(py, &parts, shape, is_test, offset, groups, stream, |streams, kernel| {
        numbered_together(streams, |keys, numbers| {
            kernel(keys)?;
            Ok(numbers.to_vec())
        })
    })
}

/// Returns the transposed products of all tiles of a layer, `[samples, inputs]`: `parts` are output
/// parts here, and their tiles those of the input parts. With `patches`, inputs are
/// `[images, outputs, positions]`, and the products are added up in images `[images, image]`.
#[pyfunction]
#[pyo3(signature = (parts, samples, is_test, groups=1, patches=None))]
pub(super) fn backward_grid<'py>(
    py: Python<'py>,
    parts: Vec<Vec<Given<'py>>>,
    samples: usize,
    is_test: bool,
    groups: usize,
    patches: Option<&Bound<'py, PyPatches>>,
) -> PyResult<Bound<'py, PyAny>> {
    let patches = patches.map(|patches| &patches.get().0);
    let shape = Shape { samples, backward: true, patches };
    let position = |tile: &Given<'py>, borrowed: &mut Borrowed| {
        Ok(key(borrowed.int("seed", &tile.4)?, tile.5.extract()?))
    };
    let found =
        run(py, &parts, shape, is_test, None, groups, position, |keys, kernel| kernel(keys))?;
    Ok(found.0)
}
