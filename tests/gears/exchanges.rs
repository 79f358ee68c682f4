//! Small exchanges, byte by byte.

use crate::common::show;
use crate::servers::{Servers, call};
use crate::table::each;

/// Requests, each with the whole reply; `TRACE` stands for the bulk string of a traceback.
const ON_A_SINGLE_SERVER: &[(&[&str], &str)] = &[
    (&["RG.PYEXECUTE", "GB().run()"], "*2\r\n*0\r\n*0\r\n"),
    (&["RG.PYEXECUTE", "x = 1"], "+OK\r\n"),
    (&["RG.PYEXECUTE", "GB().count().run()"], "*2\r\n*0\r\n*0\r\n"),
    (&["RG.PYEXECUTE", "GB('ShardsIDReader').run()"], "*2\r\n*1\r\n$1\r\n1\r\n*0\r\n"),
    (&["RG.PYEXECUTE", "GB('ShardsIDReader').count().run()"], "*2\r\n*1\r\n$1\r\n1\r\n*0\r\n"),
    (
        &["RG.PYEXECUTE", "GB('PythonReader').run(lambda: (x for x in [[3,1,2]]))"],
        "*2\r\n*1\r\n$9\r\n[3, 1, 2]\r\n*0\r\n",
    ),
    (
        &["RG.PYEXECUTE", "GB('PythonReader').flatmap(lambda x: x).run(lambda: (x for x in [[3,1,2]]))"],
        "*2\r\n*3\r\n$1\r\n2\r\n$1\r\n1\r\n$1\r\n3\r\n*0\r\n",
    ),
    (
        &["RG.PYEXECUTE", "GB('PythonReader').flatmap(lambda x: x).sort().run(lambda: (x for x in [[3,1,2]]))"],
        "*2\r\n*3\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n*0\r\n",
    ),
    (
        &["RG.PYEXECUTE", "GB('PythonReader').map(lambda x: 1/0).run(lambda: (i for i in [1]))"],
        "*2\r\n*0\r\n*1\r\nTRACE",
    ),
    (
        &["RG.PYEXECUTE", "GB('PythonReader').run(lambda: (i for i in [5]), convertToStr=False)"],
        "*2\r\n*1\r\n:5\r\n*0\r\n",
    ),
    (
        &["RG.PYEXECUTE", "GB('PythonReader').run(lambda: (i for i in [(5,)]), convertToStr=False)"],
        "*2\r\n*1\r\n$9\r\nPY RECORD\r\n*0\r\n",
    ),
    (&["SET", "x", "1"], "+OK\r\n"),
    (&["RG.PYEXECUTE", "GB().map(lambda r: r['value']).run('x')"], "*2\r\n*1\r\n$1\r\n1\r\n*0\r\n"),
    (&["RG.GETRESULTS", "0-0"], "-execution plan does not exist\r\n"),
    (&["RG.PYEXECUTE", "GB().run()", "FOO"], "-Unknown arguments were given: FOO\r\n"),
    (&["RG.INFOCLUSTER"], "$15\r\nno cluster mode\r\n"),
    (
        &["RG.CONFIGGET", "MaxExecutions", "Nope"],
        "*2\r\n:1000\r\n$42\r\n(error) Unsupported config parameter: Nope\r\n",
    ),
];

/// Replaces bulk strings that hold a traceback by `TRACE`.
fn without_traces(reply: &[u8]) -> String {
    let text = String::from_utf8_lossy(reply).into_owned();
    let Some(at) = text.find("['Traceback (most recent call last):\\n', ") else { return text };
    let head = text[..at].rfind('$').expect("the head of a bulk string");
    let end = text[at..].find("\r\n").expect("the end of a bulk string");
    format!("{}TRACE{}", &text[..head], &text[at + end + 2..])
}

#[test]
fn requests_and_replies() {
    let servers = Servers::single();
    let rows = ON_A_SINGLE_SERVER.iter().map(|row| (row.0.join(" "), row));
    each(rows, |(words, expected)| assert_eq!(without_traces(&call(servers.first(), words)), *expected));
}

#[test]
fn errors_that_the_whole_command_is_answered() {
    let servers = Servers::single();
    let error = servers.refusal("1/0");
    assert!(error.starts_with("-['Traceback (most recent call last):\\n', "), "{error}");
    assert!(error.contains("ZeroDivisionError: division by zero"), "{error}");
    let mut wire = servers.first().wire();
    assert_eq!(wire.reply("MULTI"), "+OK");
    assert_eq!(wire.reply("RG.PYEXECUTE x"), "+QUEUED");
    assert_eq!(wire.reply("EXEC"), "[-Can not run gears inside a multi exec, lua, or when blocking is not allowed]");
    let id = servers.begin("GB().run('x')");
    let (prefix, number) = id.rsplit_once('-').expect("a shard and a number");
    assert_eq!(prefix, "0".repeat(40));
    assert!(number.parse::<u64>().is_ok(), "{id}");
}

#[test]
fn three_shards_count_themselves() {
    let servers = Servers::cluster();
    let reply = call(servers.first(), &["RG.PYEXECUTE", "GB('ShardsIDReader').count().run()"]);
    assert_eq!(show(&reply), "[[\"3\"], []]");
}
