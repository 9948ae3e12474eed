//! Operations on the weights other than pulses: bounds, decay, diffusion and reset.
//!
//! All of them act on the persistent weights where the device has write noise, and then draw the
//! noise of every visible weight anew.

use super::DeviceConfig;
use super::device::{Device, position};
use super::planes::PlaneRef;
use crate::config::check_factor;
use crate::error::{Error, Result};
use crate::memory;
use crate::rng::{Draw, Key, Stream};

/// The state of the cells of one tile.
#[derive(Debug)]
pub struct Cells<'a> {
    /// Visible weights, `[d_size, x_size]` row-major.
    pub weights: &'a mut [f32],
    /// Weights under the write noise; `None` without write noise.
    pub persistent: Option<&'a mut [f32]>,
    /// Hidden parameters, in the order of [`Device::hidden_names`]. The slot of the persistent
    /// weights is not read.
    pub planes: &'a [PlaneRef<'a>],
}

impl Device {
    /// Clips `weights` to the bounds of the cells, which a reference device shifts by its
    /// reference; exact devices have none.
    ///
    /// # Errors
    /// [`Error::Shape`] when the slices do not fit.
    pub fn clip(&self, weights: &mut [f32], planes: &[PlaneRef<'_>]) -> Result<()> {
        Error::check_len("weights", weights.len(), self.d_size() * self.x_size())?;
        self.check_plane_shapes(planes)?;
        self.bound(weights, planes);
        Ok(())
    }

    /// [`Device::clip`] of slices that fit.
    pub(crate) fn bound(&self, weights: &mut [f32], planes: &[PlaneRef<'_>]) {
        let Some(bounds) = self.bounds(planes) else { return };
        for (at, w) in weights.iter_mut().enumerate() {
            let [lower, upper] = bounds.at(at);
            *w = w.max(lower).min(upper);
        }
    }

    /// Brings weights into bounds that were changed: the persistent ones where there are some,
    /// whose noise stays, else the visible ones.
    ///
    /// # Errors
    /// [`Error::Shape`] when the slices do not fit.
    pub fn enter_bounds(&self, cells: Cells<'_>) -> Result<()> {
        self.check_cells(&cells)?;
        self.bound(cells.persistent.unwrap_or(cells.weights), cells.planes);
        Ok(())
    }

    /// Writes weights that are already in `cells.weights`: clips them to the bounds, remembers them
    /// as persistent and adds write noise if the device does so on a write.
    ///
    /// # Errors
    /// [`Error::Shape`] when the slices do not fit.
    pub fn set_weights(&self, cells: Cells<'_>, key: Key) -> Result<()> {
        self.check_cells(&cells)?;
        self.bound(cells.weights, cells.planes);
        if let (Some(noise), Some(persistent)) = (self.write_noise(), cells.persistent) {
            persistent.copy_from_slice(cells.weights);
            if noise.on_set {
                self.refresh(cells.weights, persistent, key);
            }
        }
        Ok(())
    }

    /// Decay by `alpha` calls. Pulsed: `w = (w - reset_bias) s + reset_bias` with
    /// `s = 1 + alpha (decay_scale - 1)`, within the bounds. Exact:
    /// `w *= max(0, 1 - alpha / lifetime)`.
    ///
    /// What is lost, `1 - s`, is computed in f64 where it is equal in all cells, for `s` itself has
    /// too few digits in f32: of a lifetime of 1e6 they would make 0.99e6. Where lifetimes differ,
    /// that of each cell is rounded as its `decay_scale` is, up or down by `3e-8` of its square.
    ///
    /// # Errors
    /// [`Error::Argument`] for an `alpha` that is negative or beyond f32, [`Error::Shape`].
    pub fn decay(&self, cells: Cells<'_>, alpha: f64, key: Key) -> Result<()> {
        check_factor("alpha", alpha)?;
        self.check_cells(&cells)?;
        if let Some(lifetime) = self.exact_lifetime() {
            if lifetime > 0.0 {
                let loss = exact_loss(lifetime, alpha);
                let (scale, loss) = ((1.0 - loss) as f32, loss as f32);
                let is_small = loss < SMALL_LOSS;
                let decayed = |w: f32| if is_small { w.mul_add(-loss, w) } else { w * scale };
                cells.weights.iter_mut().for_each(|w| *w = decayed(*w));
            }
            return Ok(());
        }
        let (scales, biases) = (cells.planes[position::DECAY], cells.planes[position::RESET]);
        let equal = self.equal_loss(scales, alpha);
        self.map(cells, key, |at, w| {
            let (bias, rate) = (biases.at(at), scales.at(at) - 1.0);
            let loss = equal.unwrap_or(-rate * alpha as f32);
            if loss < SMALL_LOSS {
                return (w - bias).mul_add(-loss, w);
            }
            (w - bias).mul_add((alpha as f32).mul_add(rate, 1.0), bias)
        })
    }

    /// What pulsed cells lose in `alpha` calls if `scales`, their `decay_scales`, is the one value that
    /// the configuration gives all of them.
    pub(crate) fn equal_loss(&self, scales: PlaneRef<'_>, alpha: f64) -> Option<f32> {
        let scale = self.config().pulsed()?.decay_scale(0.0);
        (scales == PlaneRef::Constant(scale as f32)).then_some((alpha * (1.0 - scale)) as f32)
    }

    /// One step of a random walk: `w += diffusion_rate xi`, within the bounds.
    ///
    /// # Errors
    /// [`Error::Shape`] when the slices do not fit.
    pub fn diffuse(&self, cells: Cells<'_>, key: Key) -> Result<()> {
        self.check_cells(&cells)?;
        let rates = match self.config() {
            DeviceConfig::FloatingPoint(device) => {
                PlaneRef::Constant(device.diffusion.max(0.0) as f32)
            }
            DeviceConfig::Ideal(device) => PlaneRef::Constant(device.diffusion.max(0.0) as f32),
            _ => cells.planes[position::DIFFUSION],
        };
        if rates == PlaneRef::Constant(0.0) {
            return Ok(());
        }
        let mut normals = Normals::new(key.stream(Stream::Diffusion), 0, self.x_size(), 1.0)?;
        self.map(cells, key, |at, w| rates.at(at).mul_add(normals.at(at), w))
    }

    /// Resets `num` columns from `start` on, wrapping around; a negative `num` means all. Each cell
    /// is reset with probability `prob`: `w = reset_bias + reset_std xi`, within the bounds.
    ///
    /// # Errors
    /// [`Error::Argument`] for a probability outside 0..=1 or a `start` outside the tile,
    /// [`Error::Unsupported`] for a floating-point tile, [`Error::Shape`].
    pub fn reset_columns(
        &self,
        cells: Cells<'_>,
        start: usize,
        num: i64,
        prob: f64,
        key: Key,
    ) -> Result<()> {
        let columns = self.x_size();
        self.check_cells(&cells)?;
        self.check_reset(start, prob)?;
        let (biases, std) = match self.config() {
            DeviceConfig::Ideal(device) => (PlaneRef::Constant(0.0), device.reset_std),
            config => {
                let std = config.pulsed().map_or(0.0, |pulsed| pulsed.reset_std);
                (cells.planes[position::RESET], std)
            }
        };
        let count = usize::try_from(num).unwrap_or(columns).min(columns);
        let std = std.max(0.0) as f32;
        let draw = key.stream(Stream::Reset);
        if count == 0 || prob == 0.0 {
            return Ok(());
        }
        self.map(cells, key, |at, w| {
            let (row, column) = ((at / columns) as u32, at % columns);
            let inside = (column + columns - start) % columns < count;
            if !inside || (prob < 1.0 && f64::from(draw.uniform(column as u32, row, 1)) >= prob) {
                return w;
            }
            std.mul_add(draw.normal(column as u32, row, 0), biases.at(at))
        })
    }

    /// Applies `f(position, weight)` to every weight, then the bounds, then new write noise.
    pub(super) fn map(
        &self,
        cells: Cells<'_>,
        key: Key,
        mut f: impl FnMut(usize, f32) -> f32,
    ) -> Result<()> {
        self.check_cells(&cells)?;
        let Cells { weights, persistent, planes } = cells;
        match persistent {
            Some(persistent) => {
                persistent.iter_mut().enumerate().for_each(|(at, w)| *w = f(at, *w));
                self.bound(persistent, planes);
                self.refresh(weights, persistent, key);
            }
            None => {
                weights.iter_mut().enumerate().for_each(|(at, w)| *w = f(at, *w));
                self.bound(weights, planes);
            }
        }
        Ok(())
    }

    /// Draws the visible weights around the persistent ones.
    fn refresh(&self, weights: &mut [f32], persistent: &[f32], key: Key) {
        let Some(noise) = self.write_noise() else { return };
        let draw = key.stream(Stream::WriteNoise);
        let columns = self.x_size();
        let rows = weights.chunks_exact_mut(columns).zip(persistent.chunks_exact(columns));
        for (row, (visible, persistent)) in rows.enumerate() {
            draw.fill_normal(row as u32, 0, visible);
            for (w, p) in visible.iter_mut().zip(persistent) {
                *w = noise.std.mul_add(*w, *p);
            }
        }
    }

    /// Lifetime of an exact device; `None` for a pulsed one.
    pub(crate) fn exact_lifetime(&self) -> Option<f64> {
        match self.config() {
            DeviceConfig::FloatingPoint(device) => Some(device.lifetime),
            DeviceConfig::Ideal(device) => Some(device.lifetime),
            _ => None,
        }
    }

    pub(crate) fn check_cells(&self, cells: &Cells<'_>) -> Result<()> {
        let count = self.d_size() * self.x_size();
        Error::check_len("weights", cells.weights.len(), count)?;
        let expected = if self.write_noise().is_some() { count } else { 0 };
        let given = cells.persistent.as_ref().map_or(0, |values| values.len());
        Error::check_len("persistent_weights", given, expected)?;
        self.check_plane_shapes(cells.planes)
    }

    pub(crate) fn check_reset(&self, start: usize, prob: f64) -> Result<()> {
        if matches!(self.config(), DeviceConfig::FloatingPoint(_)) {
            return Err(Error::unsupported("reset", "a floating-point tile cannot be reset"));
        }
        if start >= self.x_size() {
            let why = format!("must be below {}, got {start}", self.x_size());
            return Err(Error::Argument { argument: "start_column_idx", why });
        }
        if !(0.0..=1.0).contains(&prob) {
            let why = format!("must be between 0 and 1, got {prob}");
            return Err(Error::Argument { argument: "reset_prob", why });
        }
        Ok(())
    }
}

/// Losses below this are applied to the distance from the mean after a reset; a scale has digits enough
/// for larger ones, and is 0 exactly where all is lost.
pub(crate) const SMALL_LOSS: f32 = 1.0 / 1024.0;

/// What the weights of exact devices lose in `alpha` calls; nothing without lifetime.
pub(crate) fn exact_loss(lifetime: f64, alpha: f64) -> f64 {
    if lifetime > 0.0 { (alpha / lifetime).min(1.0) } else { 0.0 }
}

/// One normal per cell of one stream and block, for cells that come in their order.
pub(super) struct Normals {
    draw: Draw,
    block: u32,
    is_drawn: bool,
    row: Vec<f32>,
}

impl Normals {
    /// Normals that are multiplied by `std`; without spread they are 0 and not drawn.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub(super) fn new(draw: Draw, block: u32, columns: usize, std: f64) -> Result<Self> {
        Ok(Self { draw, block, is_drawn: std > 0.0, row: memory::filled(0.0, columns)? })
    }

    pub(super) fn at(&mut self, at: usize) -> f32 {
        let (row, column) = (at / self.row.len(), at % self.row.len());
        if column == 0 && self.is_drawn {
            self.draw.fill_normal(row as u32, self.block, &mut self.row);
        }
        self.row[column]
    }
}
