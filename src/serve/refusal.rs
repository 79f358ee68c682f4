//! Tells from the errors of nodes that they do not take a user.

/// The error for a client that has to say who it is.
pub(super) const NOAUTH: &str = "NOAUTH Authentication required.";

/// Tells whether a node that could not be connected to has said that it does not take the user.
pub(super) fn is_refusal(cause: &str) -> bool {
    ["NOAUTH", "WRONGPASS", "NOPERM", "ERR invalid password"].iter().any(|start| cause.starts_with(start))
}
