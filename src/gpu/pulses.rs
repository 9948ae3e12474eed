//! The pulsed update on the graphics processor.

/// Placeholder.
#[derive(Debug)]
pub struct GpuUpdate;

pub(super) fn sources() -> Vec<(String, String)> {
    Vec::new()
}
