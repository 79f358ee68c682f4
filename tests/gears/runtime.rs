//! Tests the functions that scripts call: commands, atomic blocks, settings, the log, threads.

use std::time::Duration;

use crate::common::{Server, eventually, while_repeating};
use crate::servers::{Servers, one_record, records};
use crate::table::each;

/// The free names of a script.
const NAMES: &str = "GearsBuilder GB execute atomic hashtag log configGet gearsConfigGet gearsFuture gearsCtx registerTE \
    call_next get_command override_reply isInAtomicBlock isAsyncAllow flat_error setGearsSession getGearsSession \
    registerGearsThread createFuture setFutureResults setFutureException runCoroutine GearsSession GearsFuture redisgears rg \
    copy asyncio io cProfile pstats Thread Future loop Log ConfigGet GearsConfigGet execute_many";

/// The names that the module `redisgears` has.
const OF_THE_MODULE: &str = "executeCommand atomicCtx getMyHashTag registerTimeEvent callNext getCommand overrideReply gearsCtx \
    gearsFutureCtx log setGearsSession getGearsSession registerGearsThread isInAtomicBlock isAsyncAllow config_get flatError \
    PyFlatExecution GearsError GearsForceStopped GearsFlatError";

#[test]
fn names() {
    for servers in Servers::both() {
        servers.ok(&format!(
            "import redisgears\nfor name in '{NAMES}'.split(): globals()[name]\nfor name in '{OF_THE_MODULE}'.split(): getattr(redisgears, name)"
        ));
        servers.ok("from __main__ import GB, GearsBuilder, configGet, gearsConfigGet\nfrom redisgears import atomicCtx, executeCommand, getMyHashTag, gearsFutureCtx, log");
        assert_eq!(servers.value("(__name__, GB is GearsBuilder, rg is redisgears)"), "('not_main', True, True)");
        assert_eq!(
            servers.value("[e.__name__ for e in (rg.GearsError, rg.GearsForceStopped, rg.GearsFlatError)]"),
            "['error', 'forcestopped', 'flat_error']"
        );
    }
}

/// Expressions in a step, and what Python shows of their values. Keys are at the shard: `K` stands for its hash tag.
const REPLIES: &[(&str, &str)] = &[
    ("execute()", "[]"),
    ("execute('PING')", "'PONG'"),
    ("execute('ping', 'x')", "'x'"),
    ("execute('GET', K + 'none')", "None"),
    ("execute('SET', K + 'a', 1)", "'OK'"),
    ("execute('GET', K + 'a')", "'1'"),
    ("execute('INCR', K + 'a')", "2"),
    ("execute('SET', K + 'b', 1.5)", "'OK'"),
    ("execute('GET', K + 'b')", "'1.5'"),
    ("execute('SET', K + 'b', None), execute('GET', K + 'b')", "('OK', 'None')"),
    ("execute('SET', K + 'b', b'x\\xff'), execute('GET', K + 'b')", "('OK', bytearray(b'x\\xff'))"),
    ("execute('SET', K + 'b', bytearray(b'y')), execute('GET', K + 'b')", "('OK', 'y')"),
    ("execute('SET', K + 'b', 'z\\x00z'), execute('GET', K + 'b')", "('OK', 'z\\x00z')"),
    ("execute('SET', K + 'b', [1, 'a']), execute('GET', K + 'b')", "('OK', \"[1, 'a']\")"),
    ("execute('RPUSH', K + 'l', 'a', 1, b'\\xff')", "3"),
    ("execute('LRANGE', K + 'l', 0, -1)", "['a', '1', bytearray(b'\\xff')]"),
    ("execute('HMGET', K + 'h', 'x', 'y')", "[None, None]"),
    ("execute('EVAL', 'return {1, {2, false}, redis.status_reply(\"fine\")}', 0)", "[1, [2, None], 'fine']"),
    ("execute('EVAL', 'return {redis.error_reply(\"ERR in it\")}', 0)", "['ERR in it']"),
    ("execute('ZADD', K + 'z', 1.5, 'm'), execute('ZSCORE', K + 'z', 'm')", "(1, '1.5')"),
    ("execute_many([('INCR', K + 'n'), ['INCR', K + 'n']])", "[1, 2]"),
    ("redisgears.executeCommand('PING')", "'PONG'"),
];

