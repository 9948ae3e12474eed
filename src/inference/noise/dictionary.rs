//! Dictionaries as the Python package saves them: `{"dict": [[key, value], ..]}`.

use serde::{Deserialize, Serialize};

/// Keys with their values, in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Dictionary<K, V> {
    dict: Vec<(K, V)>,
}

impl<K, V> From<Vec<(K, V)>> for Dictionary<K, V> {
    fn from(dict: Vec<(K, V)>) -> Self {
        Self { dict }
    }
}

impl<K, V> From<Dictionary<K, V>> for Vec<(K, V)> {
    fn from(dictionary: Dictionary<K, V>) -> Self {
        dictionary.dict
    }
}

impl<V: Clone> Dictionary<String, V> {
    /// The values of some keys, and of no others.
    pub(super) fn of<const N: usize>(&self, keys: [&str; N]) -> Result<[V; N], String> {
        if let Some((key, _)) = self.dict.iter().find(|(key, _)| !keys.contains(&&**key)) {
            return Err(format!("unknown key {key:?}, expected {keys:?}"));
        }
        let find = |key: &str| self.dict.iter().find(|(name, _)| name == key);
        let found: Vec<V> =
            keys.iter().filter_map(|key| find(key).map(|(_, value)| value.clone())).collect();
        found.try_into().map_err(|_| format!("a key is missing, expected {keys:?}"))
    }
}
