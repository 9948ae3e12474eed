//! The words of a block of parameters.

use crate::rng::Key;

/// Writes 32-bit words in order.
#[derive(Debug, Default)]
pub(crate) struct Words(pub Vec<u32>);

impl Words {
    pub fn word(&mut self, value: u32) -> &mut Self {
        self.0.push(value);
        self
    }

    pub fn flag(&mut self, value: bool) -> &mut Self {
        self.word(u32::from(value))
    }

    /// A number; infinity becomes the largest number, for shaders may assume that there is none.
    pub fn float(&mut self, value: f32) -> &mut Self {
        self.word(value.clamp(f32::MIN, f32::MAX).to_bits())
    }

    pub fn key(&mut self, key: Key) -> &mut Self {
        self.0.extend(key.words());
        // A struct of the shaders ends at a multiple of its largest member, a vector of four.
        self.0.extend([key.call as u32, 0, 0, 0]);
        self
    }
}
