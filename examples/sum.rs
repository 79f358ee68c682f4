//! A module of your own with a distributed command: `SUMX.SUM key [key ...]` adds up what the keys hold, wherever in
//! the cluster they are.
//!
//! ```text
//! cargo build --release --example sum
//! redis-server --loadmodule target/release/examples/libsum.so
//! ```

#![expect(missing_docs, reason = "redis_module! makes the module's entry points")]

use redis_module::{Context, RedisError, RedisResult, RedisString, Status, redis_module};
use rmr::reduce::Total;
use rmr::{Command, ModuleAlloc, Replies, Setup, Step, unregister};

fn sum(ctx: &Context, args: Vec<RedisString>) -> RedisResult {
    if args.len() < 2 {
        return Err(RedisError::WrongArity);
    }
    let gets = args[1..].iter().map(|key| Command::new("GET").key(key));
    rmr::map(ctx, gets, |replies: Replies| {
        let mut total = Total::default();
        replies.numbers().for_each(|number| total.add(number));
        Ok(Step::reply(total.finish()?))
    })
}

fn init(ctx: &Context, _args: &[RedisString]) -> Status {
    let registered = rmr::register(ctx, Setup::new());
    registered.inspect_err(|error| ctx.log_warning(&error.to_string())).map_or(Status::Err, |()| Status::Ok)
}

redis_module! {
    name: "sumx",
    version: 1,
    allocator: (ModuleAlloc, ModuleAlloc),
    data_types: [],
    init: init,
    deinit: unregister,
    commands: [["sumx.sum", sum, "readonly blocking", 0, 0, 0, ""]],
}
