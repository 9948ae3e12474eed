//! A tile whose weights and devices live in the memory of the graphics processor.

use std::sync::Arc;

use super::context::{Context, Pick};
use super::devices::Devices;
use super::scratch::Scratch;
use super::side::Side;
use super::state::State;
use super::transaction::Kept;
use crate::devices::{Device, DriftParameters};
use crate::error::{Error, Result};
use crate::mvm::{Direction, Lines};
use crate::par;
use crate::tile::TileSpec;

/// Options that this backend refuses when a tile is built, and why.
pub const UNSUPPORTED: &[(&str, &str)] = &[(
    "device.drift",
    "the drift of pulsed devices runs on the CPU only; set nu and w_noise_std to 0",
)];

/// A tile on the graphics processor. Weights and hidden parameters stay there between calls; inputs
/// and outputs of a call are slices of the host.
#[derive(Debug)]
pub struct GpuTile {
    pub(super) context: Arc<Context>,
    pub(super) spec: TileSpec,
    pub(super) state: State,
    pub(super) forward: Side,
    pub(super) backward: Side,
    pub(super) scratch: Scratch,
}

impl GpuTile {
    /// A tile of `spec` on the picked adapter, with weights of zero. Frozen values, where the options
    /// have some, are written with [`GpuTile::set_lines`] before the first product.
    ///
    /// # Errors
    /// [`Error::Backend`] without such an adapter or with too little memory, [`Error::Unsupported`]
    /// for an option in [`UNSUPPORTED`].
    pub fn new(spec: TileSpec, pick: &Pick) -> Result<Self> {
        refuse(spec.device())?;
        let context = Context::shared(pick)?;
        let shared = Arc::clone(&context);
        context.guard("building a tile", || {
            let cells = spec.d_size() * spec.x_size();
            let weights = shared.storage("weights", cells)?;
            let state = State::new(&shared, spec.device(), weights)?;
            let forward = Side::new(&shared, spec.mvm(Direction::Forward))?;
            let backward = Side::new(&shared, spec.mvm(Direction::Backward))?;
            let scratch = Scratch::default();
            Ok(Self { context: shared, spec, state, forward, backward, scratch })
        })
    }

    /// Whether a tile of `spec` can be built; opens no adapter.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for an option in [`UNSUPPORTED`].
    pub fn check(spec: &TileSpec) -> Result<()> {
        refuse(spec.device())
    }

    /// The opened adapter.
    #[must_use]
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// The parsed configuration.
    #[must_use]
    pub fn spec(&self) -> &TileSpec {
        &self.spec
    }

    /// Writes the weights, `[d_size, x_size]`, as they are.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Backend`].
    pub fn set_weights(&mut self, weights: &[f32]) -> Result<()> {
        Error::check_len("weights", weights.len(), self.spec.d_size() * self.spec.x_size())?;
        self.context.guard("writing weights", || {
            self.context.write(&self.state.weights, 0, weights);
            Ok(())
        })
    }

    /// Reads the weights, `[d_size, x_size]`.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Backend`].
    pub fn weights(&mut self, weights: &mut [f32]) -> Result<()> {
        Error::check_len("weights", weights.len(), self.spec.d_size() * self.spec.x_size())?;
        let buffer = self.state.weights.clone();
        self.devices().read(&buffer, weights)
    }

    /// Writes the weights under the write noise as they are, for devices that have it.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Backend`].
    pub fn set_persistent(&mut self, values: &[f32]) -> Result<()> {
        let count = self.persistent_count();
        Error::check_len("persistent_weights", values.len(), count)?;
        let Some(buffer) = &self.state.persistent else { return Ok(()) };
        self.context.guard("writing weights", || {
            self.context.write(buffer, 0, values);
            Ok(())
        })
    }

    /// Reads the weights under the write noise.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Backend`].
    pub fn persistent(&mut self, values: &mut [f32]) -> Result<()> {
        let count = self.persistent_count();
        Error::check_len("persistent_weights", values.len(), count)?;
        let Some(buffer) = self.state.persistent.clone() else { return Ok(()) };
        self.devices().read(&buffer, values)
    }

    /// The devices at the crosspoints.
    pub(super) fn devices(&mut self) -> Devices<'_> {
        let Self { context, spec, state, scratch, .. } = self;
        Devices { context, scratch, state, device: spec.device() }
    }

    /// Runs `work` on the weights. When it fails or panics they are put back, unless the device is
    /// lost.
    pub(super) fn restoring(
        &mut self,
        work: impl FnOnce(&mut Devices<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut devices = self.devices();
        let kept = devices.guarded("keeping weights", |devices| {
            Kept::new(devices.context, &mut devices.scratch.kept, devices.state.live())
        })?;
        let result = par::guard(|| work(&mut devices));
        if result.is_err() {
            // The first error tells more than one from here.
            let _ = kept.put_back(&self.context);
        }
        result
    }

    fn persistent_count(&self) -> usize {
        let cells = self.spec.d_size() * self.spec.x_size();
        if self.state.persistent.is_some() { cells } else { 0 }
    }

    /// Writes the frozen values of one direction.
    ///
    /// # Errors
    /// [`Error::Shape`] when a slice that the options use does not fit. [`Error::Backend`]; products
    /// of that direction are then refused until the values are written.
    pub fn set_lines(&mut self, direction: Direction, lines: &Lines<'_>) -> Result<()> {
        let Self { context, spec, forward, backward, .. } = self;
        let side = match direction {
            Direction::Forward => forward,
            Direction::Backward => backward,
        };
        side.set(context, spec.mvm(direction), lines)
    }
}

/// Refuses what devices on this backend cannot do.
///
/// # Errors
/// [`Error::Unsupported`] for an option in [`UNSUPPORTED`].
pub(crate) fn refuse(device: &Device) -> Result<()> {
    let drifts = |drift: &DriftParameters| drift.nu > 0.0 || drift.w_noise_std > 0.0;
    if device.config().pulsed().is_some_and(|pulsed| drifts(&pulsed.drift)) {
        let [(feature, why)] = UNSUPPORTED else { return Ok(()) };
        return Err(Error::unsupported(*feature, *why));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::adapter::adapters;
    use super::*;
    use crate::config::TileConfig;

    #[test]
    fn failure_puts_weights_back() {
        if adapters().is_empty() {
            println!("skipped: no adapter; install mesa-vulkan-drivers for a software one");
            return;
        }
        let spec = TileSpec::new(TileConfig::default(), 3, 5, false).unwrap();
        let mut tile = GpuTile::new(spec, &Pick::Named("0".to_owned())).unwrap();
        let [before, mut found] = [[0.25; 15], [0.0; 15]];
        tile.set_weights(&before).unwrap();
        let write = |devices: &mut Devices<'_>| {
            let weights = devices.state.weights.clone();
            devices.guarded("writing", |devices| {
                devices.context.write(&weights, 0, &[0.5f32; 15]);
                Ok(())
            })
        };
        let failed = tile.restoring(|devices| {
            write(devices)?;
            Err(Error::Interrupted)
        });
        assert_eq!(failed, Err(Error::Interrupted));
        tile.weights(&mut found).unwrap();
        assert_eq!(found, before);
        tile.restoring(write).unwrap();
        tile.weights(&mut found).unwrap();
        assert_eq!(found, [0.5; 15]);
    }
}
