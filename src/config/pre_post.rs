//! Parameters of the digital processing before and after a tile.

use super::{InputRangeParameter, params};

params! {
    /// Digital processing before and after a tile.
    pub struct PrePostProcessingParameter {
        /// Static input range.
        input_range: InputRangeParameter = InputRangeParameter::default();
    }
}
