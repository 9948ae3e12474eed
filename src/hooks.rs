//! Hooks for the tests of this crate and of the package. Not a part of the interface: no promise
//! holds for them.

use crate::par;
pub use crate::simd::{Level, level, limit};

/// The next block of rows that a transactional kernel finishes panics.
pub fn panic_in_next_block() {
    par::arm();
}
