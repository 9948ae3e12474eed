//! Work in several submissions leaves the weights as they were when one of them fails.

use super::buffers::Reused;
use super::context::Context;
use crate::error::Result;
use crate::memory;

/// Copies of buffers, to be put back.
pub(crate) struct Kept {
    live: Vec<wgpu::Buffer>,
    copies: Vec<wgpu::Buffer>,
}

impl Kept {
    /// Copies what is in `live` to `room`.
    ///
    /// # Errors
    /// [`Error::Backend`](crate::Error::Backend), [`Error::Memory`](crate::Error::Memory).
    pub fn new(context: &Context, room: &mut Vec<Reused>, live: Vec<wgpu::Buffer>) -> Result<Self> {
        room.resize_with(room.len().max(live.len()), Reused::default);
        let copies = room.iter_mut().zip(&live).map(|(room, live)| {
            // The sizes of copies have to fit.
            let words = usize::try_from(live.size() / 4).unwrap_or(usize::MAX);
            room.get(context, "kept weights", words)
        });
        let copies = memory::collected(copies)?;
        context.copy(live.iter().zip(&copies));
        Ok(Self { live, copies })
    }

    /// Puts the copies back.
    ///
    /// # Errors
    /// [`Error::Backend`](crate::Error::Backend).
    pub fn put_back(&self, context: &Context) -> Result<()> {
        context.guard("putting weights back", || {
            context.copy(self.live.iter().zip(&self.copies).map(|(live, copy)| (copy, live)));
            Ok(())
        })
    }
}
