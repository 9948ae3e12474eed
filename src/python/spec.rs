//! The parsed configuration as a frozen Python class.

use super::error::PyResult;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyDict};

use super::array::Borrowed;
use super::cells::{CellTensors, Cells};
use super::lock::TileLock;
use mho_core::config::TileConfig;
use mho_core::devices::{Device, DeviceConfig, Plane};
use mho_core::mvm::{Direction, Mvm};
use mho_core::state::AnyConfig;
use mho_core::tile::TileSpec;
use mho_core::unit_cells::CellTileSpec;
use mho_core::{Error, Result};

/// `mho._core.TileSpec`.
#[pyclass(frozen, name = "TileSpec", module = "mho._core")]
pub(super) struct PyTileSpec {
    pub(super) crosspoints: Crosspoints,
    pub(super) lock: TileLock,
}

/// What stands at the crosspoints.
pub(super) enum Crosspoints {
    /// A device, with the names of its hidden parameters.
    Devices(Box<TileSpec>, Vec<&'static str>),
    /// A cell of several.
    Cells(Box<Cells>),
}

/// Mean step of a device, or of each device of a cell, instead of that of the configuration.
#[derive(FromPyObject, IntoPyObject)]
pub(super) enum Steps {
    #[pyo3(transparent)]
    Single(f64),
    #[pyo3(transparent)]
    Each(Vec<f64>),
}

impl Crosspoints {
    fn new(
        text: &str,
        [d_size, x_size]: [usize; 2],
        analog_bias: bool,
        steps: Option<Steps>,
    ) -> Result<Self> {
        match AnyConfig::from_json(text)? {
            AnyConfig::Devices(config) => {
                let dw_min = match steps {
                    Some(Steps::Single(dw_min)) => Some(dw_min),
                    _ => None,
                };
                let spec = TileSpec::with_step(config, d_size, x_size, analog_bias, dw_min)?;
                let names = spec.device().hidden_names();
                Ok(Self::Devices(Box::new(spec), names))
            }
            AnyConfig::Cells(config) => {
                let steps = match steps {
                    Some(Steps::Each(steps)) => steps,
                    _ => Vec::new(),
                };
                let spec = CellTileSpec::with_steps(config, d_size, x_size, analog_bias, &steps)?;
                Ok(Self::Cells(Box::new(Cells::new(spec))))
            }
        }
    }
}

impl PyTileSpec {
    /// The product of one direction.
    pub(super) fn mvm(&self, direction: Direction) -> &Mvm {
        match &self.crosspoints {
            Crosspoints::Devices(spec, _) => spec.mvm(direction),
            Crosspoints::Cells(cells) => cells.spec.mvm(direction),
        }
    }

    /// Rows and columns.
    pub(super) fn sizes(&self) -> [usize; 2] {
        match &self.crosspoints {
            Crosspoints::Devices(spec, _) => [spec.d_size(), spec.x_size()],
            Crosspoints::Cells(cells) => [cells.spec.cells().d_size(), cells.spec.cells().x_size()],
        }
    }

    pub(super) fn analog_bias(&self) -> bool {
        match &self.crosspoints {
            Crosspoints::Devices(spec, _) => spec.analog_bias(),
            Crosspoints::Cells(cells) => cells.spec.cells().analog_bias(),
        }
    }

    /// The tile of single devices that it is, for what cells do not have.
    pub(super) fn devices(&self, what: &'static str) -> Result<&TileSpec> {
        match &self.crosspoints {
            Crosspoints::Devices(spec, _) => Ok(spec),
            Crosspoints::Cells(cells) => {
                let why = format!("{} has none, it is made of several devices", cells.name());
                Err(Error::unsupported(what, why))
            }
        }
    }

    /// The single device.
    pub(super) fn single(&self, what: &'static str) -> Result<&Device> {
        self.devices(what).map(TileSpec::device)
    }
}

pub(super) fn direction(backward: bool) -> Direction {
    if backward { Direction::Backward } else { Direction::Forward }
}

#[pymethods]
impl PyTileSpec {
    #[new]
    #[pyo3(signature = (config, d_size, x_size, analog_bias=false, dw_min=None))]
    fn new(
        config: &str,
        d_size: usize,
        x_size: usize,
        analog_bias: bool,
        dw_min: Option<Steps>,
    ) -> PyResult<Self> {
        let crosspoints = Crosspoints::new(config, [d_size, x_size], analog_bias, dw_min)?;
        Ok(Self { crosspoints, lock: TileLock::new() })
    }

