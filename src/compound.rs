//! Rules of one's own between several devices at each crosspoint.
//!
//! Tiki-taka and its relatives differ in what happens between devices: which one gets the gradients, when a
//! column is read, what a digital buffer does with it, when something is written. A [`CompoundRule`] says
//! that in terms of tiles, and a [`CustomCompound`] is then a tile like all others. Algorithms of the
//! literature are built in, see [`unit_cells`](crate::unit_cells).

use crate::config::TileConfig;
use crate::devices::{DeviceConfig, FloatingPoint};
use crate::error::{Error, Result};
use crate::layer::RawTile;
use crate::memory;
use crate::par;
use crate::tile::{Pass, Saved, Tile};

/// One update: inputs, errors and the learning rate.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Gradients<'a> {
    /// Inputs, `[samples, inputs]`.
    pub x: &'a [f32],
    /// Errors, `[samples, outputs]`.
    pub d: &'a [f32],
    /// The target is `w -= learning_rate d x`.
    pub learning_rate: f64,
    /// Numbers of outputs and inputs.
    sizes: [usize; 2],
}

impl<'a> Gradients<'a> {
    /// The samples one after another, inputs and errors.
    pub fn samples(&self) -> impl Iterator<Item = (&'a [f32], &'a [f32])> + use<'a> {
        let [outputs, inputs] = self.sizes;
        self.x.chunks_exact(inputs).zip(self.d.chunks_exact(outputs))
    }
}

/// What an update does with the devices, and what it remembers: a clone of it has all of that.
pub trait CompoundRule: Clone {
    /// Does one update. Products, updates and all other calls of the devices draw with numbers of their own.
    /// After an error, or a panic, devices and rule are as before the call.
    ///
    /// # Errors
    /// Those of the devices, or own ones.
    fn update(&mut self, devices: &mut [Tile], gradients: &Gradients<'_>) -> Result<()>;

    /// Writes the weights that products see into `weights`: those of the last device, unless said otherwise.
    fn combine(&self, devices: &[Tile], weights: &mut [f32]) {
        if let Some(last) = devices.last() {
            weights.copy_from_slice(last.weights());
        }
    }
}

/// A tile whose weights come from several devices by a rule of one's own.
///
/// See `examples/extending.rs` for a whole algorithm.
#[derive(Debug, Clone)]
pub struct CustomCompound<R> {
    devices: Vec<Tile>,
    rule: R,
    /// The weights that products see, and these products.
    visible: Tile,
}

impl<R: CompoundRule> CustomCompound<R> {
    /// A tile with `outputs` rows and `inputs` columns. `config` is that of the whole, of which the device is not
    /// used; each of `devices` says what its own reads and updates are like. Each has draws of its own, which
    /// follow from `seed`.
    ///
    /// # Errors
    /// As [`Tile::new`]; [`Error::Argument`] without devices.
    pub fn new(
        [outputs, inputs]: [usize; 2],
        config: &TileConfig,
        devices: &[TileConfig],
        rule: R,
        seed: u64,
    ) -> Result<Self> {
        if devices.is_empty() {
            let why = "must be at least one".to_owned();
            return Err(Error::Argument { argument: "devices", why });
        }
        let device = DeviceConfig::FloatingPoint(FloatingPoint::default());
        let visible = Tile::new(outputs, inputs, &TileConfig { device, ..config.clone() }, seed)?;
        let mut tiles = Vec::new();
        for (number, config) in (1..).zip(devices) {
            tiles.push(Tile::new(outputs, inputs, config, crate::rng::derived(seed, number))?);
        }
        let mut tile = Self { devices: tiles, rule, visible };
        tile.show()?;
        Ok(tile)
    }

    /// The devices, in their order.
    #[must_use]
    pub fn devices(&self) -> &[Tile] {
        &self.devices
    }

    /// The rule with what it remembers.
    #[must_use]
    pub fn rule(&self) -> &R {
        &self.rule
    }

    /// Takes over the weights that products see.
    fn show(&mut self) -> Result<()> {
        let mut weights = memory::filled(0.0, self.visible.weights().len())?;
        self.rule.combine(&self.devices, &mut weights);
        self.visible.set_weights(&weights)
    }

    /// Changes devices and rule, and what is visible; or nothing.
    fn change(&mut self, f: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let saved: Vec<Saved> = memory::collected(self.devices.iter().map(Tile::saved))?;
        let rule = self.rule.clone();
        let result = par::guard(|| {
            f(self)?;
            self.show()
        });
        if result.is_err() {
            self.devices.iter_mut().zip(saved).for_each(|(tile, saved)| tile.restore(saved));
            self.rule = rule;
        }
        result
    }
}

impl<R: CompoundRule> RawTile for CustomCompound<R> {
    fn d_size(&self) -> usize {
        self.visible.spec().d_size()
    }

    fn x_size(&self) -> usize {
        self.visible.spec().x_size()
    }

    fn weights(&self) -> &[f32] {
        self.visible.weights()
    }

    /// Writes the weights of the last device, and zero to the others.
    fn set_weights(&mut self, weights: &[f32]) -> Result<()> {
        Error::check_len("weights", weights.len(), self.weights().len())?;
        Error::check_finite("weights", weights)?;
        let zeros = memory::filled(0.0, weights.len())?;
        self.change(|tile| {
            let last = tile.devices.len() - 1;
            tile.devices[..last].iter_mut().try_for_each(|device| device.set_weights(&zeros))?;
            tile.devices[last].set_weights(weights)
        })
    }

    fn forward(
        &mut self,
        x: &[f32],
        y: &mut [f32],
        clipped: Option<&mut [u8]>,
        pass: Pass,
    ) -> Result<()> {
        RawTile::forward(&mut self.visible, x, y, clipped, pass)
    }

    fn backward(&mut self, d: &[f32], g: &mut [f32], pass: Pass) -> Result<()> {
        self.visible.backward(d, g, pass)
    }

    fn update(&mut self, x: &[f32], d: &[f32], learning_rate: f64) -> Result<()> {
        let samples = d.len() / self.d_size();
        Error::check_len("d", d.len(), samples * self.d_size())?;
        Error::check_len("x", x.len(), samples * self.x_size())?;
        Error::check_finite("x", x)?;
        Error::check_finite("d", d)?;
        crate::config::check_factor("learning_rate", learning_rate)?;
        let gradients = Gradients { x, d, learning_rate, sizes: [self.d_size(), self.x_size()] };
        self.change(|tile| tile.rule.update(&mut tile.devices, &gradients))
    }

    fn after_step(&mut self) -> Result<()> {
        let mut devices = self.devices.iter().map(|tile| tile.spec().device());
        if !devices.any(|device| device.decays() || device.diffuses()) {
            return Ok(());
        }
        self.change(|tile| tile.devices.iter_mut().try_for_each(RawTile::after_step))
    }

    fn clips_outputs(&self) -> bool {
        self.visible.clips_outputs()
    }
}
