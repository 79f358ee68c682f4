//! `librmr.so`: what `MODULE LOAD` loads. All it does stands in the crate `rmr`, in `src/module/`.

use redis_module::redis_module;
use rmr_core::{ModuleAlloc, load, unregister};

redis_module! {
    name: "rmr",
    version: 100,
    allocator: (ModuleAlloc, ModuleAlloc),
    data_types: [],
    init: load,
    deinit: unregister,
    commands: [],
}