#[test]
fn replies_of_commands() {
    for servers in Servers::both() {
        let script = "K = '{%s}' % hashtag()";
        each(REPLIES.iter().map(|row| (format!("{}, {}", servers.kind, row.0), row)), |(expression, shown)| {
            assert_eq!(servers.value_after(script, &format!("({expression})")), *shown);
        });
    }
}

const TRIES: &str = "
K = '{%s}' % hashtag()
def tried(f, *words):
    try:
        return f(*words)
    except Exception as e:
        return type(e).__name__ + ': ' + str(e)
";

/// Words for `execute()`, and how it fails.
const FAILURES: &[(&str, &str)] = &[
    ("'NOSUCH'", "'error: No such file or directory'"),
    ("'GET'", "'error: Invalid argument'"),
    ("'GET', 'a', 'b'", "'error: Invalid argument'"),
    ("5", "'error: the given command must be a string'"),
    ("b'PING'", "'error: the given command must be a string'"),
    ("'LPUSH', K + 'string', 1", "'error: WRONGTYPE Operation against a key holding the wrong kind of value'"),
    ("'SET', K + 'x', 'y', 'NOWORD'", "'error: ERR syntax error'"),
];

#[test]
fn commands_that_fail() {
    for servers in Servers::both() {
        servers.ok("execute('SET', '{%s}string' % hashtag(), 'x')");
        each(FAILURES.iter().map(|row| (format!("{}, {}", servers.kind, row.0), row)), |(words, shown)| {
            assert_eq!(servers.value_after(TRIES, &format!("tried(execute, {words})")), *shown);
        });
        assert_eq!(
            servers.value_after(TRIES, "[tried(execute_many, [('NOSUCH',), ('GET',), ('PING',)])[n] for n in (2,)]"),
            "['PONG']",
            "{}",
            servers.kind
        );
    }
}

#[test]
fn keys_of_other_shards() {
    let servers = Servers::cluster();
    let key = servers.as_cluster().key_for(1, "k");
    assert_eq!(
        servers.value_after(TRIES, &format!("tried(execute, 'GET', '{key}')")),
        "'error: Operation not permitted'"
    );
    // On the shard that has it, it is there.
    servers.at_owner(&format!("SET {key} here"));
    let script = format!("{TRIES}\nGB('ShardsIDReader').map(lambda x: tried(execute, 'GET', '{key}')).run()");
    let refused = "error: Operation not permitted";
    assert_eq!(servers.results(&script), [refused, refused, "here"]);
}

#[test]
fn the_hash_tag_is_of_this_shard() {
    for servers in Servers::both() {
        if !servers.is_cluster() {
            assert_eq!(servers.value("hashtag()"), "'06S'");
        }
        let script = "GB('ShardsIDReader').map(lambda x: execute('INCR', 'n:{%s}' % hashtag())).run()";
        assert_eq!(servers.results(script), vec!["1"; servers.nodes().len()], "{}", servers.kind);
        let tags = servers
            .results("GB('ShardsIDReader').map(lambda x: (hashtag(), redisgears.getMyHashTag() == hashtag())).run()");
        assert!(tags.iter().all(|tag| tag.ends_with("True)")), "{tags:?}");
    }
}

#[test]
fn commands_from_everywhere_in_a_script() {
    for servers in Servers::both() {
        let script = "
K = '{%s}' % hashtag()
execute('INCR', K + 'top')
def reader():
    execute('INCR', K + 'reader')
    yield 1
def extractor(r):
    execute('PING')
    return K
GB('PythonReader').groupby(extractor, lambda k, a, r: execute('INCR', K + 'reducer')).run(reader, mode='async_local')";
        servers.results(script);
        for name in ["top", "reader", "reducer"] {
            let found = servers.reply(&["RMR.MAP", "SUM", "MATCH", &format!("*{name}"), "GET"]);
            assert_eq!(found, "1", "{}: {name}", servers.kind);
        }
    }
}

