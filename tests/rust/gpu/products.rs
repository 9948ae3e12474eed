//! Products.

use mho_core::config::IoParameters;
use mho_core::mvm::Direction;

use super::adapter;
use super::cases::Case;
use super::options::{options, plain};

#[test]
fn every_option_gives_the_outputs_of_the_processor() {
    let Some(pick) = adapter() else { return };
    for (name, io) in options() {
        for direction in [Direction::Forward, Direction::Backward] {
            // Sizes that are no multiples of a tile.
            Case::new(io.clone(), direction, [37, 83, 150]).check(name, &pick);
        }
    }
}

#[test]
fn every_tile_gives_the_outputs_of_the_processor() {
    let Some(pick) = adapter() else { return };
    for sizes in [[1, 70, 300], [16, 130, 40], [40, 64, 512], [130, 140, 300], [100, 30, 17]] {
        for direction in [Direction::Forward, Direction::Backward] {
            let quiet = IoParameters::default().with(|p| {
                p.out_noise = 0.0;
                p.out_bound = 4.0;
            });
            Case::new(quiet, direction, sizes).check(&format!("{sizes:?}"), &pick);
            Case::new(plain(), direction, sizes).check(&format!("plain {sizes:?}"), &pick);
        }
    }
}

#[test]
fn a_bias_and_large_inputs_give_the_outputs_of_the_processor() {
    let Some(pick) = adapter() else { return };
    let direction = Direction::Forward;
    for io in [plain(), IoParameters::perfect(), IoParameters::default()] {
        let case = Case::new(io, direction, [20, 30, 40]);
        Case { bias: Some(0.5), scale: 3.0, ..case }.check("bias", &pick);
    }
}
