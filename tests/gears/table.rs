//! Tables of cases: all of them are tried, and the test fails with a list of those that went wrong.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs one check for each row and panics at the end if some have failed, with the name and the message of each.
pub fn each<T>(rows: impl IntoIterator<Item = (impl Into<String>, T)>, check: impl Fn(T)) {
    let mut failed = Vec::new();
    for (name, row) in rows {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(row))) {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            failed.push(format!("{}: {}", name.into(), text.unwrap_or_default()));
        }
    }
    assert!(failed.is_empty(), "{} rows have failed:\n{}", failed.len(), failed.join("\n"));
}
