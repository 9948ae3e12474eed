//! Drift exponents between given conductances.

use serde::{Deserialize, Serialize};

use super::dictionary::Dictionary;
use crate::config::{finite, require};
use crate::error::{Result, shown};

/// Mean and spread of drift exponents at given conductances, linear in between.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(try_from = "Dictionary<String, Vec<f64>>", into = "Dictionary<String, Vec<f64>>")]
#[non_exhaustive]
pub struct DriftTable {
    /// Ascending conductances, in µS.
    pub g_lst: Vec<f64>,
    /// Mean exponent at each.
    pub nu_mean_lst: Vec<f64>,
    /// Spread of the exponent at each.
    pub nu_std_lst: Vec<f64>,
}

impl DriftTable {
    /// Mean and spread of exponents at ascending conductances in µS.
    #[must_use]
    pub fn new(g_lst: Vec<f64>, nu_mean_lst: Vec<f64>, nu_std_lst: Vec<f64>) -> Self {
        Self { g_lst, nu_mean_lst, nu_std_lst }
    }

    /// Checks the values, and that they cover the conductances of devices, from `g_min` to `g_max`.
    pub(super) fn validate(&self, path: &str, [g_min, g_max]: [f64; 2]) -> Result<()> {
        const FIELD: &str = "custom_drift_model";
        let lists = [&self.g_lst, &self.nu_mean_lst, &self.nu_std_lst];
        let points = self.g_lst.len();
        let fits = points >= 2 && lists.iter().all(|list| list.len() == points);
        require(
            fits,
            path,
            FIELD,
            "g_lst, nu_mean_lst and nu_std_lst need one length of at least 2",
        )?;
        for value in lists.into_iter().flatten() {
            finite(path, FIELD, *value)?;
            require(
                *value >= 0.0,
                path,
                FIELD,
                format!("must not be negative, got {}", shown(*value)),
            )?;
        }
        let is_ascending = self.g_lst.windows(2).all(|two| two[0] < two[1]);
        require(is_ascending, path, FIELD, "g_lst must be ascending")?;
        let (lowest, highest) = (self.g_lst[0], self.g_lst[points - 1]);
        let [from, to, g_from, g_to] = [lowest, highest, g_min, g_max].map(shown);
        let why = format!(
            "g_lst covers {from} to {to} microsiemens but the converter uses {g_from} to {g_to}; \
             extend the list"
        );
        require(lowest <= g_min && g_max <= highest, path, FIELD, why)
    }
}

impl TryFrom<Dictionary<String, Vec<f64>>> for DriftTable {
    type Error = String;

    fn try_from(dictionary: Dictionary<String, Vec<f64>>) -> std::result::Result<Self, String> {
        let [g_lst, nu_mean_lst, nu_std_lst] =
            dictionary.of(["g_lst", "nu_mean_lst", "nu_std_lst"])?;
        Ok(Self { g_lst, nu_mean_lst, nu_std_lst })
    }
}

impl From<DriftTable> for Dictionary<String, Vec<f64>> {
    fn from(table: DriftTable) -> Self {
        vec![
            ("g_lst".to_owned(), table.g_lst),
            ("nu_mean_lst".to_owned(), table.nu_mean_lst),
            ("nu_std_lst".to_owned(), table.nu_std_lst),
        ]
        .into()
    }
}
