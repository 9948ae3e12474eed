//! The verbs on borrowed tensors.

use super::error::PyResult;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::array::{self, Borrowed, BytesMut, Floats, FloatsMut, IntsMut};
use super::cells::{self, CellBatch, CellTensors};
use super::gil::enter;
use super::periphery::OutputTensors;
use super::spec::{Crosspoints, PyTileSpec, direction};
use super::stream::{Stream, key};
use super::team;
use mho_core::devices::PlaneRef;
use mho_core::finite;
use mho_core::mvm::{Direction, Lines, Request};
use mho_core::par;
use mho_core::pulse::{self, Update};
use mho_core::rng::Key;
use mho_core::tile::{self, TileSpec};
use mho_core::{Error, Result};

/// Hidden plane that kernels write: the weight before write noise.
pub(super) const PERSISTENT: &str = "persistent_weights";
/// Per-line value that the product writes: the running scale of the noise management.
const RUNNING: &str = "running_abs_max";

/// Per-line tensors of one direction.
#[derive(Default)]
pub(super) struct LineTensors {
    out_noise_values: Option<Floats>,
    v_offset: Option<Floats>,
    w_asymmetry: Option<Floats>,
    out_nonlinearity: Option<Floats>,
    out_nonlinearity_factor: Option<Floats>,
    pub(super) running: Option<FloatsMut>,
}

impl LineTensors {
    pub(super) fn new(
        lines: Option<&Bound<'_, PyDict>>,
        borrowed: &mut Borrowed,
    ) -> PyResult<Self> {
        let Some(lines) = lines else { return Ok(Self::default()) };
        let running = lines.get_item(RUNNING)?;
        let running = running.map(|tensor| borrowed.floats_mut(RUNNING, &tensor)).transpose()?;
        let mut get = |name: &'static str| -> PyResult<Option<Floats>> {
            lines.get_item(name)?.map(|tensor| borrowed.floats(name, &tensor)).transpose()
        };
        Ok(Self {
            out_noise_values: get("out_noise_values")?,
            v_offset: get("v_offset")?,
            w_asymmetry: get("w_asymmetry")?,
            out_nonlinearity: get("out_nonlinearity")?,
            out_nonlinearity_factor: get("out_nonlinearity_factor")?,
            running,
        })
    }

    pub(super) fn borrow(&self) -> Lines<'_> {
        fn values(tensor: &Option<Floats>) -> &[f32] {
            tensor.as_ref().map_or(&[], Floats::slice)
        }
        Lines {
            out_noise_values: values(&self.out_noise_values),
            v_offset: values(&self.v_offset),
            w_asymmetry: values(&self.w_asymmetry),
            out_nonlinearity: values(&self.out_nonlinearity),
            out_nonlinearity_factor: values(&self.out_nonlinearity_factor)
                .first()
                .copied()
                .unwrap_or(1.0),
        }
    }
}

/// The borrowed tensors of a product.
struct Tensors {
    x: Floats,
    weight: Floats,
    y: FloatsMut,
    lines: LineTensors,
    mask: Option<Mask>,
    outputs: OutputTensors,
}

/// Where it is noted which outputs are clipped.
enum Mask {
    Given(BytesMut),
    Own(Vec<u8>),
}

impl Mask {
    fn slice(&mut self) -> &mut [u8] {
        match self {
            Self::Given(tensor) => tensor.slice(),
            Self::Own(values) => values,
        }
    }

    /// A tensor of the same kind as `x` with what was noted on the side, None if nothing is clipped.
    fn noted<'py>(
        &self,
        x: &Bound<'py, PyAny>,
        shape: (usize, usize),
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Self::Own(values) = self else { return Ok(None) };
        if values.iter().fold(0, |all, value| all | value) == 0 {
            return Ok(None);
        }
        array::uint8(x, shape, values).map(Some)
    }
}

/// The numbers of a product.
#[derive(Clone, Copy)]
struct Numbers {
    direction: Direction,
    key: Key,
    is_test: bool,
    bias: Option<f32>,
}

impl Tensors {
    fn run(&mut self, py: Python<'_>, tile: &PyTileSpec, numbers: Numbers) -> PyResult<()> {
        let Numbers { direction, key, is_test, bias } = numbers;
        // In the backward pass an analog bias column is computed and dropped.
        let drop_last = direction == Direction::Backward && tile.analog_bias();
        let mvm = tile.mvm(direction);
        enter(py, || {
            let width = mvm.n_out() - usize::from(drop_last);
            let factors = self.outputs.factors();
            let outputs = self.outputs.borrow(&factors);
            outputs.check(width)?;
            let mut running = self.lines.running.take();
            let lock = tile.lock.here();
            let (_read, _write) = match running {
                Some(_) => (None, Some(lock.write())),
                None => (Some(lock.read()), None),
            };
            let y = self.y.slice();
            mvm.run(
                Request::new(
                    self.x.slice(),
                    self.weight.slice(),
                    &mut *y,
                    self.lines.borrow(),
                    key,
                )
                .with(|u| {
                    u.bias = bias;
                    u.drop_last = drop_last;
                    u.is_test = is_test;
                    u.running = running.as_mut().and_then(|tensor| tensor.slice().first_mut());
                    u.mask = self.mask.as_mut().map(Mask::slice);
                }),
            )?;
            outputs.apply(y, width)
        })
    }
}

