//! Which work a thread does: its own, shared with others, or that of another thread.

use std::cell::Cell;

/// Where a thread is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In no work that is shared.
    Outside,
    /// In work that it shares with others.
    Caller,
    /// In work of another thread.
    Helper,
}

thread_local! {
    pub(super) static PLACE: Cell<Place> = const { Cell::new(Place::Outside) };
}

/// Whether the current thread does the work of another, whose business it is to ask whether to stop.
pub(super) fn is_helper() -> bool {
    PLACE.get() == Place::Helper
}
