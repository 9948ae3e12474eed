//! Views of `ndarray` as arguments.

use mho_core::layer::{Linear, LinearParameters};
use mho_core::tile::Pass;
use mho_core::{Error, Tile, TileConfig};
use ndarray::{Array2, s};

fn array(rows: usize, columns: usize) -> Array2<f32> {
    Array2::from_shape_fn((rows, columns), |(i, j)| ((i * columns + j) as f32 * 0.7).sin())
}

#[test]
fn arrays_are_rows() {
    let new = || Tile::new(3, 4, &TileConfig::default(), 5).unwrap();
    let (mut tile, mut plain) = (new(), new());
    let (weights, x, d) = (array(3, 4), array(6, 4), array(6, 3));
    tile.set_weights_array(weights.view()).unwrap();
    plain.set_weights(weights.as_slice().unwrap()).unwrap();
    assert_eq!(tile.weights_array().unwrap().as_slice().unwrap(), plain.weights());
    let y = tile.forward_array(x.view(), Pass::Train).unwrap();
    let expected = plain.forward_batch(x.as_slice().unwrap(), Pass::Train).unwrap();
    assert_eq!((y.dim(), y.as_slice().unwrap()), ((6, 3), &expected[..]));
    let g = tile.backward_array(d.view(), Pass::Train).unwrap();
    let expected = plain.backward_batch(d.as_slice().unwrap(), Pass::Train).unwrap();
    assert_eq!((g.dim(), g.as_slice().unwrap()), ((6, 4), &expected[..]));
    tile.update_array(x.view(), d.view(), 0.1).unwrap();
    plain.update(x.as_slice().unwrap(), d.as_slice().unwrap(), 0.1).unwrap();
    assert_eq!(tile.weights(), plain.weights());
}

#[test]
fn views_need_not_be_contiguous() {
    let parameters = LinearParameters::default();
    let new = || Linear::new(4, 3, &TileConfig::default(), &parameters, 5).unwrap();
    let (mut layer, mut plain) = (new(), new());
    let (wide, tall) = (array(6, 9), array(4, 6));
    let view = wide.slice(s![.., 2..6]);
    let y = layer.forward_array(view, Pass::Train).unwrap();
    let copied: Vec<f32> = view.iter().copied().collect();
    assert_eq!(y.as_slice().unwrap(), plain.forward(&copied, Pass::Train).unwrap());
    let g = layer.backward_array(y.view()).unwrap();
    assert_eq!(g.as_slice().unwrap(), plain.backward(y.as_slice().unwrap()).unwrap());
    layer.step(0.1).unwrap();
    assert_eq!(layer.weights_array().unwrap().dim(), (3, 4));
    // As many values, in rows of another width.
    let refused = layer.forward_array(array(4, 6).view(), Pass::Train).unwrap_err();
    assert!(matches!(refused, Error::Shape { argument: "x", .. }), "{refused}");
    assert!(layer.forward_array(tall.t(), Pass::Train).is_ok());
}
