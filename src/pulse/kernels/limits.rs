//! Limits that several kernels have in common.

/// Words, of 64 slots each, of constant steps after which the mean path is looked at. The order of pulses within them
/// does not matter: the path is taken to go as far as all pulses up, and all pulses down, would lead.
pub(crate) const SEGMENT: usize = 4;
/// Pulses below which adding them up takes more time than one by one: a crosspoint that so few may lead
/// to a bound is not tried part by part.
pub(crate) const FEW: f32 = 4.0;
/// Distance of cells with constant steps to the bounds in standard deviations of the whole sum: by Lévy's inequality the noise, a
/// symmetric random walk, leaves the interval on the way with a probability below
/// `4 Phi(-6) = 4e-9`, once in 2.5e8 cells and chunks.
pub(crate) const MARGIN: f32 = 6.0;