/// Writes the analog product of `x` into `y`.
#[pyfunction]
#[pyo3(signature = (spec, backward, x, weight, y, seed, call, is_test, bias=None, lines=None, mask=None))]
#[allow(clippy::too_many_arguments, reason = "one flat call keeps the eager path short")]
pub(super) fn mvm(
    py: Python<'_>,
    spec: &Bound<'_, PyTileSpec>,
    backward: bool,
    x: &Bound<'_, PyAny>,
    weight: &Bound<'_, PyAny>,
    y: &Bound<'_, PyAny>,
    seed: &Bound<'_, PyAny>,
    call: i64,
    is_test: bool,
    bias: Option<f32>,
    lines: Option<&Bound<'_, PyDict>>,
    mask: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let mut borrowed = Borrowed::default();
    let (x, weight) = (borrowed.floats("x", x)?, borrowed.floats("weight", weight)?);
    let y = borrowed.floats_mut("y", y)?;
    let lines = LineTensors::new(lines, &mut borrowed)?;
    let mask = mask.map(|mask| borrowed.bytes_mut("mask", mask)).transpose()?.map(Mask::Given);
    let outputs = OutputTensors::default();
    let key = key(borrowed.int("seed", seed)?, call);
    let mut tensors = Tensors { x, weight, y, lines, mask, outputs };
    let numbers = Numbers { direction: direction(backward), key, is_test, bias };
    tensors.run(py, spec.get(), numbers)
}

/// Numbers a call and returns its outputs, `[samples, out]`, with factors and offset of the
/// periphery, where they are clipped if that is asked for and they are, and its number. A call that
/// fails has not been one.
#[pyfunction]
#[pyo3(signature = (spec, x, weight, seed, calls, is_test, bias=None, lines=None, want_mask=false, factors=None, offset=None))]
#[allow(clippy::too_many_arguments, reason = "one flat call keeps the eager path short")]
pub(super) fn forward<'py>(
    py: Python<'py>,
    spec: &Bound<'py, PyTileSpec>,
    x: &Bound<'py, PyAny>,
    weight: &Bound<'py, PyAny>,
    seed: &Bound<'py, PyAny>,
    calls: &Bound<'py, PyAny>,
    is_test: bool,
    bias: Option<f32>,
    lines: Option<&Bound<'py, PyDict>>,
    want_mask: bool,
    factors: Option<&Bound<'py, PyTuple>>,
    offset: Option<&Bound<'py, PyAny>>,
) -> PyResult<(Bound<'py, PyAny>, Option<Bound<'py, PyAny>>, i64)> {
    let tile = spec.get();
    let mut borrowed = Borrowed::default();
    let (rows, weight) = (borrowed.floats("x", x)?, borrowed.floats("weight", weight)?);
    let lines = LineTensors::new(lines, &mut borrowed)?;
    let outputs = OutputTensors::new(factors, offset, &mut borrowed)?;
    let stream = Stream::new(seed, calls, &mut borrowed)?;
    let mvm = tile.mvm(Direction::Forward);
    let given = (mvm.n_in() - usize::from(bias.is_some())).max(1);
    let shape = (rows.len() / given, mvm.n_out());
    let output = x.call_method1(intern!(py, "new_empty"), shape)?;
    let y = Borrowed::fresh(&output)?;
    let mask = want_mask.then(|| Mask::Own(vec![0; shape.0 * shape.1]));
    let mut tensors = Tensors { x: rows, weight, y, lines, mask, outputs };
    let (mask, call) = stream.numbered(|key, call| {
        let direction = Direction::Forward;
        tensors.run(py, tile, Numbers { direction, key, is_test, bias })?;
        let mask = tensors.mask.map(|mask| mask.noted(x, shape)).transpose()?.flatten();
        Ok((mask, call))
    })?;
    Ok((output, mask, call))
}

/// Hidden planes of a tile of single devices, in the order of its names; missing ones are constants.
pub(super) struct HiddenTensors<'a> {
    spec: &'a TileSpec,
    names: &'a [&'static str],
    planes: Vec<Option<Floats>>,
    pub(super) persistent: Option<FloatsMut>,
}

