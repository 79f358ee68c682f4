//! A reducer of an author's own that nodes run where the data is: the keys with the ten highest numbers.
//!
//! ```text
//! TOP.TEN key [key ...]     the keys with the highest numbers, each with its number, highest first
//! ```
//!
//! A shard looks at its own keys and sends ten of them, however many it was asked about. `TOP.INNER` is how nodes ask each
//! other; a node without this module is asked for every value instead.

#![expect(missing_docs, reason = "redis_module! makes the module's entry points")]

use redis_module::{Context, RedisError, RedisResult, RedisString, Status, redis_module};
use rmr::{Combine, Command, Error, ModuleAlloc, Number, Origin, Reply, Setup, unregister};

/// The number of elements that are kept.
const MOST: usize = 10;

/// The ten highest numbers, each with the place of its key in the request; of equal ones the first.
struct TopTen;

impl Combine for TopTen {
    type Partial = Vec<(i64, u32)>;
    type Output = Vec<(i64, u32)>;

    fn name(&self) -> &'static str {
        "TOP-TEN"
    }

    fn take(&self, best: &mut Self::Partial, origin: Origin<'_>, reply: Reply) -> Result<(), String> {
        match reply.number() {
            Some(Number::Integer(number)) => self.combine(best, vec![(number, origin.place)]),
            None if reply.is_null() => {}
            _ => return Err(reply.describe()),
        }
        Ok(())
    }

    fn combine(&self, best: &mut Self::Partial, other: Self::Partial) {
        best.extend(other);
        best.sort_by_key(|&(number, place)| (std::cmp::Reverse(number), place));
        best.truncate(MOST);
    }

    fn finish(&self, best: Self::Partial) -> Result<Self::Output, Error> {
        Ok(best)
    }
}

/// `TOP.TEN key [key ...]`
fn ten(ctx: &Context, args: Vec<RedisString>) -> RedisResult {
    if args.len() < 2 {
        return Err(RedisError::WrongArity);
    }
    let keys: Vec<Vec<u8>> = args[1..].iter().map(|key| key.as_slice().to_vec()).collect();
    rmr::run(ctx, |request| async move {
        let best = request.map(keys.iter().map(|key| Command::new("GET").key(key))).combine(TopTen).await?;
        let row = |(number, place): (i64, u32)| {
            Reply::Array(vec![Reply::from(keys[place as usize].clone()), Reply::from(number)])
        };
        Ok(Reply::Array(best.into_iter().map(row).collect()))
    })
}

fn init(ctx: &Context, _args: &[RedisString]) -> Status {
    let setup = Setup::new().inner_command("TOP.INNER").reducer(TopTen);
    rmr::register(ctx, setup).map_or(Status::Err, |()| Status::Ok)
}

redis_module! {
    name: "top",
    version: 1,
    allocator: (ModuleAlloc, ModuleAlloc),
    data_types: [],
    init: init,
    deinit: unregister,
    commands: [
        ["top.ten", ten, "readonly", 0, 0, 0, ""],
    ],
}
