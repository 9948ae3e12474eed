//! Operations on the weights other than pulses: bounds, decay, diffusion and reset.
//!
//! All of them act on the persistent weights where the device has write noise, and then draw the
//! noise of every visible weight anew.

use std::ops::Range;

use super::DeviceConfig;
use super::device::{Device, position};
use super::planes::PlaneRef;
use super::rows::{Cells, Nothing, Operation, Row};
use crate::config::check_factor;
use crate::error::{Error, Result, shown};
use crate::rng::{CHUNK, Draw, Key, Stream};

impl Device {
    /// Clips `weights` to the bounds of the cells, which a reference device shifts by its
    /// reference; exact devices have none.
    ///
    /// # Errors
    /// [`Error::Shape`] when the slices do not fit.
    pub fn clip(&self, weights: &mut [f32], planes: &[PlaneRef<'_>]) -> Result<()> {
        Error::check_len("weights", weights.len(), self.d_size() * self.x_size())?;
        self.check_plane_shapes(planes)?;
        self.bound(weights, planes)
    }

    /// [`Device::clip`] of slices that fit.
    pub(crate) fn bound(&self, weights: &mut [f32], planes: &[PlaneRef<'_>]) -> Result<()> {
        if !self.is_pulsed() {
            return Ok(());
        }
        // Without persistent weights there is no noise, whose key it would be.
        let cells = Cells { weights, persistent: None, planes };
        self.for_rows(cells, [], Key::new(0, 0), &Nothing)
    }

    /// Brings weights into bounds that were changed: the persistent ones where there are some,
    /// whose noise stays, else the visible ones.
    ///
    /// # Errors
    /// [`Error::Shape`] when the slices do not fit.
    pub fn enter_bounds(&self, cells: Cells<'_>) -> Result<()> {
        self.check_cells(&cells)?;
        self.bound(cells.persistent.unwrap_or(cells.weights), cells.planes)
    }

    /// Writes weights that are already in `cells.weights`: clips them to the bounds, remembers them
    /// as persistent and adds write noise if the device does so on a write.
    ///
    /// # Errors
    /// [`Error::Shape`] when the slices do not fit.
    pub fn set_weights(&self, cells: Cells<'_>, key: Key) -> Result<()> {
        self.check_cells(&cells)?;
        let Cells { weights, persistent, planes } = cells;
        match (self.write_noise(), persistent) {
            (Some(noise), Some(persistent)) if noise.on_set => {
                persistent.copy_from_slice(weights);
                let cells = Cells { weights, persistent: Some(persistent), planes };
                self.for_rows(cells, [], key, &Nothing)
            }
            (_, persistent) => {
                self.bound(weights, planes)?;
                if let Some(persistent) = persistent {
                    persistent.copy_from_slice(weights);
                }
                Ok(())
            }
        }
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
        let decay = Decay { alpha: alpha as f32, equal: self.equal_loss(scales, alpha) };
        self.for_rows(cells, [scales, biases], key, &decay)
    }

    /// What pulsed cells lose in `alpha` calls if `scales`, their `decay_scales`, is the one value that
    /// the configuration gives all of them.
    pub(crate) fn equal_loss(&self, scales: PlaneRef<'_>, alpha: f64) -> Option<f32> {
        let scale = self.config().pulsed()?.decay_scale(0.0);
        (scales == PlaneRef::Constant(scale as f32)).then_some((alpha * (1.0 - scale)) as f32)
    }

    /// Whether weights decay, which a layer lets them do after each step.
    #[must_use]
    pub fn decays(&self) -> bool {
        let own = || self.config().pulsed().map_or(0.0, |pulsed| pulsed.lifetime);
        self.exact_lifetime().unwrap_or_else(own) > 0.0
    }

    /// Whether weights diffuse, which a layer lets them do after each step.
    #[must_use]
    pub fn diffuses(&self) -> bool {
        let rate = match self.config() {
            DeviceConfig::FloatingPoint(device) => device.diffusion,
            DeviceConfig::Ideal(device) => device.diffusion,
            config => config.pulsed().map_or(0.0, |pulsed| pulsed.diffusion),
        };
        rate > 0.0
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
        self.for_rows(cells, [rates], key, &Diffusion { draw: key.stream(Stream::Diffusion) })
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
        let (biases, std) = (self.reset_bias(cells.planes), self.reset_std());
        let count = usize::try_from(num).unwrap_or(columns).min(columns);
        if count == 0 || prob == 0.0 {
            return Ok(());
        }
        // The columns, and those that come after the last one again.
        let end = start + count;
        let columns = [start..end.min(columns), 0..end.saturating_sub(columns)];
        let reset = Reset { draw: key.stream(Stream::Reset), std, prob, columns };
        self.for_rows(cells, [biases], key, &reset)
    }

    /// Mean weights after a reset.
    pub(crate) fn reset_bias<'a>(&self, planes: &[PlaneRef<'a>]) -> PlaneRef<'a> {
        if self.is_pulsed() { planes[position::RESET] } else { PlaneRef::Constant(0.0) }
    }

    /// Noise of a reset.
    pub(crate) fn reset_std(&self) -> f32 {
        let std = match self.config() {
            DeviceConfig::Ideal(device) => device.reset_std,
            config => config.pulsed().map_or(0.0, |pulsed| pulsed.reset_std),
        };
        std.max(0.0) as f32
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
            let why = format!("must be between 0 and 1, got {}", shown(prob));
            return Err(Error::Argument { argument: "reset_prob", why });
        }
        Ok(())
    }
}