impl<'a> HiddenTensors<'a> {
    pub(super) fn new(
        spec: &'a TileSpec,
        names: &'a [&'static str],
        hidden: &Bound<'_, PyDict>,
        borrowed: &mut Borrowed,
    ) -> PyResult<Self> {
        for name in hidden.keys() {
            let name: String = name.extract()?;
            if !names.contains(&name.as_str()) {
                let why = format!("the device has no hidden parameter {name:?}");
                return Err(Error::State { why }.into());
            }
        }
        let mut planes = Vec::with_capacity(names.len());
        let mut persistent = None;
        for name in names.iter().copied() {
            let tensor = hidden.get_item(name)?;
            if name == PERSISTENT {
                persistent = tensor.map(|tensor| borrowed.floats_mut(name, &tensor)).transpose()?;
                planes.push(None);
            } else {
                planes.push(tensor.map(|tensor| borrowed.floats(name, &tensor)).transpose()?);
            }
        }
        Ok(Self { spec, names, planes, persistent })
    }

    /// The planes, and the persistent weights if there are any.
    pub(super) fn borrow(&mut self) -> Result<(Vec<PlaneRef<'_>>, Option<&mut [f32]>)> {
        let Self { spec, names, planes, persistent } = self;
        let named = planes.iter().zip(names.iter().copied());
        let planes = named.map(|(plane, name)| Self::plane(plane.as_ref(), name, spec));
        Ok((planes.collect::<Result<_>>()?, persistent.as_mut().map(FloatsMut::slice)))
    }

    fn plane<'b>(
        plane: Option<&'b Floats>,
        name: &'static str,
        spec: &TileSpec,
    ) -> Result<PlaneRef<'b>> {
        match plane {
            Some(tensor) => {
                Error::check_len(name, tensor.slice().len(), spec.d_size() * spec.x_size())?;
                Ok(PlaneRef::Values(tensor.slice()))
            }
            None if name == PERSISTENT => Ok(PlaneRef::Constant(0.0)),
            None => spec.device().hidden_constant(name).map(PlaneRef::Constant).ok_or_else(|| {
                Error::State { why: format!("hidden parameter {name:?} is missing") }
            }),
        }
    }
}

/// Applies the update of all samples in order, in place.
#[pyfunction]
#[pyo3(signature = (spec, weight, hidden, x, d, learning_rate, seed, calls, bias=None, counts=None))]
#[allow(clippy::too_many_arguments, reason = "mirrors the tensors of a tile")]
pub(super) fn update(
    py: Python<'_>,
    spec: &Bound<'_, PyTileSpec>,
    weight: &Bound<'_, PyAny>,
    hidden: &Bound<'_, PyDict>,
    x: &Bound<'_, PyAny>,
    d: &Bound<'_, PyAny>,
    learning_rate: f64,
    seed: &Bound<'_, PyAny>,
    calls: &Bound<'_, PyAny>,
    bias: Option<f32>,
    counts: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let tile = spec.get();
    let mut borrowed = Borrowed::default();
    let stream = Stream::new(seed, calls, &mut borrowed)?;
    let (x, d) = (borrowed.floats("x", x)?, borrowed.floats("d", d)?);
    let (spec, names) = match &tile.crosspoints {
        Crosspoints::Devices(spec, names) => (spec, names),
        Crosspoints::Cells(cells) => {
            let tensors = CellTensors::new(cells, weight, hidden, &mut borrowed)?;
            let batch = CellBatch { x, bias, d, learning_rate };
            return stream
                .numbered(|key, _| cells::update(&tile.lock, cells, tensors, py, &batch, key));
        }
    };
    let mut weight = borrowed.floats_mut("weight", weight)?;
    let mut counts = counts.map(|counts| borrowed.ints_mut("counts", counts)).transpose()?;
    let mut hidden = HiddenTensors::new(spec, names, hidden, &mut borrowed)?;
    stream.numbered(|key, _| {
        enter(py, || {
            let (planes, persistent) = hidden.borrow()?;
            let lock = tile.lock.here();
            let _write = lock.write();
            if !finite::all_finite(weight.slice()) {
                let why = "values must be finite; found NaN or infinity".to_owned();
                return Err(Error::Argument { argument: "weights", why });
            }
            pulse::update(
                Update::new(
                    spec.device(),
                    weight.slice(),
                    &planes,
                    [x.slice(), d.slice()],
                    learning_rate,
                    key,
                )
                .with(|u| {
                    u.persistent = persistent;
                    u.bias = bias;
                    u.counts = counts.as_mut().map(IntsMut::slice);
                }),
            )
        })
    })
}

/// Fills `weight` with uniform draws in `[low, high)`.
#[pyfunction]
pub(super) fn uniform_weights(
    py: Python<'_>,
    weight: &Bound<'_, PyAny>,
    low: f32,
    high: f32,
    seed: &Bound<'_, PyAny>,
    calls: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let mut borrowed = Borrowed::default();
    let stream = Stream::new(seed, calls, &mut borrowed)?;
    let mut weight = borrowed.floats_mut("weight", weight)?;
    stream.numbered(|key, _| enter(py, || tile::fill_uniform(weight.slice(), low, high, key)))
}

/// Sets the number of threads of all kernels.
#[pyfunction]
pub(super) fn set_num_threads(threads: usize) -> PyResult<()> {
    Ok(par::set_num_threads(threads)?)
}

/// Number of threads of all kernels.
#[pyfunction]
pub(super) fn get_num_threads(py: Python<'_>) -> usize {
    team::prepare(py);
    par::num_threads()
}

/// Test hook: makes a kernel of the next update of this process panic half-way.
#[pyfunction]
pub(super) fn panic_in_next_update() {
    mho_core::hooks::panic_in_block(1);
}