#[test]
fn a_large_value_comes_whole() {
    let servers = Servers::single();
    let script = "large = 'y' * 30000000\nexecute('SET', 'big', large)";
    assert_eq!(
        servers.value_after(script, "execute('GET', 'big') == large, execute('STRLEN', 'big')"),
        "(True, 30000000)"
    );
}

#[test]
fn writes_reach_replicas() {
    let cluster = crate::servers::cluster().shards(1).replicas(1).start();
    let reply = cluster.node(0).wire().reply_to(&[
        "RG.PYEXECUTE",
        "execute('SET', 'k', 'v')\nwith atomic():\n  execute('INCR', 'n')\n  execute('INCR', 'n')",
    ]);
    assert_eq!(reply, "+OK");
    let replica = &cluster.replicas()[0];
    eventually(Duration::from_secs(20), "the writes are there", || {
        let mut wire = replica.wire();
        wire.reply("READONLY") == "+OK" && wire.reply("GET k") == "\"v\"" && wire.reply("GET n") == "\"2\""
    });
}

/// A replica may only read. read.
#[test]
fn on_a_replica() {
    let cluster = crate::servers::cluster().shards(1).replicas(1).start();
    cluster.set("k", "v");
    let replica = &cluster.replicas()[0];
    let count = || replica.wire().reply_to(&["RG.PYEXECUTE", "GB().count().run(mode='async_local')"]);
    eventually(Duration::from_secs(20), "the key is there", || count() == "[[\"1\"], []]");
    let error = replica.wire().reply_to(&["RG.PYEXECUTE", "execute('SET', 'k', 1)"]);
    assert!(error.starts_with("-['Traceback"), "{error}");
    assert_eq!(cluster.node(0).reply("GET k"), "\"v\"");
}

#[test]
fn atomic_blocks() {
    for servers in Servers::both() {
        let script = "
K = '{%s}' % hashtag()
def f(x):
    with atomic():
        inside = isInAtomicBlock()
        execute('INCR', K + 'a')
        execute('INCR', K + 'a')
    return inside, isInAtomicBlock(), execute('GET', K + 'a')
";
        assert_eq!(servers.value_after(script, "f(x)"), "(True, False, '2')", "{}", servers.kind);
        let nested = servers.refusal("with atomic():\n  with atomic():\n    pass");
        assert!(nested.contains("Already inside an atomic block"), "{nested}");
        let failed = servers.run(&format!("def f(x):\n  with atomic():\n    1/0\n{}", one_record(".map(f)")));
        assert_eq!(failed.errors.len(), 1);
        assert_eq!(servers.result(&one_record("")), "1", "{}: the server answers", servers.kind);
    }
}

/// Nobody sees what is half done.
#[test]
fn nobody_comes_between_the_commands_of_a_block() {
    let servers = Servers::single();
    servers.ok("execute('MSET', 'a', 0, 'b', 0)");
    let check = |node: &Server| {
        let mut wire = node.wire();
        move || {
            let pair = wire.reply("MGET a b");
            let values: Vec<&str> = pair.split('"').skip(1).step_by(2).collect();
            assert_eq!(values[0], values[1], "{pair}");
        }
    };
    let nodes = [servers.first(), servers.first()];
    while_repeating(
        &nodes,
        |node| check(node),
        || {
            let script = "
def f(x):
    with atomic():
        execute('INCR', 'a')
        execute('PING')
        execute('INCR', 'b')
GB('PythonReader').foreach(f).count().run(lambda: (i for i in range(300)))";
            assert_eq!(servers.result(script), "300");
        },
    );
    assert_eq!(servers.first().reply("MGET a b"), "[\"300\", \"300\"]");
}

/// A script that runs sees no key change under it.
#[test]
fn commands_wait_while_a_script_of_the_server_runs() {
    let servers = Servers::single();
    let eval = |node: &Server| {
        let mut wire = node.wire();
        move || {
            let script = "local before = redis.call('GET', 'n')
                for i = 1, 20000 do if redis.call('GET', 'n') ~= before then return 'changed' end end
                return 'same'";
            assert_eq!(wire.reply_to(&["EVAL", script, "0"]), "\"same\"");
        }
    };
    while_repeating(
        &[servers.first()],
        |node| eval(node),
        || {
            let script = "GB('PythonReader').foreach(lambda x: execute('INCR', 'n')).count().run(lambda: (i for i in range(1000)))";
            assert_eq!(servers.result(script), "1000");
        },
    );
}