/// See [`Device::decay`]; the planes are `decay_scales` and `reset_bias`.
struct Decay {
    alpha: f32,
    /// What is lost, if equal in all cells.
    equal: Option<f32>,
}

impl Operation<2> for Decay {
    const DRAWS: f64 = 0.0;

    #[inline(always)]
    fn apply(&self, row: Row<'_, 2>) {
        let [scales, biases] = row.planes;
        let cells = row.weights.iter_mut().zip(scales).zip(biases);
        for ((w, scale), bias) in cells {
            let (distance, rate) = (*w - bias, scale - 1.0);
            let loss = self.equal.unwrap_or(-rate * self.alpha);
            let small = distance.mul_add(-loss, *w);
            let large = distance.mul_add(self.alpha.mul_add(rate, 1.0), *bias);
            *w = if loss < SMALL_LOSS { small } else { large };
        }
    }
}

/// See [`Device::diffuse`]; the plane is `diffusion_rates`.
struct Diffusion {
    draw: Draw,
}

impl Operation<1> for Diffusion {
    const DRAWS: f64 = 1.0;

    #[inline(always)]
    fn apply(&self, row: Row<'_, 1>) {
        let ([rates], mut normals) = (row.planes, [0.0; CHUNK]);
        let normals = &mut normals[..rates.len()];
        self.draw.fill_normal_from(row.first, row.number, 0, normals);
        for ((w, rate), xi) in row.weights.iter_mut().zip(rates).zip(&*normals) {
            *w = rate.mul_add(*xi, *w);
        }
    }
}

/// See [`Device::reset_columns`]; the plane is `reset_bias`.
struct Reset {
    draw: Draw,
    std: f32,
    prob: f64,
    columns: [Range<usize>; 2],
}

impl Operation<1> for Reset {
    const DRAWS: f64 = 2.0;

    #[inline(always)]
    fn apply(&self, row: Row<'_, 1>) {
        let ([biases], len) = (row.planes, row.weights.len());
        for Range { start, end } in self.columns.iter().cloned() {
            // Those of its columns that are here.
            let start = start.max(row.first) - row.first;
            let end = end.saturating_sub(row.first).min(len);
            if start >= end {
                continue;
            }
            let (mut normals, mut uniforms) = ([0.0; CHUNK], [0.0; CHUNK]);
            self.draw.fill_normal_from(row.first, row.number, 0, &mut normals[..len]);
            if self.prob < 1.0 {
                self.draw.fill_uniform_from(row.first, row.number, 1, &mut uniforms[..len]);
            }
            for at in start..end {
                let is_reset = self.prob == 1.0 || f64::from(uniforms[at]) < self.prob;
                let w = self.std.mul_add(normals[at], biases[at]);
                row.weights[at] = if is_reset { w } else { row.weights[at] };
            }
        }
    }
}

/// Losses below this are applied to the distance from the mean after a reset; a scale has digits enough
/// for larger ones, and is 0 exactly where all is lost.
pub(crate) const SMALL_LOSS: f32 = 1.0 / 1024.0;

/// What the weights of exact devices lose in `alpha` calls; nothing without lifetime.
pub(crate) fn exact_loss(lifetime: f64, alpha: f64) -> f64 {
    if lifetime > 0.0 { (alpha / lifetime).min(1.0) } else { 0.0 }
}
