//! A search engine over a cluster: each shard indexes its own documents, a query asks all shards at once, the reducer
//! merges the best hits, and a second step fetches their documents from the shards that hold them.
//!
//! A document is a hash whose key begins with `doc:`; its field `text` is what can be searched. Documents come and go
//! with `HSET` and `DEL`, through any client.
//!
//! ```text
//! HSET doc:1 title "Sailing" text "the sea and the wind"
//! SEARCH.QUERY 10 sea wind      the ten best documents on any shard: key, score, fields
//! SEARCH.LOCAL 10 sea wind      what one shard has to say: key, score, key, score, ...
//! ```
//!
//! The index is in memory and follows the keys of its node: whatever happens to a document there, the server tells us,
//! and we look at the document again. A slot that moves is a `RESTORE` on one node and a `DEL` on the other; a replica
//! applies what its primary did, and so has the same index. A change that the server does not tell, such as `FLUSHALL`,
//! is found out by the next query: a shard answers with no hit whose document it has not just seen.
//!
//! Like any fan-out a query is no snapshot: a document whose slot moves during the query may be found on both shards, and
//! is shown once, or on neither. Only database 0 is searched.

#![expect(missing_docs, reason = "redis_module! makes the module's entry points")]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use redis_module::{
    Context, KeysCursor, NotifyEvent, RedisError, RedisResult, RedisString, RedisValue, Status, redis_module,
};
use rmr::{Command, ModuleAlloc, Replies, Reply, Setup, Step};

/// The most hits that a query may ask for.
const MOST_HITS: u64 = 1000;

/// `SEARCH.QUERY count word [word ...]`: the best documents of all shards, an array of key, score and fields.
fn query(ctx: &Context, args: Vec<RedisString>) -> RedisResult {
    let (count, _) = parse(&args)?;
    let local = args[1..].iter().fold(Command::new("SEARCH.LOCAL"), Command::arg);
    let reduce = move |shards: Replies| {
        let best = merge(&shards, count);
        let fetch: Vec<Command> = best.iter().map(|(_, key)| Command::new("HGETALL").key(key)).collect();
        Ok(Step::map(fetch, move |documents: Replies| {
            let found = best.into_iter().zip(documents.into_all()?);
            // One that was deleted since it was found has no fields any more.
            let found = found.filter(|(_, fields)| !matches!(fields, Reply::Map(fields) if fields.is_empty()));
            let row =
                |((Reverse(score), key), fields): (Hit, Reply)| Reply::Array(vec![key.into(), score.into(), fields]);
            Ok(Step::reply(found.map(row).collect::<Vec<Reply>>()))
        }))
    };
    // Slots that move are no error here: hits tell of keys, and a key that is found twice is shown once.
    rmr::run(ctx, move |request| request.fan_out(local).allow_inconsistent(true).reduce(reduce))
}

/// A document that was found. The order of hits is best first, and the same whoever merges them.
type Hit = (Reverse<i64>, Vec<u8>);

/// Returns the best of what the shards found, each document once.
fn merge(shards: &Replies, count: usize) -> Vec<Hit> {
    let flat = shards.ok().filter_map(Reply::elements).flat_map(|hits| hits.chunks_exact(2));
    let hits = flat.filter_map(|hit| Some((Reverse(hit[1].integer()?), hit[0].bytes()?.to_vec())));
    hits.collect::<BTreeSet<Hit>>().into_iter().take(count).collect()
}

/// `SEARCH.LOCAL count word [word ...]`: the best documents of this shard.
fn local(ctx: &Context, args: Vec<RedisString>) -> RedisResult {
    let (count, words) = parse(&args)?;
    let found = index().find(&words);
    let real = found.into_iter().filter(|(_, key)| look(ctx, key)).take(count);
    let flat = real.flat_map(|(Reverse(score), key)| [RedisValue::StringBuffer(key), RedisValue::Integer(score)]);
    Ok(RedisValue::Array(flat.collect()))
}

