//! State of tiles of single devices.

use super::config::{AnyConfig, Steps};
use super::names::{self, in_group};
use super::parts::{put_drift, put_lines, put_position, take_drift, take_lines};
use super::tensor::Values;
use super::tile_state::{Entries, TileState, check_bounds, missing, named};
use crate::devices::{Cells, Plane, PlaneRef};
use crate::error::{Error, Result};
use crate::memory;
use crate::mvm::Direction;
use crate::tile::{Tile, TileSpec};

const PERSISTENT: &str = "persistent_weights";

impl Tile {
    /// A copy of all that the next calls depend on, see [`TileState`].
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn state(&self) -> Result<TileState> {
        let shape = [self.spec.d_size(), self.spec.x_size()];
        let dw_min = self.spec.dw_min().map(Steps::Single);
        let config = AnyConfig::Devices(self.spec.config().clone());
        let mut state = TileState::new(config, dw_min, self.spec.analog_bias(), Default::default());
        state.put(names::WEIGHTS, &shape, Values::F32(memory::copied(&self.weights)?));
        put_position(&mut state, self.seed, self.calls);
        let planes = self.planes.iter().filter_map(|(name, plane)| match plane {
            // Those that the configuration makes equal are left out.
            Plane::Constant(_) => None,
            Plane::Values(values) => Some((*name, values.as_slice())),
        });
        let persistent = self.persistent.as_deref().map(|values| (PERSISTENT, values));
        for (name, values) in planes.filter(|(name, _)| *name != PERSISTENT).chain(persistent) {
            let values = Values::F32(memory::copied(values)?);
            state.put(in_group(names::HIDDEN, name), &shape, values);
        }
        put_lines(&mut state, Direction::Forward, &self.forward_lines)?;
        put_lines(&mut state, Direction::Backward, &self.backward_lines)?;
        if let Some(drift) = &self.drift {
            put_drift(&mut state, "", &shape, drift)?;
        }
        if let Some(counts) = &self.counts {
            let shape = [2, shape[0], shape[1]];
            state.put(names::COUNTS, &shape, Values::I64(memory::copied(counts)?));
        }
        Ok(state)
    }

    /// A tile that goes on where the one of the state was.
    ///
    /// # Errors
    /// [`Error::State`] for an entry that is missing, unknown, of another type or shape, or has values that
    /// no such tile can have; [`Error::Config`], [`Error::Unsupported`] as [`TileSpec::new`], and for tiles
    /// of cells and of Python code; [`Error::Memory`].
    pub fn from_state(state: &TileState) -> Result<Self> {
        let AnyConfig::Devices(config) = &state.config else {
            let why = "the state is that of a tile of cells; make a CellTile of it, or an AnyTile";
            return Err(Error::unsupported("device", why));
        };
        let mut entries = Entries::new(state)?;
        let shape = state.sizes()?;
        let dw_min = match &state.dw_min {
            None => None,
            Some(Steps::Single(dw_min)) => Some(*dw_min),
            Some(Steps::Each(_)) => {
                let why = "dw_min: expected one mean step, got those of a cell".to_owned();
                return Err(Error::State { why });
            }
        };
        let bias = state.analog_bias;
        let spec = TileSpec::with_step(config.clone(), shape[0], shape[1], bias, dw_min)?;
        let (seed, calls) = entries.position()?;
        let weights = memory::copied(entries.take_finite(names::WEIGHTS, &shape)?)?;
        let (planes, persistent) = take_planes(&mut entries, &spec, &shape)?;
        check_devices(&spec, &weights, persistent.as_deref(), &planes)?;
        let forward_lines =
            take_lines(&mut entries, Direction::Forward, spec.mvm(Direction::Forward), seed)?;
        let backward_lines =
            take_lines(&mut entries, Direction::Backward, spec.mvm(Direction::Backward), seed)?;
        let drifts = spec.config().device.drift().is_some() && entries.has_group(names::DRIFT);
        let drift = drifts.then(|| take_drift(&mut entries, "", &shape)).transpose()?;
        let counts = take_counts(&mut entries, &spec, shape)?;
        entries.finish(spec.device().name())?;
        Ok(Self {
            spec,
            weights,
            planes,
            persistent,
            forward_lines,
            backward_lines,
            drift,
            counts,
            seed,
            calls,
            bias_input: 1.0,
        })
    }
}

/// Hidden parameters in the order of the device.
type Planes = Vec<(&'static str, Plane)>;

fn take_planes(
    entries: &mut Entries<'_>,
    spec: &TileSpec,
    shape: &[usize],
) -> Result<(Planes, Option<Vec<f32>>)> {
    let device = spec.device();
    let mut planes = Vec::new();
    let mut persistent = None;
    for name in device.hidden_names() {
        let key = in_group(names::HIDDEN, name);
        if name == PERSISTENT {
            persistent = Some(memory::copied(entries.take_finite(&key, shape)?)?);
            // Its slot among the planes stays free.
            planes.push((name, Plane::Constant(0.0)));
            continue;
        }
        let plane = match (entries.find::<f32>(&key, shape)?, device.hidden_constant(name)) {
            (Some(values), _) => Plane::Values(memory::copied(values)?),
            (None, Some(constant)) => Plane::Constant(constant),
            (None, None) => return Err(missing(&key)),
        };
        planes.push((name, plane));
    }
    Ok((planes, persistent))
}

/// Checks that devices can be as they are said to be, and have these weights.
fn check_devices(
    spec: &TileSpec,
    weights: &[f32],
    persistent: Option<&[f32]>,
    planes: &[(&'static str, Plane)],
) -> Result<()> {
    let device = spec.device();
    let planes: Vec<PlaneRef<'_>> = planes.iter().map(|(_, plane)| plane.as_ref()).collect();
    device.check_planes(&planes).map_err(named(names::HIDDEN))?;
    let (mut inside, mut held) =
        (memory::copied(weights)?, persistent.map(memory::copied).transpose()?);
    let cells = Cells { weights: &mut inside, persistent: held.as_deref_mut(), planes: &planes };
    device.enter_bounds(cells)?;
    match (persistent, &held) {
        (Some(persistent), Some(held)) => {
            check_bounds(&in_group(names::HIDDEN, PERSISTENT), persistent, held, 0.0)
        }
        _ => check_bounds(names::WEIGHTS, weights, &inside, 0.0),
    }
}

fn take_counts(
    entries: &mut Entries<'_>,
    spec: &TileSpec,
    [d_size, x_size]: [usize; 2],
) -> Result<Option<Vec<i64>>> {
    if !spec.counts_pulses() {
        return Ok(None);
    }
    let counts = entries.take::<i64>(names::COUNTS, &[2, d_size, x_size])?;
    if counts.iter().any(|count| *count < 0) {
        let why = format!("{}: counts must not be negative", names::COUNTS);
        return Err(Error::State { why });
    }
    memory::copied(counts).map(Some)
}