#[test]
fn an_atomic_block_that_does_not_end_is_ended() {
    let servers = Servers::single();
    servers.first().run::<()>(&["CONFIG", "SET", "rmr.atomic-timeout-ms", "300"]);
    let script = "def f(x):\n  with atomic():\n    execute('SET', 'in', 1)\n    while True: x += 1\nGB('PythonReader').map(f).run(lambda: (i for i in [1]))";
    let answer = servers.run(script);
    assert!(answer.results.is_empty() && !answer.errors.is_empty(), "{answer:?}");
    assert_eq!(servers.first().reply("PING"), "+PONG");
    assert_eq!(servers.result(&one_record("")), "1");
}

#[test]
fn the_log() {
    let servers = Servers::single();
    servers.ok("log('of the top')\nlog('loud', level='warning')\nprint('was printed')\nimport sys\nprint('to the errors', file=sys.stderr)\nLog('old name')");
    assert_eq!(servers.result(&one_record(".foreach(lambda x: log('of a step'))")), "1");
    for text in
        ["GEARS: of the top", "GEARS: loud", "GEARS: of a step", "GEARS: old name", "was printed", "to the errors"]
    {
        eventually(Duration::from_secs(20), text, || servers.first().log().contains(text));
    }
    // Many lines are some lines and the number of the others.
    servers.ok("for i in range(100000): print('line', i)");
    assert!(servers.first().log().len() < 2_000_000, "{}", servers.first().log().len());
}

#[test]
fn whether_a_step_may_wait() {
    let servers = Servers::single();
    let script = format!("top = isAsyncAllow()\n{}", one_record(".map(lambda x: (top, isAsyncAllow()))"));
    assert_eq!(servers.result(&script), "(False, True)");
}

#[test]
fn errors_without_a_traceback() {
    for servers in Servers::both() {
        for step in ["flat_error('only this')", "(_ for _ in ()).throw(redisgears.GearsFlatError('only this'))"] {
            let answer = servers.run(&one_record(&format!(".map(lambda x: {step})")));
            assert_eq!((answer.results.len(), &*answer.errors), (0, &["only this".to_owned()][..]), "{}", servers.kind);
        }
    }
}

#[test]
fn threads_of_a_script() {
    for servers in Servers::both() {
        let script = "
def work(i, found):
    registerGearsThread()
    for n in range(20):
        found.append(execute('ECHO', '%d-%d' % (i, n)) == '%d-%d' % (i, n))
    with atomic():
        execute('PING')
def f(x):
    found = []
    threads = [Thread(target=work, args=(i, found)) for i in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    return len(found), all(found)
";
        assert_eq!(servers.value_after(script, "f(x)"), "(160, True)", "{}", servers.kind);
    }
}

/// Commands of a step, many of them.
#[test]
fn many_commands() {
    for servers in Servers::both() {
        let script = "K = '{%s}' % hashtag()\n".to_owned()
            + &records("range(5000)", ".foreach(lambda x: execute('INCRBY', K + 'sum', x)).count()");
        assert_eq!(servers.result(&script), "5000", "{}", servers.kind);
        assert_eq!(servers.reply(&["RMR.MAP", "SUM", "MATCH", "*sum", "GET"]), "12497500", "{}", servers.kind);
    }
}

#[test]
fn timers() {
    let servers = Servers::single();
    assert_eq!(
        servers.reply(&["RG.PYEXECUTE", "assert registerTE(1, lambda: execute('INCR', 'ticks')) is True"]),
        "+OK"
    );
    let ticks = || servers.first().reply("GET ticks").trim_matches('"').parse().unwrap_or(0);
    eventually(Duration::from_secs(30), "it ticks twice", || ticks() >= 2);
}