    #[getter]
    fn config(&self) -> PyResult<String> {
        Ok(match &self.crosspoints {
            Crosspoints::Devices(spec, _) => spec.config().to_json()?,
            Crosspoints::Cells(cells) => cells.spec.config().to_json()?,
        })
    }

    #[getter]
    fn device(&self) -> &'static str {
        match &self.crosspoints {
            Crosspoints::Devices(spec, _) => spec.device().name(),
            Crosspoints::Cells(cells) => cells.name(),
        }
    }

    #[getter]
    fn is_pulsed(&self) -> bool {
        match &self.crosspoints {
            Crosspoints::Devices(spec, _) => spec.device().is_pulsed(),
            Crosspoints::Cells(_) => true,
        }
    }

    #[getter]
    fn is_cell(&self) -> bool {
        matches!(self.crosspoints, Crosspoints::Cells(_))
    }

    #[getter]
    fn x_size(&self) -> usize {
        self.sizes()[1]
    }

    #[getter]
    fn d_size(&self) -> usize {
        self.sizes()[0]
    }

    #[getter]
    fn weight_granularity(&self) -> f64 {
        match &self.crosspoints {
            Crosspoints::Devices(spec, _) => spec.device().granularity(),
            Crosspoints::Cells(cells) => cells.spec.cells().granularity(),
        }
    }

    /// Whether steps are infinitely fine, so that there are no pulses.
    #[getter]
    fn flows(&self) -> bool {
        match &self.crosspoints {
            Crosspoints::Devices(spec, _) => spec.device().flows(),
            Crosspoints::Cells(cells) => cells.spec.cells().flows(),
        }
    }

    /// Endings of the names of what each device that drifts remembers.
    #[getter]
    fn drifting(&self) -> Vec<String> {
        match &self.crosspoints {
            Crosspoints::Devices(spec, _) => {
                spec.config().device.drift().map(|_| String::new()).into_iter().collect()
            }
            Crosspoints::Cells(cells) => {
                cells.spec.cells().drifting().into_iter().map(|(_, ending)| ending).collect()
            }
        }
    }

    #[getter]
    fn counts_pulses(&self) -> bool {
        self.single("count_pulses")
            .is_ok_and(|device| device.config().pulsed().is_some_and(|pulsed| pulsed.count_pulses))
    }

    /// Names of all matrices beside the visible weights, and of a device whose weights these are.
    #[getter]
    fn hidden_names(&self) -> Vec<String> {
        match &self.crosspoints {
            Crosspoints::Devices(_, names) => names.iter().map(|name| (*name).to_owned()).collect(),
            Crosspoints::Cells(cells) => cells.hidden_names(),
        }
    }

    /// Name of the hidden weights that are the visible ones, if a device of a cell has these.
    #[getter]
    fn visible_name(&self) -> Option<String> {
        match &self.crosspoints {
            Crosspoints::Devices(..) => None,
            Crosspoints::Cells(cells) => cells.spec.cells().visible_name(),
        }
    }

    /// Names of the matrices that updates change, beside the weights themselves.
    #[getter]
    fn weight_names(&self) -> Vec<String> {
        match &self.crosspoints {
            Crosspoints::Devices(spec, names) => {
                let persistent = spec.device().persistent_position();
                persistent.map(|at| names[at].to_owned()).into_iter().collect()
            }
            Crosspoints::Cells(cells) => cells.weight_names(),
        }
    }

    /// Name, dtype and length of what a cell has in its state beside matrices.
    #[getter]
    fn cell_entries(&self) -> Vec<(String, &'static str, usize)> {
        match &self.crosspoints {
            Crosspoints::Devices(..) => Vec::new(),
            Crosspoints::Cells(cells) => cells.entries(),
        }
    }

