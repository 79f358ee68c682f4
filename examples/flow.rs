//! A step of an author's own that works on all keys of a kind, on the shards that hold them: what a field of JSON texts
//! says, and how often.
//!
//! ```text
//! JSON.COUNT pattern field          the values of the field among the strings whose key matches, each with how often it occurs
//! JSON.TALLY pattern field prefix   increments the key that is prefix and value, for each of these strings; how many it were
//! ```
//!
//! The texts never leave their shards: each takes the field out of its own, counts, and sends the counts. For `JSON.TALLY`
//! values go in batches to the shards that own the counters, which increment them. `JSON.INNER` is how
//! nodes ask each other; keys of a node without this module are read by plain commands, and the step then runs at the
//! node that was asked.

#![expect(missing_docs, reason = "redis_module! makes the module's entry points")]

use redis_module::{Context, RedisError, RedisResult, RedisString, Status, redis_module};
use rmr::flow::{BatchStep, Flow, Records};
use rmr::reduce::Builtin;
use rmr::topology::BoxFuture;
use rmr::{Command, Error, ModuleAlloc, Reply, Setup, unregister};

/// Takes a field, which its arguments name, out of each record's text. Records without it are left out.
struct JsonField;

impl BatchStep for JsonField {
    fn name(&self) -> &str {
        "JSON-FIELD"
    }

    fn run<'a>(&'a self, arguments: &'a [u8], records: Records) -> BoxFuture<'a, Result<Records, Error>> {
        Box::pin(async move {
            let name = std::str::from_utf8(arguments).map_err(|_| Error::Invalid("the field is no text".into()))?;
            let mut found = Records::new();
            for (key, text) in records.replies() {
                let text = text?;
                let text = text.bytes().and_then(|text| std::str::from_utf8(text).ok());
                if let Some(value) = text.and_then(|text| field(text, name)) {
                    found.push_reply(key, &Reply::from(value));
                }
            }
            Ok(found)
        })
    }
}

/// Gives each record another key: its value behind a prefix, which the arguments are.
struct KeyOfValue;

impl BatchStep for KeyOfValue {
    fn name(&self) -> &str {
        "KEY-OF-VALUE"
    }

    fn run<'a>(&'a self, prefix: &'a [u8], records: Records) -> BoxFuture<'a, Result<Records, Error>> {
        Box::pin(async move {
            let mut keyed = Records::new();
            for (_, value) in records.replies() {
                let value = value?;
                keyed.push_reply(&[prefix, value.bytes().unwrap_or_default()].concat(), &value);
            }
            Ok(keyed)
        })
    }
}

/// Returns the value of a field of a flat JSON object: a string without escapes, a number or a word.
fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let inside = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    inside.split(',').find_map(|pair| {
        let (key, value) = pair.split_once(':')?;
        let key = key.trim().strip_prefix('"')?.strip_suffix('"')?;
        let value = value.trim();
        (key == name).then(|| value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
    })
}

/// `JSON.COUNT pattern field`
fn count(ctx: &Context, args: Vec<RedisString>) -> RedisResult {
    let [_, pattern, field] = &args[..] else { return Err(RedisError::WrongArity) };
    let texts = Flow::keys(pattern).key_type("string").with_values();
    let counts = texts.step_with(JsonField, field.as_slice()).reduce(Builtin::Group);
    rmr::run(ctx, |request| async move { counts.run(&request).await })
}

/// `JSON.TALLY pattern field prefix`
fn tally(ctx: &Context, args: Vec<RedisString>) -> RedisResult {
    let [_, pattern, field, prefix] = &args[..] else { return Err(RedisError::WrongArity) };
    let texts = Flow::keys(pattern).key_type("string").command(Command::new("GET"));
    let values = texts.step_with(JsonField, field.as_slice()).step_with(KeyOfValue, prefix.as_slice());
    let counted = values.repartition().command(Command::new("INCR")).reduce(Builtin::Count);
    rmr::run(ctx, |request| async move { counted.run(&request).await })
}

fn init(ctx: &Context, _args: &[RedisString]) -> Status {
    let setup = Setup::new().inner_command("JSON.INNER").step(JsonField).step(KeyOfValue);
    rmr::register(ctx, setup).map_or(Status::Err, |()| Status::Ok)
}

redis_module! {
    name: "json",
    version: 1,
    allocator: (ModuleAlloc, ModuleAlloc),
    data_types: [],
    init: init,
    deinit: unregister,
    commands: [
        ["json.count", count, "readonly", 0, 0, 0, ""],
        ["json.tally", tally, "write", 0, 0, 0, ""],
    ],
}
