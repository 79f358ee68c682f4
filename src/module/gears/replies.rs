//! Replies of RedisGears, element by element: flat arrays of names and values, in RESP2 and RESP3 alike.

use bytes::Bytes;

use super::executions::ShownExecution;
use super::shown::ShownStep;
use crate::flow::messages::StepsTook;
use crate::reply::Reply;
use crate::resp::decode_whole;

/// Returns an error reply as clients of RedisGears know it: without `ERR` in front. One line, since an error is one.
pub(super) fn error(text: impl AsRef<str>) -> Reply {
    let one_line = |letter: char| if matches!(letter, '\r' | '\n' | '\0') { ' ' } else { letter };
    let line: String = text.as_ref().chars().map(one_line).collect();
    Reply::Error(line.into())
}

/// Returns what a client is told whose call would have to wait where it cannot.
pub(super) fn cannot_wait() -> Reply {
    error("ERR can not run a non-sync execution inside a MULTI/LUA (blocking is not allowed) or on loading.")
}

/// Returns the reply that a Python process has written.
pub(super) fn written(wire: &Bytes) -> Reply {
    decode_whole(wire).unwrap_or_else(|_| error("ERR the Python process has written no reply"))
}

/// Returns names and values, one after the other.
pub(super) fn flat(pairs: impl IntoIterator<Item = (&'static str, Reply)>) -> Reply {
    Reply::Array(pairs.into_iter().flat_map(|(name, value)| [name.into(), value]).collect())
}

/// Returns a number.
pub(super) fn integer(number: impl TryInto<i64>) -> Reply {
    Reply::Integer(number.try_into().unwrap_or(i64::MAX))
}

/// `RG.DUMPEXECUTIONS`: an element for each execution.
pub(super) fn executions(all: impl Iterator<Item = ShownExecution>) -> Reply {
    let shown = |execution: ShownExecution| {
        let status = execution.status().into();
        let registered = Reply::Integer(execution.is_registered.into());
        flat([("executionId", execution.id.as_str().into()), ("status", status), ("registered", registered)])
    };
    Reply::Array(all.map(shown).collect())
}

/// `RG.GETEXECUTION id`: an element for each shard, that of the node that has begun it first.
pub(super) fn execution(execution: &ShownExecution) -> Reply {
    let shards = execution.parts.shards.iter().enumerate();
    Reply::Array(shards.map(|(at, shard)| of_shard(execution, shard, at == 0)).collect())
}

fn of_shard(execution: &ShownExecution, shard: &str, is_first: bool) -> Reply {
    let end = &execution.end;
    let shard_count = execution.parts.shards.len();
    let has_begun = if is_first { shard_count } else { 0 };
    let completed = if end.is_some() { has_begun } else { 0 };
    let (results, errors, whole_ms) = match end {
        None => (-1, Vec::new(), 0),
        Some(end) if is_first => {
            let errors: Vec<Bytes> = end.errors.clone();
            (i64::try_from(end.result_count).unwrap_or(i64::MAX), errors, end.took.as_millis())
        }
        // All results are where the execution was begun.
        Some(end) => (0, Vec::new(), end.took.as_millis()),
    };
    // The node that has begun the execution is the first.
    let is_here = |took: &&StepsTook| match &took.node {
        None => is_first,
        Some(id) => !is_first && format!("{id:0>40}") == shard,
    };
    let took: Vec<&StepsTook> = end.iter().flat_map(|end| &end.steps_took).filter(is_here).collect();
    let read_ms = took.iter().map(|took| took.read).sum::<u64>() / 1_000_000;
    // Listed from the last step to the first.
    let took_ms = |step: usize| took.iter().filter_map(|took| took.steps.get(step)).sum::<u64>() / 1_000_000;
    let steps = execution.parts.steps.iter().enumerate().rev();
    let steps = steps.map(|(at, step)| of_step(step, took_ms(at))).collect();
    let plan = flat([
        ("status", execution.status().into()),
        ("shards_received", integer(has_begun)),
        ("shards_completed", integer(completed)),
        ("results", results.into()),
        ("errors", Reply::Array(errors.into_iter().map(Reply::Bulk).collect())),
        ("total_duration", integer(whole_ms)),
        ("read_duration", integer(read_ms)),
        ("steps", Reply::Array(steps)),
    ]);
    flat([("shard_id", shard.into()), ("execution_plan", plan)])
}

fn of_step(step: &ShownStep, took_ms: u64) -> Reply {
    flat([
        ("type", step.kind.as_str().into()),
        ("duration", integer(took_ms)),
        ("name", step.name.as_str().into()),
        ("arg", step.argument.as_str().into()),
    ])
}

/// Returns the element of `RG.GETEXECUTION` that is about a shard; its own reply if there is none.
pub(super) fn only_of_shard(reply: Reply, shard: &str) -> Reply {
    let Reply::Array(shards) = reply else { return reply };
    let is_it =
        |element: &Reply| element.elements().and_then(|fields| fields.get(1)?.bytes()) == Some(shard.as_bytes());
    Reply::Array(shards.into_iter().filter(is_it).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::executions::Executions;
    use crate::module::gears::executions::{ExecutionParts, ExecutionStart, FlowOutcome, GearsExecutions, NO_NODE};

    fn resp(reply: &Reply) -> String {
        let mut bytes = Vec::new();
        reply.write_to(&mut bytes);
        String::from_utf8_lossy(&bytes).replace("\r\n", " ").trim_end().to_owned()
    }

    #[test]
    fn errors_are_one_line_without_a_prefix() {
        assert_eq!(resp(&error("Session a\nalready exists")), "!24 Session a already exists");
    }

    #[test]
    fn executions_are_shown_element_by_element() {
        let (flows, gears) = (Executions::new(), GearsExecutions::new());
        let step = |kind: &str| ShownStep { kind: kind.into(), name: format!("n_{kind}"), argument: String::new() };
        let parts = ExecutionParts { shards: vec!["a".into(), "b".into()], steps: vec![step("map"), step("collect")] };
        let start = ExecutionStart {
            prefix: NO_NODE,
            user: "u",
            command: String::new(),
            is_kept: true,
            is_registered: false,
            parts,
            most: None,
        };
        let begun = gears.begin(start, &flows);
        let id = format!("{NO_NODE}-0");
        let listed = resp(&executions(std::iter::once(begun.shown())));
        assert_eq!(listed, format!("*1 *6 $11 executionId $42 {id} $6 status $7 running $10 registered :0"));
        let steps = "$5 steps *2 *8 $4 type $7 collect $8 duration :0 $4 name $9 n_collect $3 arg $0  \
                     *8 $4 type $3 map $8 duration :0 $4 name $5 n_map $3 arg $0";
        let shown = resp(&execution(&begun.shown()));
        let first = "*4 $8 shard_id $1 a $14 execution_plan *16 $6 status $7 running $15 shards_received :2 \
                     $16 shards_completed :0 $7 results :-1 $6 errors *0 $14 total_duration :0 $13 read_duration :0 ";
        assert_eq!(shown.replace("  ", " "), format!("*2 {first}{steps} {}", first_of_b(steps)).replace("  ", " "));

        let results = vec![Reply::from("x")];
        let steps_took = vec![
            StepsTook { node: None, steps: vec![], read: 2_500_000 },
            StepsTook { node: None, steps: vec![0, 7_500_000], read: 1_600_000 },
        ];
        gears.end(&begun, FlowOutcome { is_aborted: false, results, errors: vec!["e".into()], steps_took }, &flows);
        let shown = resp(&only_of_shard(execution(&begun.shown()), "a"));
        assert!(shown.starts_with("*1 *4 $8 shard_id $1 a $14 execution_plan *16 $6 status $4 done"), "{shown}");
        assert!(shown.contains("$7 results :1 $6 errors *1 $1 e") && shown.contains("read_duration :4 "), "{shown}");
        assert!(shown.contains("collect $8 duration :7 ") && shown.contains("map $8 duration :0 "), "{shown}");
        let other = resp(&only_of_shard(execution(&begun.shown()), "b"));
        assert!(other.contains("$7 results :0 $6 errors *0") && other.contains("read_duration :0 "), "{other}");
    }

    fn first_of_b(steps: &str) -> String {
        format!(
            "*4 $8 shard_id $1 b $14 execution_plan *16 $6 status $7 running $15 shards_received :0 \
             $16 shards_completed :0 $7 results :-1 $6 errors *0 $14 total_duration :0 $13 read_duration :0 {steps}"
        )
    }
}
