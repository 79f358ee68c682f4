//! Exceptions of the builder and of runtime functions, in RedisGears' words.

use crate::servers::{Servers, records};
use crate::table::each;

/// A script that does something in a thread, and raises what that raises.
macro_rules! in_a_thread {
    ($line:literal) => {
        concat!(
            "
found = []
def f():
    try:
        ",
            $line,
            "
    except Exception as e:
        found.append(e)
thread = Thread(target=f)
thread.start()
thread.join()
raise found[0]"
        )
    };
}

const IN_A_THREAD_MAKES_A_BUILDER: &str = in_a_thread!("GB()");

const IN_A_THREAD_ASKS_FOR_TIME: &str = in_a_thread!("registerTE(1, lambda: 1)");

/// Scripts, each with the text of the `gears.error` that it gets.
const RAISED: &[(&str, &str)] = &[
    ("GB(5)", "reader argument must be a string"),
    ("GB('KeysReader', '*', 5)", "desc argument must be a string"),
    ("GB().map()", "wrong number of args to map function"),
    ("GB().map(lambda x: x, 2)", "wrong number of args to map function"),
    ("GB().filter()", "wrong number of args to filter function"),
    ("GB().foreach()", "wrong number of args to foreach function"),
    ("GB().flatmap()", "wrong number of args to flatmap function"),
    ("GB().limit()", "wrong number of args to limit function"),
    ("GB().accumulate()", "wrong number of args to accumulate function"),
    ("GB().collect(1)", "wrong number of args to collect function"),
    ("GB().groupby(lambda x: x)", "wrong number of args to groupby function"),
    ("GB().batchgroupby(lambda x: x)", "wrong number of args to batchgroupby function"),
    ("GB().repartition()", "wrong number of args to repartition function"),
    ("GB().map(1)", "map argument must be a function"),
    ("GB().map(len)", "map argument must be a function"),
    ("GB().map(str)", "map argument must be a function"),
    ("GB().map('x'.upper)", "map argument must be a function"),
    ("import functools\nGB().map(functools.partial(lambda x: x))", "map argument must be a function"),
    ("class C:\n  def __call__(self, x): return x\nGB().map(C())", "map argument must be a function"),
    ("GB().filter(None)", "filter argument must be a function"),
    ("GB().foreach(print)", "foreach argument must be a function"),
    ("GB().flatmap(list)", "flatmap argument must be a function"),
    ("GB().accumulate(max)", "accumulate argument must be a function"),
    ("GB().repartition(str)", "repartition argument must be a function"),
    ("GB().groupby(str, lambda k, a, r: 1)", "groupby extractor argument must be a function"),
    ("GB().groupby(lambda x: x, max)", "groupby reducer argument must be a function"),
    ("GB().batchgroupby(str, lambda k, l: 1)", "batchgroupby extractor argument must be a function"),
    ("GB().batchgroupby(lambda x: x, len)", "batchgroupby reducer argument must be a function"),
    ("GB().limit('x')", "limit argument must be a number"),
    ("GB().limit(1, 'x')", "limit argument must be a number"),
    ("GB().run(mode=5)", "execution mode must be a string"),
    ("GB().run(mode='sync')", "unknown execution mode"),
    ("GB().run(mode='else')", "unknown execution mode"),
    ("GB().run()\nGB().run()", "Can not run more then 1 executions in a single script"),
    ("GB('NoReader').run()", "The given reader does not exists"),
    ("GB('CommandReader').run()", "Given reader do not support run or not exists"),
    ("GB().run(5)", "regex argument must be a string"),
    ("GB().run(noScan=1)", "exactMatch value is not boolean"),
    ("GB().run(readValue='yes')", "readValue value is not boolean"),
    ("GB('StreamReader').run('s', fromId=5)", "fromId argument must be a string"),
    ("GB('PythonReader').run()", "pyreader argument must be a function"),
    ("GB('PythonReader').run(5)", "pyreader argument must be a function"),
    ("GB('PythonReader', None).run()", "python reader function is not given"),
    ("execute(5)", "the given command must be a string"),
    ("log()", "log function must get a log message as input"),
    ("configGet()", "get_config function must get a single key input"),
    ("configGet(5)", "get_config key must be a string"),
    ("registerTE(1)", "not enough arguments for time event"),
    ("registerTE(1, 5)", "callback must be a function"),
    ("registerTE('1', lambda: 1)", "time argument must be a long"),
    ("flat_error()", "not enough arguments for time flat error"),
    ("with atomic():\n  with atomic():\n    pass", "Already inside an atomic block"),
    ("call_next()", "Can not get CommandHook ctx"),
    ("get_command()", "Can not get command ctx"),
    ("override_reply(1)", "Can not get command ctx"),
    (IN_A_THREAD_MAKES_A_BUILDER, "Can not create a gearsCtx on a python created thread"),
    (IN_A_THREAD_ASKS_FOR_TIME, "can not create time event on a python created thread"),
    ("gearsFuture()", "Future object can only be created inside certain execution steps"),
];

