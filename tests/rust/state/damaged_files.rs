//! Files of safetensors, damaged at random: read or refused, never a panic.

use std::sync::OnceLock;

use mho_core::state::SavedModel;
use mho_core::tile::Pass;
use proptest::prelude::*;

use super::cases;

/// Real files: what Python has written, in small pieces, for a whole one is slow to read so often.
fn files() -> &'static [Vec<u8>] {
    static FILES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    FILES.get_or_init(|| {
        let all = SavedModel::from_bytes(include_bytes!("states.safetensors")).unwrap();
        let mut files = Vec::new();
        for (name, layer) in all.layers {
            let mut model = SavedModel::default();
            model.layers.insert(name, layer);
            files.push(model.to_bytes().unwrap());
        }
        files.push(include_bytes!("next.safetensors").to_vec());
        files
    })
}

/// A change of some bytes.
#[derive(Debug, Clone)]
enum Damage {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
    Overwrite(prop::sample::Index, Vec<u8>),
    /// The length of the header.
    Length(u64),
}

fn damage() -> impl Strategy<Value = Damage> {
    let place = any::<prop::sample::Index>;
    let bytes = || prop::collection::vec(any::<u8>(), 1..9);
    prop_oneof![
        4 => (place(), any::<u8>()).prop_map(|(at, bits)| Damage::Flip(at, bits)),
        1 => place().prop_map(Damage::Cut),
        1 => (place(), bytes()).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        2 => (place(), bytes()).prop_map(|(at, bytes)| Damage::Overwrite(at, bytes)),
        1 => prop_oneof![any::<u64>(), 0u64..9000].prop_map(Damage::Length),
    ]
}

fn damaged(mut file: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    for damage in damages {
        if file.len() < 8 {
            break;
        }
        match damage {
            Damage::Flip(at, bits) => {
                let at = at.index(file.len());
                file[at] ^= bits;
            }
            Damage::Cut(at) => file.truncate(at.index(file.len())),
            Damage::Insert(at, bytes) => {
                let at = at.index(file.len());
                file.splice(at..at, bytes.iter().copied());
            }
            Damage::Overwrite(at, bytes) => {
                let at = at.index(file.len());
                let end = (at + bytes.len()).min(file.len());
                file[at..end].copy_from_slice(&bytes[..end - at]);
            }
            Damage::Length(length) => file[..8].copy_from_slice(&length.to_le_bytes()),
        }
    }
    file
}

/// Uses all tiles of a model.
fn used(mut model: SavedModel) {
    for saved in model.layers.values_mut().flat_map(|layer| layer.tiles.iter_mut().flatten()) {
        let tile = &mut saved.tile;
        let (rows, columns) = (tile.outputs(), tile.inputs());
        let _ = tile.forward(&vec![0.5; columns], &mut vec![0.0; rows], Pass::Train);
        let _ = tile.update(&vec![0.5; columns], &vec![0.25; rows], 0.1);
        assert!(tile.weights().iter().all(|w| w.is_finite()));
    }
}

proptest! {
    #![proptest_config(cases(1500))]

    #[test]
    fn bytes(
        number in any::<prop::sample::Index>(),
        damages in prop::collection::vec(damage(), 1..4),
    ) {
        if let Ok(model) = SavedModel::from_bytes(&damaged(number.get(files()).clone(), &damages)) {
            used(model);
        }
    }

    #[test]
    fn anything(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(SavedModel::from_bytes(&bytes).is_err());
    }
}
