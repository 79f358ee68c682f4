//! Plain servers that share no cluster: `rmr.nodes`, and which of them holds which key.

mod changes;
mod members;
mod placement;
