//! Work in several submissions leaves the weights as they were when one of them fails.

use std::sync::Arc;

use super::buffers::Reused;
use super::tile::GpuTile;
use crate::error::Result;
use crate::par;

impl GpuTile {
    /// Runs `work` on the weights. When it fails or panics they are put back, unless the device is
    /// lost.
    pub(super) fn restoring(&mut self, work: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let kept = self.keep()?;
        let result = par::guard(|| work(self));
        if result.is_err() {
            // The first error tells more than one from here.
            let _ = self.put_back(&kept);
        }
        result
    }

    fn keep(&mut self) -> Result<Vec<wgpu::Buffer>> {
        let context = Arc::clone(&self.context);
        let live = self.state.live();
        let words = self.spec.d_size() * self.spec.x_size();
        self.guarded("keeping weights", |tile| {
            let buffers = tile.scratch.kept.iter_mut().zip(&live);
            let room = |(kept, _): (&mut Reused, _)| kept.get(&context, "kept weights", words);
            let kept = buffers.map(room).collect::<Result<Vec<_>>>()?;
            context.copy(live.iter().zip(&kept));
            Ok(kept)
        })
    }

    fn put_back(&self, kept: &[wgpu::Buffer]) -> Result<()> {
        self.context.guard("putting weights back", || {
            self.context.copy(kept.iter().zip(&self.state.live()));
            Ok(())
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use crate::error::Error;
    use crate::gpu::{GpuTile, Pick, adapters};
    use crate::{TileConfig, TileSpec};

    #[test]
    fn failure_puts_weights_back() {
        if adapters().is_empty() {
            println!("skipped: no adapter; install mesa-vulkan-drivers for a software one");
            return;
        }
        let spec = TileSpec::new(TileConfig::default(), 3, 5, false).unwrap();
        let mut tile = GpuTile::new(spec, &Pick::Named("0".to_owned())).unwrap();
        let [before, mut found] = [[0.25; 15], [0.0; 15]];
        tile.set_weights(&before).unwrap();
        let failed = tile.restoring(|tile| {
            tile.set_weights(&[0.5; 15])?;
            Err(Error::Interrupted)
        });
        assert_eq!(failed, Err(Error::Interrupted));
        tile.weights(&mut found).unwrap();
        assert_eq!(found, before);
        tile.restoring(|tile| tile.set_weights(&[0.5; 15])).unwrap();
        tile.weights(&mut found).unwrap();
        assert_eq!(found, [0.5; 15]);
    }
}