fn parse(args: &[RedisString]) -> Result<(usize, BTreeSet<String>), RedisError> {
    if args.len() < 3 {
        return Err(RedisError::WrongArity);
    }
    let count = args[1].parse_unsigned_integer().ok().filter(|count| (1..=MOST_HITS).contains(count));
    let count = count.ok_or(RedisError::Str("ERR count is a number from 1 to 1000"))?;
    Ok((count as usize, args[2..].iter().flat_map(|words| words_of(words)).collect()))
}

/// Words as they are indexed: letters and digits, in lower case.
fn words_of(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(text).to_lowercase();
    text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// The documents of this node, found by word.
struct Index {
    /// Word to key to how often the word stands there.
    postings: BTreeMap<String, BTreeMap<Vec<u8>, i64>>,
    /// Key to the words to forget when the document changes.
    words: BTreeMap<Vec<u8>, BTreeSet<String>>,
}

impl Index {
    const fn new() -> Self {
        Self { postings: BTreeMap::new(), words: BTreeMap::new() }
    }

    fn put(&mut self, key: &[u8], text: &[u8]) {
        self.remove(key);
        for word in words_of(text) {
            self.words.entry(key.to_vec()).or_default().insert(word.clone());
            *self.postings.entry(word).or_default().entry(key.to_vec()).or_default() += 1;
        }
    }

    fn remove(&mut self, key: &[u8]) {
        for word in self.words.remove(key).unwrap_or_default() {
            if let Some(keys) = self.postings.get_mut(&word) {
                keys.remove(key);
                if keys.is_empty() {
                    self.postings.remove(&word);
                }
            }
        }
    }

    /// Returns all documents with any of the words, best first. The score is how often the words stand there.
    fn find(&self, words: &BTreeSet<String>) -> Vec<Hit> {
        let mut scores: BTreeMap<&[u8], i64> = BTreeMap::new();
        for (key, count) in words.iter().filter_map(|word| self.postings.get(word)).flatten() {
            *scores.entry(key).or_default() += count;
        }
        let mut hits: Vec<Hit> = scores.into_iter().map(|(key, score)| (Reverse(score), key.to_vec())).collect();
        hits.sort();
        hits
    }
}

static INDEX: Mutex<Index> = Mutex::new(Index::new());

/// Never held while a key is opened: that may expire the key, and the server tells us so at once.
fn index() -> MutexGuard<'static, Index> {
    INDEX.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Indexes a document as it is now, or forgets it. Returns whether it is there.
fn look(ctx: &Context, key: &[u8]) -> bool {
    let text = ctx.open_key(&ctx.create_string(key)).hash_get("text").ok().flatten();
    match &text {
        Some(text) => index().put(key, text),
        None => index().remove(key),
    }
    text.is_some()
}

fn on_change(ctx: &Context, _kind: NotifyEvent, _event: &str, key: &[u8]) {
    if key.starts_with(b"doc:") {
        look(ctx, key);
    }
}

/// Indexes what is there already.
fn init(ctx: &Context, _args: &[RedisString]) -> Status {
    if let Err(error) = rmr::register(ctx, Setup::new()) {
        ctx.log_warning(&error.to_string());
        return Status::Err;
    }
    let cursor = KeysCursor::new();
    while cursor.scan(ctx, &|ctx, key, _| on_change(ctx, NotifyEvent::LOADED, "loaded", key)) {}
    Status::Ok
}

fn deinit(ctx: &Context) -> Status {
    let unregistered = rmr::unregister(ctx);
    if unregistered == Status::Ok {
        *index() = Index::new();
    }
    unregistered
}

redis_module! {
    name: "search",
    version: 1,
    allocator: (ModuleAlloc, ModuleAlloc),
    data_types: [],
    init: init,
    deinit: deinit,
    commands: [
        ["search.query", query, "readonly blocking", 0, 0, 0, ""],
        ["search.local", local, "readonly", 0, 0, 0, ""],
    ],
    event_handlers: [[@ALL @LOADED: on_change]],
}
