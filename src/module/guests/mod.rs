//! Guests: other modules of the server that use rmr through its C functions (`include/rmr.h`), which `librmr.so` exports.
//!
//! A guest registers reducers and steps of flows, which are found by name like those that all nodes have ([`registry`]), and makes requests,
//! which begin as those of rmr's own commands do ([`request`]). Pointers to its code and data are wrapped in
//! [`server::shared_api`](super::server::shared_api). A guest's code stays mapped as long as something of it is held here
//! ([`guest`]), so that none of these pointers leads nowhere, whatever a guest forgets to do before it is unloaded.

pub(super) mod guest;
pub(super) mod reducer;
pub(super) mod registry;
pub(super) mod request;
mod step;
