//! What is broken.

use std::fmt::{self, Display, Formatter};

/// What a device does not fulfil.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    name: &'static str,
    broken: Vec<String>,
}

impl Report {
    /// What is broken, one sentence each.
    #[must_use]
    pub fn broken(&self) -> &[String] {
        &self.broken
    }

    pub(super) fn new(name: &'static str) -> Self {
        Self { name, broken: Vec::new() }
    }

    /// Whether nothing is broken.
    pub(super) fn is_empty(&self) -> bool {
        self.broken.is_empty()
    }

    /// Notes what is broken.
    pub(super) fn note(&mut self, what: String) {
        self.broken.push(what);
    }

    /// Notes what an expectation says unless it holds.
    pub(super) fn expect(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.broken.push(what());
        }
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} does not conform:", self.name)?;
        self.broken.iter().try_for_each(|what| write!(f, "\n- {what}"))
    }
}

impl std::error::Error for Report {}
