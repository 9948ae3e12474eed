//! Views of `ndarray` as arguments and results of tiles and layers. Arrays that are not contiguous are copied.

use std::borrow::Cow;

use ndarray::{Array2, ArrayView2};

use crate::error::{Error, Result};
use crate::layer::{Linear, RawTile};
use crate::memory;
use crate::tile::{Pass, Tile};
use crate::unit_cells::CellTile;

/// Elements row by row.
fn rows<'a>(array: &ArrayView2<'a, f32>) -> Result<Cow<'a, [f32]>> {
    if let Some(values) = array.to_slice() {
        return Ok(Cow::Borrowed(values));
    }
    let mut values = memory::room(array.len())?;
    values.extend(array.iter());
    Ok(Cow::Owned(values))
}

fn array(values: Vec<f32>, shape: (usize, usize)) -> Result<Array2<f32>> {
    let got = format!("{} elements", values.len());
    let expected = format!("{} x {}", shape.0, shape.1);
    Array2::from_shape_vec(shape, values).map_err(|_| Error::Shape {
        argument: "array",
        expected,
        got,
    })
}

/// Checks the number of columns of an argument: rows of another width could make up whole samples.
fn check_columns(
    argument: &'static str,
    array: &ArrayView2<'_, f32>,
    columns: usize,
) -> Result<()> {
    if array.ncols() == columns {
        return Ok(());
    }
    let expected = format!("[samples, {columns}]");
    let got = format!("[{}, {}]", array.nrows(), array.ncols());
    Err(Error::Shape { argument, expected, got })
}

macro_rules! arrays {
    ($($tile:ident),*) => {
        $(impl $tile {
            /// Weights, `[outputs, inputs]`.
            ///
            /// # Errors
            /// [`Error::Shape`] for more weights than an array can have.
            pub fn weights_array(&self) -> Result<ArrayView2<'_, f32>> {
                let (d_size, x_size) = (self.spec().d_size(), self.spec().x_size());
                ArrayView2::from_shape((d_size, x_size), self.weights()).map_err(|_| Error::Shape {
                    argument: "weights",
                    expected: format!("{d_size} x {x_size}"),
                    got: format!("{} elements", self.weights().len()),
                })
            }

            /// Writes the weights, `[outputs, inputs]`, see
            #[doc = concat!("[`", stringify!($tile), "::set_weights`].")]
            ///
            /// # Errors
            /// As there.
            pub fn set_weights_array(&mut self, weights: ArrayView2<'_, f32>) -> Result<()> {
                check_columns("weights", &weights, self.spec().x_size())?;
                self.set_weights(&rows(&weights)?)
            }

            /// Outputs `[samples, outputs]` for inputs `[samples, inputs]`, see
            #[doc = concat!("[`", stringify!($tile), "::forward`].")]
            ///
            /// # Errors
            /// As there.
            pub fn forward_array(
                &mut self,
                x: ArrayView2<'_, f32>,
                pass: Pass,
            ) -> Result<Array2<f32>> {
                check_columns("x", &x, self.inputs())?;
                let y = self.forward_batch(&rows(&x)?, pass)?;
                array(y, (x.nrows(), self.spec().d_size()))
            }

            /// Products `[samples, inputs]` of the transpose with `[samples, outputs]`, see
            #[doc = concat!("[`", stringify!($tile), "::backward`].")]
            ///
            /// # Errors
            /// As there.
            pub fn backward_array(
                &mut self,
                d: ArrayView2<'_, f32>,
                pass: Pass,
            ) -> Result<Array2<f32>> {
                check_columns("d", &d, self.spec().d_size())?;
                let g = self.backward_batch(&rows(&d)?, pass)?;
                array(g, (d.nrows(), self.inputs()))
            }

            /// Update with inputs `[samples, inputs]` and errors `[samples, outputs]`, see
            #[doc = concat!("[`", stringify!($tile), "::update`].")]
            ///
            /// # Errors
            /// As there.
            pub fn update_array(
                &mut self,
                x: ArrayView2<'_, f32>,
                d: ArrayView2<'_, f32>,
                learning_rate: f64,
            ) -> Result<()> {
                check_columns("x", &x, self.inputs())?;
                check_columns("d", &d, self.spec().d_size())?;
                self.update(&rows(&x)?, &rows(&d)?, learning_rate)
            }
        })*
    };
}

arrays! { Tile, CellTile }

impl<T: RawTile> Linear<T> {
    /// Weights of the layer, `[out_features, in_features]`, see [`Linear::weights`].
    ///
    /// # Errors
    /// As there.
    pub fn weights_array(&self) -> Result<Array2<f32>> {
        array(self.weights()?, (self.out_features(), self.in_features()))
    }

    /// Outputs `[samples, out_features]` for inputs `[samples, in_features]`, see [`Linear::forward`].
    ///
    /// # Errors
    /// As there.
    pub fn forward_array(&mut self, x: ArrayView2<'_, f32>, pass: Pass) -> Result<Array2<f32>> {
        check_columns("x", &x, self.in_features())?;
        let y = self.forward(&rows(&x)?, pass)?;
        array(y, (x.nrows(), self.out_features()))
    }

    /// Gradients of the inputs, `[samples, in_features]`, from those of the outputs, see [`Linear::backward`].
    ///
    /// # Errors
    /// As there.
    pub fn backward_array(&mut self, d: ArrayView2<'_, f32>) -> Result<Array2<f32>> {
        check_columns("d", &d, self.out_features())?;
        let g = self.backward(&rows(&d)?)?;
        array(g, (d.nrows(), self.in_features()))
    }
}
