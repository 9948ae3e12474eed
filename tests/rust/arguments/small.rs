//! Small functions.

use mho_core::Error;
use mho_core::finite::all_finite;
use mho_core::par;
use mho_core::rng::{Key, Stream};
use proptest::prelude::*;

use super::any::{checked, double, floats};

proptest! {
    #[test]
    fn draws(seed in any::<u64>(), call in any::<u64>(), place in any::<[u32; 3]>(), len in 0usize..200) {
        let draw = Key::new(seed, call).stream(Stream::Read);
        let [a, b, c] = place;
        let (mut values, mut words) = (vec![0.0; len], vec![0; len]);
        // Blocks have 24 bits.
        let c = c & 0x00ff_ffff;
        draw.fill_words(a, c, &mut words);
        draw.fill_uniform(a, c, &mut values);
        prop_assert!(values.iter().all(|value| (0.0..1.0).contains(value)));
        draw.fill_normal(a, c, &mut values);
        prop_assert!(all_finite(&values));
        prop_assert!(draw.normal(a, b, c).is_finite());
        let _ = (draw.word(a, b, c), draw.words(a, b, c));
    }

    #[test]
    fn checks(values in floats(10), expected in any::<usize>(), time in double()) {
        checked(Error::check_finite("values", &values));
        checked(Error::check_len("values", values.len(), expected));
        checked(Error::check_drawn("device", "values", &values));
        prop_assert!(par::rows_per_check(time) >= 1);
        prop_assert_eq!(all_finite(&values), values.iter().all(|value| value.is_finite()));
        prop_assert!(par::set_num_threads(0).is_err() && par::num_threads() >= 1);
        checked(par::check_interrupt());
        let panicked: Result<(), _> = par::guard(|| panic!("at {expected}"));
        let is_error = matches!(panicked, Err(Error::Panic(_)));
        prop_assert!(is_error);
    }
}
