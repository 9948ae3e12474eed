//! State of tiles of cells.

use super::config::{AnyConfig, Steps};
use super::names::{self, in_group};
use super::parts::{put_drift, put_lines, put_position, take_drift, take_lines};
use super::tensor::Values;
use super::tile_state::{Entries, TileState, check_bounds, check_finite, missing, named};
use crate::error::{Error, Result};
use crate::memory;
use crate::mvm::Direction;
use crate::unit_cells::{CellSpec, CellTile, CellTileSpec, OwnedEntry, Slot, SlotKind};

/// Sums of the weights of several devices, about one in size, may round otherwise on another machine.
const SUM: f32 = 1e-6;

impl CellTile {
    /// A copy of all that the next calls depend on, see [`TileState`].
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn state(&self) -> Result<TileState> {
        let cells = self.tile_spec().cells();
        let shape = [cells.d_size(), cells.x_size()];
        let steps = cells.steps();
        let dw_min = (!steps.is_empty()).then(|| Steps::Each(steps.to_vec()));
        let config = AnyConfig::Cells(self.tile_spec().config().clone());
        let mut state = TileState::new(config, dw_min, cells.analog_bias(), Default::default());
        state.put(names::WEIGHTS, &shape, Values::F32(memory::copied(&self.weights)?));
        put_position(&mut state, self.seed, self.calls);
        for (slot, entry) in self.slots.iter().zip(&self.entries) {
            let Some(entry) = entry else { continue };
            let values = match entry {
                OwnedEntry::Floats(values) => Values::F32(memory::copied(values)?),
                OwnedEntry::Signs(values) => Values::I8(memory::copied(values)?),
                OwnedEntry::Integers(values) => Values::I64(memory::copied(values)?),
                OwnedEntry::Reals(values) => Values::F64(memory::copied(values)?),
            };
            if is_matrix(slot) {
                state.put(in_group(names::HIDDEN, &slot.name), &shape, values);
            } else {
                state.put_vector(in_group(names::CELL, &slot.name), values);
            }
        }
        put_lines(&mut state, Direction::Forward, &self.forward_lines)?;
        put_lines(&mut state, Direction::Backward, &self.backward_lines)?;
        for ((_, ending), drift) in cells.drifting().iter().zip(self.drift.iter().flatten()) {
            put_drift(&mut state, ending, &shape, drift)?;
        }
        Ok(state)
    }

    /// A tile that goes on where the one of the state was.
    ///
    /// # Errors
    /// [`Error::State`] for an entry that is missing, unknown, of another type or shape, or has values that
    /// no such tile can have; [`Error::Config`], [`Error::Unsupported`] as [`CellSpec::new`], and for tiles
    /// of single devices and of Python code; [`Error::Memory`].
    pub fn from_state(state: &TileState) -> Result<Self> {
        let AnyConfig::Cells(config) = &state.config else {
            let why =
                "the state is that of a tile of single devices; make a Tile of it, or an AnyTile";
            return Err(Error::unsupported("device", why));
        };
        let mut entries = Entries::new(state)?;
        let shape = state.sizes()?;
        let steps = match &state.dw_min {
            None => &[][..],
            Some(Steps::Each(steps)) => steps,
            Some(Steps::Single(_)) => {
                let why = "dw_min: expected the mean step of each device of a cell".to_owned();
                return Err(Error::State { why });
            }
        };
        let [rows, columns] = shape;
        let bias = state.analog_bias;
        let spec = CellTileSpec::with_steps(config.clone(), rows, columns, bias, steps)?;
        let (seed, calls) = entries.position()?;
        let weights = memory::copied(entries.take_finite(names::WEIGHTS, &shape)?)?;
        let slots = spec.cells().slots();
        let mut taken = Vec::with_capacity(slots.len());
        for slot in &slots {
            taken.push(take_slot(&mut entries, slot, &shape)?);
        }
        let forward_lines =
            take_lines(&mut entries, Direction::Forward, spec.mvm(Direction::Forward), seed)?;
        let backward_lines =
            take_lines(&mut entries, Direction::Backward, spec.mvm(Direction::Backward), seed)?;
        let drifting = spec.cells().drifting();
        let drift = if drifting.is_empty() || !entries.has_group(names::DRIFT) {
            None
        } else {
            let memories =
                drifting.iter().map(|(_, ending)| take_drift(&mut entries, ending, &shape));
            Some(memories.collect::<Result<_>>()?)
        };
        entries.finish(spec.config().device.name())?;
        let tile = Self {
            spec,
            weights,
            slots,
            entries: taken,
            forward_lines,
            backward_lines,
            drift,
            seed,
            calls,
            bias_input: 1.0,
        };
        tile.check()?;
        Ok(tile)
    }

