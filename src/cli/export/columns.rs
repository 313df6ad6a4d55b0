//! Which columns of the input an export has, beside its own.

use std::collections::BTreeSet;

use super::ExportError;
use super::row::ExportRow;

/// The columns that are wanted, and those that rows have.
pub(super) struct Columns<'a> {
    /// `None`: none; empty: all.
    wanted: Option<&'a [String]>,
    /// Those to write, in the order in which they were found or asked for.
    pub(super) names: Vec<String>,
    found: BTreeSet<String>,
}

impl<'a> Columns<'a> {
    pub(super) fn new(wanted: Option<&'a [String]>) -> Self {
        Columns {
            wanted,
            names: wanted.unwrap_or_default().to_vec(),
            found: BTreeSet::new(),
        }
    }

    /// Finds the columns of a row.
    pub(super) fn find(&mut self, row: &ExportRow<'_>) {
        let Some(wanted) = self.wanted else { return };
        for name in row.columns.keys() {
            if self.found.insert(name.clone()) && wanted.is_empty() {
                self.names.push(name.clone());
            }
        }
    }

    /// Whether every column that was asked for is there.
    pub(super) fn check(&self) -> Result<(), ExportError> {
        match self.names.iter().find(|name| !self.found.contains(*name)) {
            None => Ok(()),
            Some(name) => {
                let found: Vec<_> = self.found.iter().map(String::as_str).collect();
                Err(ExportError::NoColumn(name.clone(), found.join(", ")))
            }
        }
    }
}
