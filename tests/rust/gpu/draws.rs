//! Random numbers.

use mho_core::Key;
use mho_core::gpu::Context;
use mho_core::rng::Stream;

use super::{adapter, largest_difference};

#[test]
fn draws_are_those_of_the_processor() {
    let Some(pick) = adapter() else { return };
    let context = Context::shared(&pick).unwrap();
    let (key, columns) = (Key::new(0xfedc_ba98_7654_3210, 0x3_0000_0007), 100_000);
    for (key, row, block) in [(key, 0, 0), (key, 12345, 77), (key.part(5, 0x12_3456), 9, 3)] {
        let draw = key.stream(Stream::CycleToCycle);
        let (words, normals) =
            context.draws(key, Stream::CycleToCycle, [row, block], columns).unwrap();
        let mut host_words = vec![0; columns];
        draw.fill_words(row, block, &mut host_words);
        assert_eq!(words, host_words);
        let mut host_normals = vec![0.0; columns];
        draw.fill_normal(row, block, &mut host_normals);
        // Unfused products round twice: a few units in the last place of a radius up to 6.7.
        let worst = largest_difference(&normals, &host_normals);
        println!("normals {worst:.1e} apart");
        assert!(worst < 16.0 * f32::EPSILON, "normals are {worst} apart");
    }
}