    /// Checks that devices can be as they are said to be, and have these weights.
    fn check(&self) -> Result<()> {
        let matrices: Vec<_> = self.slots.iter().zip(&self.entries).map(matrix).collect();
        self.tile_spec().cells().check_hidden(&matrices).map_err(named(names::HIDDEN))?;
        let mut inside = self.clone();
        inside.with_state(CellSpec::settle).map_err(named(names::CELL))?;
        let pairs = self.entries.iter().zip(&inside.entries);
        for (slot, pair) in self.slots.iter().zip(pairs) {
            // What devices with write noise clip is what is under it.
            let is_held = slot.name.starts_with("persistent_weights");
            if let (true, (Some(OwnedEntry::Floats(given)), Some(OwnedEntry::Floats(inside)))) =
                (is_held, pair)
            {
                check_bounds(&in_group(names::HIDDEN, &slot.name), given, inside, 0.0)?;
            }
        }
        // The visible weights are those of the last device, or a sum.
        let further = if self.spec().visible_name().is_some() { 0.0 } else { SUM };
        check_bounds(names::WEIGHTS, &self.weights, &inside.weights, further)
    }
}

/// Whether an entry has a value at each crosspoint.
fn is_matrix(slot: &Slot) -> bool {
    matches!(slot.kind, SlotKind::Parameter { .. } | SlotKind::Weights | SlotKind::Buffer)
}

fn matrix<'a>((slot, entry): (&Slot, &'a Option<OwnedEntry>)) -> Option<&'a [f32]> {
    match entry {
        Some(OwnedEntry::Floats(values)) if is_matrix(slot) => Some(values),
        _ => None,
    }
}

fn take_slot(
    entries: &mut Entries<'_>,
    slot: &Slot,
    shape: &[usize],
) -> Result<Option<OwnedEntry>> {
    let (hidden, cell) = (in_group(names::HIDDEN, &slot.name), in_group(names::CELL, &slot.name));
    let line = [slot.len];
    Ok(Some(match slot.kind {
        SlotKind::Parameter { constant } => match entries.find::<f32>(&hidden, shape)? {
            Some(values) => OwnedEntry::Floats(memory::copied(values)?),
            None if constant.is_some() => return Ok(None),
            None => return Err(missing(&hidden)),
        },
        SlotKind::Weights | SlotKind::Buffer => {
            OwnedEntry::Floats(memory::copied(entries.take_finite(&hidden, shape)?)?)
        }
        SlotKind::Lines => OwnedEntry::Floats(memory::copied(entries.take_finite(&cell, &line)?)?),
        SlotKind::Signs => OwnedEntry::Signs(memory::copied(entries.take(&cell, &line)?)?),
        SlotKind::Integers => OwnedEntry::Integers(memory::copied(entries.take(&cell, &line)?)?),
        SlotKind::Reals => {
            let values = entries.take::<f64>(&cell, &line)?;
            check_finite(&cell, values.iter().all(|value| value.is_finite()))?;
            OwnedEntry::Reals(memory::copied(values)?)
        }
    }))
}
