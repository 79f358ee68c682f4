//! The worker's program, driven from here without a Redis server.
//!
//! The interpreter is `/usr/bin/python3`, or the one that RMR_PYTHON names; it needs cloudpickle, as the server does.

mod host;
mod processes;
mod requirements;
mod sessions;
mod stages;
