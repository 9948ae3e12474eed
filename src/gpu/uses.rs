//! What of the kernels a product needs: the constants of their compositions.

use super::shaders::Constant;
use crate::config::WeightNoise;
use crate::mvm::Mvm;

/// What of the kernels a product needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Uses {
    pub asymmetry: bool,
    pub wires: bool,
    pub power: bool,
    relative: bool,
    offsets: bool,
    noise: u32,
    nonlinear: bool,
    output_noise: bool,
}

impl Uses {
    pub fn of(mvm: &Mvm) -> Self {
        let used = !mvm.perfect;
        Self {
            asymmetry: used && mvm.read_asymmetry,
            wires: used && mvm.array.wires(),
            power: used && mvm.array.power_noise(),
            relative: mvm.array.noise == WeightNoise::Relative,
            offsets: used && mvm.array.offsets(),
            noise: match mvm.array.noise {
                _ if mvm.perfect => 0,
                WeightNoise::None => 0,
                WeightNoise::AdditiveConstant => 1,
                WeightNoise::PcmRead | WeightNoise::Relative => 2,
            },
            nonlinear: used && mvm.output.nonlinear,
            output_noise: used && (mvm.output.line_noise || mvm.output.noise != 0.0),
        }
    }

    /// Number of sums per output.
    pub fn quantities(&self) -> usize {
        1 + 2 * usize::from(self.wires) + usize::from(self.power)
    }

    pub fn input(&self) -> [Constant; 1] {
        [Constant::Flag("SUMS", self.offsets || self.noise == 1)]
    }

    pub fn product(&self, signs: usize) -> Vec<Constant> {
        vec![Constant::Flag("ASYMMETRY", self.asymmetry), Constant::Flag("SIGNED", signs == 2)]
    }

    /// Constants of the tile that has all sums.
    pub fn sums(&self) -> [Constant; 3] {
        [
            Constant::Flag("WIRES", self.wires),
            Constant::Flag("POWER", self.power),
            Constant::Flag("RELATIVE", self.power && self.relative),
        ]
    }

    pub fn output(&self, mask: bool) -> [Constant; 6] {
        [
            Constant::Flag("WIRES", self.wires),
            Constant::Flag("OFFSETS", self.offsets),
            Constant::Flag("NONLINEAR", self.nonlinear),
            Constant::Flag("OUTPUT_NOISE_ON", self.output_noise),
            Constant::Flag("MASK", mask),
            Constant::Word("WEIGHT_NOISE_KIND", self.noise),
        ]
    }
}