    /// Number of devices between which updates choose.
    #[getter]
    fn choices(&self) -> Option<usize> {
        match &self.crosspoints {
            Crosspoints::Devices(..) => None,
            Crosspoints::Cells(cells) => cells.spec.cells().choices(),
        }
    }

    fn hidden_constant(&self, name: &str) -> Option<f32> {
        match &self.crosspoints {
            Crosspoints::Devices(spec, _) => spec.device().hidden_constant(name),
            Crosspoints::Cells(cells) => cells.constant(name),
        }
    }

    fn construct<'py>(&self, py: Python<'py>, seed: i64) -> PyResult<Bound<'py, PyDict>> {
        let device = self.single("construct")?;
        let planes = super::gil::enter(py, || device.construct(seed as u64))?;
        let dict = PyDict::new(py);
        for (name, plane) in planes {
            Error::check_drawn("device", name, plane.values())?;
            match plane {
                Plane::Constant(value) => dict.set_item(name, value)?,
                Plane::Values(values) => dict.set_item(name, bytes(py, &values)?)?,
            }
        }
        Ok(dict)
    }

    /// Draws hidden parameters into tensors, given by name; of a cell all of its state.
    fn construct_into(
        &self,
        py: Python<'_>,
        seed: i64,
        weight: &Bound<'_, PyAny>,
        hidden: &Bound<'_, PyDict>,
    ) -> PyResult<()> {
        let mut borrowed = Borrowed::default();
        let (spec, names) = match &self.crosspoints {
            Crosspoints::Devices(spec, names) => (spec, names),
            Crosspoints::Cells(cells) => {
                let mut tensors = CellTensors::new(cells, weight, hidden, &mut borrowed)?;
                return super::gil::enter(py, || {
                    let state = tensors.state()?;
                    cells.spec.cells().construct(state, seed as u64)
                });
            }
        };
        let mut tensors = Vec::new();
        for (name, tensor) in hidden {
            let name: String = name.extract()?;
            let Some(number) = names.iter().position(|known| *known == name) else {
                let why = format!("unknown name {name:?}");
                return Err(Error::Argument { argument: "hidden", why }.into());
            };
            tensors.push((number, borrowed.floats_mut(names[number], &tensor)?));
        }
        super::gil::enter(py, || {
            let values = tensors.iter_mut().map(|(number, tensor)| (*number, tensor.slice()));
            spec.device().construct_values(seed as u64, values.collect())?;
            tensors.iter_mut().try_for_each(|(number, tensor)| {
                Error::check_drawn("device", names[*number], tensor.slice())
            })
        })
    }

    fn line_names(&self, backward: bool) -> Vec<&'static str> {
        self.mvm(direction(backward)).line_names().to_vec()
    }

    fn construct_lines<'py>(
        &self,
        py: Python<'py>,
        backward: bool,
        seed: i64,
    ) -> PyResult<Bound<'py, PyDict>> {
        let mvm = self.mvm(direction(backward));
        let lines = super::gil::enter(py, || mvm.construct_lines(seed as u64))?;
        let dict = PyDict::new(py);
        let field = if backward { "backward" } else { "forward" };
        for (name, values) in lines {
            Error::check_drawn(field, name, &values)?;
            dict.set_item(name, bytes(py, &values)?)?;
        }
        Ok(dict)
    }
}

/// The values as bytes in the order of this machine, from which Python makes a tensor.
fn bytes<'py>(py: Python<'py>, values: &[f32]) -> PyResult<Bound<'py, PyByteArray>> {
    Ok(PyByteArray::new_with(py, size_of_val(values), |bytes| {
        for (out, value) in bytes.chunks_exact_mut(size_of::<f32>()).zip(values) {
            out.copy_from_slice(&value.to_ne_bytes());
        }
        Ok(())
    })?)
}

/// JSON of the default tile configuration with the named device.
#[pyfunction]
pub(super) fn default_config(device: &str) -> PyResult<String> {
    let device = DeviceConfig::named(device)
        .ok_or_else(|| Error::config("device.type", format!("unknown device {device:?}")))?;
    Ok(TileConfig::default().with(|p| p.device = device).to_json()?)
}

/// Names of the registered devices.
#[pyfunction]
pub(super) fn device_names() -> Vec<&'static str> {
    DeviceConfig::names()
}
