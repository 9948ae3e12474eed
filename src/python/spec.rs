//! The parsed configuration as a frozen Python class.

use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyDict};

use super::array::Borrowed;
use super::lock::TileLock;
use crate::config::TileConfig;
use crate::devices::{DeviceConfig, Plane};
use crate::error::{Error, Result};
use crate::mvm::{Direction, Mvm};
use crate::tile::TileSpec;

/// `mho._core.TileSpec`.
#[pyclass(frozen, name = "TileSpec", module = "mho._core")]
pub(super) struct PyTileSpec {
    pub(super) spec: TileSpec,
    pub(super) hidden_names: Vec<&'static str>,
    pub(super) lock: TileLock,
}

impl PyTileSpec {
    fn mvm(&self, backward: bool) -> &Mvm {
        self.spec.mvm(direction(backward))
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
        dw_min: Option<f64>,
    ) -> PyResult<Self> {
        let build = || -> Result<TileSpec> {
            let mut config = TileConfig::from_json(config)?;
            if let (Some(dw_min), Some(pulsed)) = (dw_min, config.device.pulsed_mut()) {
                pulsed.dw_min = dw_min;
            }
            TileSpec::new(config, d_size, x_size, analog_bias)
        };
        let spec = build()?;
        let hidden_names = spec.device().hidden_names();
        Ok(Self { spec, hidden_names, lock: TileLock::new() })
    }

    #[getter]
    fn config(&self) -> PyResult<String> {
        Ok(self.spec.config().to_json()?)
    }

    #[getter]
    fn device(&self) -> &'static str {
        self.spec.device().name()
    }

    #[getter]
    fn is_pulsed(&self) -> bool {
        self.spec.device().is_pulsed()
    }

    #[getter]
    fn x_size(&self) -> usize {
        self.spec.x_size()
    }

    #[getter]
    fn d_size(&self) -> usize {
        self.spec.d_size()
    }

    #[getter]
    fn weight_granularity(&self) -> f64 {
        self.spec.device().granularity()
    }

    #[getter]
    fn drifts(&self) -> bool {
        self.spec.config().device.drift().is_some()
    }

    #[getter]
    fn counts_pulses(&self) -> bool {
        self.spec.device().config().pulsed().is_some_and(|pulsed| pulsed.count_pulses)
    }

    #[getter]
    fn hidden_names(&self) -> Vec<&'static str> {
        self.hidden_names.clone()
    }

    fn hidden_constant(&self, name: &str) -> Option<f32> {
        self.spec.device().hidden_constant(name)
    }

    fn construct<'py>(&self, py: Python<'py>, seed: i64) -> PyResult<Bound<'py, PyDict>> {
        let planes = super::gil::enter(py, || self.spec.device().construct(seed as u64))?;
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

    /// Draws hidden parameters into tensors, given by name.
    fn construct_into(
        &self,
        py: Python<'_>,
        seed: i64,
        planes: &Bound<'_, PyDict>,
    ) -> PyResult<()> {
        let device = self.spec.device();
        let (mut borrowed, mut tensors) = (Borrowed::default(), Vec::new());
        for (name, tensor) in planes {
            let name: String = name.extract()?;
            let known = self.hidden_names.iter().position(|known| *known == name);
            let Some(number) = known else {
                let why = format!("unknown name {name:?}");
                return Err(Error::Argument { argument: "planes", why }.into());
            };
            tensors.push((number, borrowed.floats_mut(self.hidden_names[number], &tensor)?));
        }
        super::gil::enter(py, || {
            let values = tensors.iter_mut().map(|(number, tensor)| (*number, tensor.slice()));
            device.construct_values(seed as u64, values.collect())?;
            tensors.iter_mut().try_for_each(|(number, tensor)| {
                Error::check_drawn("device", self.hidden_names[*number], tensor.slice())
            })
        })
    }

    fn line_names(&self, backward: bool) -> Vec<&'static str> {
        self.mvm(backward).line_names().to_vec()
    }

    fn construct_lines<'py>(
        &self,
        py: Python<'py>,
        backward: bool,
        seed: i64,
    ) -> PyResult<Bound<'py, PyDict>> {
        let lines = super::gil::enter(py, || self.mvm(backward).construct_lines(seed as u64))?;
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
    PyByteArray::new_with(py, size_of_val(values), |bytes| {
        for (out, value) in bytes.chunks_exact_mut(size_of::<f32>()).zip(values) {
            out.copy_from_slice(&value.to_ne_bytes());
        }
        Ok(())
    })
}

/// JSON of the default tile configuration with the named device.
#[pyfunction]
pub(super) fn default_config(device: &str) -> PyResult<String> {
    let device = DeviceConfig::named(device)
        .ok_or_else(|| Error::config("device.type", format!("unknown device {device:?}")))?;
    Ok(TileConfig { device, ..TileConfig::default() }.to_json()?)
}

/// Names of the registered devices.
#[pyfunction]
pub(super) fn device_names() -> Vec<&'static str> {
    DeviceConfig::names()
}
