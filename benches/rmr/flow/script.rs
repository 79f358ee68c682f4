//! A script for each shard that scans it and does the work there: quick, and nobody else is answered meanwhile.

use std::thread;
use std::time::Duration;

use super::{Outcome, Work, ranked_keys};
use crate::Failure;
use crate::common::{Cluster, Wire, elements, show};

/// Walks over all keys; what is done to each stands in its middle.
const WALK: &str = "
local cursor, sum, best = '0', 0, {}
repeat
    local page = redis.call('SCAN', cursor, 'MATCH', ARGV[1], 'COUNT', 1000)
    cursor = page[1]
    DO
until cursor == '0'
return RESULT";

/// Keeps the ten best in order.
const RANK: &str = "
    for _, key in ipairs(page[2]) do
        local number = CALL
        if #best < 10 or number > best[#best][2] then
            local at = 1
            while at <= #best and best[at][2] >= number do at = at + 1 end
            table.insert(best, at, {key, number})
            best[11] = nil
        end
    end";

const ADD: &str = "
    for _, key in ipairs(page[2]) do
        sum = sum + tonumber(CALL)
    end";

/// The longest that a script may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Does the work on all nodes at once.
pub fn run(cluster: &Cluster, pattern: &str, work: Work) -> Result<Outcome, Failure> {
    let (each, result, command): (&str, &str, &[&str]) = match work {
        Work::Count => ("sum = sum + #page[2]", "sum", &[]),
        Work::Sum(command) => (ADD, "sum", command),
        Work::TopTen(command) => (RANK, "best", command),
    };
    let word = |word: &&str| if *word == "{}" { "key".to_owned() } else { format!("'{word}'") };
    let call = format!("redis.call({})", command.iter().map(word).collect::<Vec<_>>().join(", "));
    let script = WALK.replace("DO", &each.replace("CALL", &call)).replace("RESULT", result);
    let replies = thread::scope(|scope| {
        let begin = |port| {
            let script = &script;
            scope.spawn(move || Wire::try_connect(port, PATIENCE)?.try_call(&["EVAL", script, "0", pattern]))
        };
        let threads: Vec<_> = cluster.primaries().iter().map(|node| begin(node.port())).collect();
        let ended = threads.into_iter().map(|thread| match thread.join() {
            Ok(reply) => reply.map_err(Failure::from),
            Err(_) => Err("a thread panicked".into()),
        });
        ended.collect::<Result<Vec<Vec<u8>>, Failure>>()
    })?;
    if let Some(error) = replies.iter().find(|reply| reply[0] == b'-') {
        return Err(show(error).into());
    }
    if !matches!(work, Work::TopTen(_)) {
        let numbers = replies.iter().map(|reply| show(reply).parse::<i64>());
        return Ok(Outcome::Number(numbers.sum::<Result<i64, _>>()?));
    }
    let mut best: Vec<(i64, String)> = Vec::new();
    for reply in &replies {
        let numbers = elements(reply).into_iter().map(|pair| show(elements(pair)[1]).parse::<i64>());
        best.extend(numbers.collect::<Result<Vec<_>, _>>()?.into_iter().zip(ranked_keys(reply)));
    }
    best.sort_unstable_by(|a, b| b.cmp(a));
    Ok(Outcome::Keys(best.into_iter().take(10).map(|(_, key)| key).collect()))
}