#[test]
fn raised_in_the_script() {
    for servers in Servers::both() {
        each(RAISED.iter().map(|row| (format!("{}, {}", servers.kind, row.0), row)), |(script, text)| {
            let error = servers.refusal(script);
            assert!(error.starts_with("-['Traceback (most recent call last):\\n', "), "{error}");
            assert!(error.contains(text), "{error}");
            assert!(error.contains("error: "), "{error}");
        });
    }
}

/// They are exceptions of the class `gears.error`, which a script may catch.
#[test]
fn caught_in_the_script() {
    let servers = Servers::single();
    let caught = "
found = []
for f in (lambda: GB().map(1), lambda: execute('NOSUCH'), lambda: GB(5), lambda: configGet()):
    try:
        f()
    except redisgears.GearsError as e:
        found.append(str(e))
";
    assert_eq!(
        servers.value_after(caught, "found"),
        "['map argument must be a function', 'No such file or directory', 'reader argument must be a string', 'get_config function must get a single key input']"
    );
}

/// Steps, and the error that a record becomes there.
const IN_STEPS: &[(&str, &str)] = &[
    (".map(lambda x: gearsFuture().continueRun())", "Continue function expect an object"),
    (".map(lambda x: gearsFuture().continueRun(1))", "Can not handle future untill it returned from the callback"),
    (".map(lambda x: (gearsFuture(), gearsFuture()))", "Can not create async record twice on the same step"),
    (".map(lambda x: gearsFuture())", "Async record did not called continue"),
    (".map(lambda x: call_next())", "Can not get CommandHook ctx"),
    (".map(lambda x: get_command())", "Can not get command ctx"),
    (".map(lambda x: override_reply(1))", "Can not get command ctx"),
    (".repartition(lambda x: gearsFuture())", "Step does not support async"),
    (".groupby(lambda x: gearsFuture(), lambda k, a, r: 1)", "Step does not support async"),
    (".batchgroupby(lambda x: gearsFuture(), lambda k, r: 1)", "Step does not support async"),
    (".batchgroupby(lambda x: x, lambda k, r: gearsFuture())", "Step does not support async"),
    (".map(lambda x: registerTE(1))", "not enough arguments for time event"),
];

#[test]
fn raised_in_steps() {
    for servers in Servers::both() {
        each(IN_STEPS.iter().map(|row| (format!("{}, {}", servers.kind, row.0), row)), |(steps, text)| {
            let answer = servers.run(&records("[1]", steps));
            assert_eq!((answer.results.len(), answer.errors.len()), (0, 1), "{answer:?}");
            assert!(answer.errors[0].contains(text), "{answer:?}");
        });
    }
}

/// A future is continued once; whoever does so again is told.
#[test]
fn raised_where_a_future_is_continued() {
    for servers in Servers::both() {
        let script = "
found = []
def f(x):
    future = gearsFuture()
    def twice():
        future.continueRun(x)
        for again in (lambda: future.continueRun(2), lambda: future.continueFailed('no')):
            try:
                again()
            except redisgears.GearsError as e:
                found.append(str(e))
    threads.append(Thread(target=twice))
    threads[0].start()
    return future
threads = []
def g(x):
    threads[0].join()
    return [x, *found]
";
        let twice = "'Can not continue with the same future twice'";
        let results = servers.ordered(&format!("{script}{}", records("[1]", ".map(f).map(g)")));
        assert_eq!(results, [format!("[1, {twice}, {twice}]")], "{}", servers.kind);
    }
}
