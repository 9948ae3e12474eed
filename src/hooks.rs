//! Hooks for the tests of this crate and of the package. Not a part of the interface: no promise
//! holds for them.

use std::sync::atomic::{AtomicUsize, Ordering};

pub use crate::simd::{Level, level, limit};

/// Counts down to what shall fail; 0 while nothing shall.
pub(crate) struct Countdown(AtomicUsize);

/// Blocks of rows that transactional kernels finish.
pub(crate) static BLOCKS: Countdown = Countdown(AtomicUsize::new(0));
/// Buffers, writes, submissions and reads of graphics processors.
#[cfg(feature = "wgpu")]
pub(crate) static DEVICE_CALLS: Countdown = Countdown(AtomicUsize::new(0));

impl Countdown {
    fn set(&self, nth: usize) {
        self.0.store(nth, Ordering::Relaxed);
    }

    /// Counts one more; whether that one shall fail.
    pub(crate) fn strikes(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
            && self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
                == Ok(1)
    }
}

/// Destroys the device of `context` as a driver that crashed would.
#[cfg(feature = "wgpu")]
pub fn destroy_device(context: &crate::gpu::Context) {
    context.destroy();
}

/// The `nth` block of rows from now on that a transactional kernel finishes panics; 0 for none.
pub fn panic_in_block(nth: usize) {
    BLOCKS.set(nth);
}

/// The `nth` buffer, write, submission or read of a graphics processor from now on fails; 0 for none.
#[cfg(feature = "wgpu")]
pub fn fail_device_call(nth: usize) {
    DEVICE_CALLS.set(nth);
}
