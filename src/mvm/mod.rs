//! Analog matrix-vector product, forward and backward.
//!
//! One sample passes through a list of stages, each a file of its own:
//!
//! 1. `management`: the scale of the input, and whether a clipped product is repeated;
//! 2. `input`: scaling, DAC, input noise, input asymmetry;
//! 3. `product`: the product with the weights;
//! 4. `array`: wire resistance, voltage offsets, series resistance, weight noise;
//! 5. `output`: non-linearity, output asymmetry, output noise, ADC, bound test, rescaling.
//!
//! `periphery` has what is done digitally before and behind the array.
//!
//! `grid` does all of it for a layer that is split over several tiles, in one go; its samples may be
//! the `patches` of images.
//!
//! `one_line` reads single lines that way, without the product.
//!
//! `run` drives a batch through them: all samples together, then only those whose output clipped.
//! The model is that of the analog tile of Rasch et al., "A flexible and fast PyTorch toolkit for
//! simulating training and inference on analog crossbar arrays", AICAS 2021.

pub(crate) mod array;
mod call;
mod columns;
pub(crate) mod converter;
mod direction;
mod grid;
pub(crate) mod input;
mod inputs;
mod kernel;
mod lines;
pub(crate) mod management;
mod matrix;
mod normals;
mod one_line;
mod output;
mod patches;
pub mod periphery;
mod product;
mod request;
mod rows;
mod run;
mod samples;
mod spec;
mod stages;
mod vector;
mod workspace;

pub use columns::Columns;
pub use direction::Direction;
pub use grid::{Grid, GridTile, Layout};
pub use inputs::Inputs;
pub use lines::Lines;
pub use one_line::OneLine;
pub use patches::{Axis, Images, Patches};
pub use request::Request;
pub use spec::Mvm;
#[cfg(feature = "wgpu")]
pub(crate) use spec::Reads;
