//! `librg.so`: a module that is called `rg` and has the version of the last RedisGears with Python, 1.2.13, and nothing else.
//!
//! Clients of RedisGears ask `MODULE LIST` for that name before they use its commands. `librmr.so`, which has the commands,
//! has a name of its own, and a module has only one. So this is loaded besides, where clients ask.

use std::alloc::System;

use redis_module::{Context, RedisString, RedisValue, Status, redis_module};

/// Says in the log whether the commands are there that the name promises. They may come later: the order does not matter.
fn load(ctx: &Context, _args: &[RedisString]) -> Status {
    match ctx.call("COMMAND", &["INFO", "RG.PYEXECUTE"]) {
        Ok(RedisValue::Array(found)) if !matches!(found[..], [RedisValue::Null] | []) => {}
        _ => {
            ctx.log_notice("this module is only a name for clients of RedisGears; the commands are those of librmr.so")
        }
    }
    Status::Ok
}

redis_module! {
    name: "rg",
    version: 10213,
    allocator: (System, System),
    data_types: [],
    init: load,
    commands: [],
}
