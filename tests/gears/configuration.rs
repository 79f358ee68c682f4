//! `RG.CONFIGGET`, `RG.CONFIGSET` and the arguments that RedisGears takes when it is loaded.

use crate::common::functions_python;
use crate::servers::{Servers, server};
use crate::table::each;

/// The settings, their defaults, and whether they change at run time.
const SETTINGS: &[(&str, &str, bool)] = &[
    ("MaxExecutions", "1000", true),
    ("MaxExecutionsPerRegistration", "100", true),
    ("ProfileExecutions", "0", true),
    ("ExecutionThreads", "3", false),
    ("ExecutionMaxIdleTime", "5000", true),
    ("SendMsgRetries", "3", true),
    ("PythonAttemptTraceback", "1", true),
    ("PythonInstallReqMaxIdleTime", "30000", true),
    ("CreateVenv", "0", false),
    ("DownloadDeps", "0", false),
];

#[test]
fn defaults_and_changes() {
    for servers in Servers::both() {
        each(SETTINGS.iter().map(|row| (row.0, row)), |(name, default, changes)| {
            assert_eq!(servers.reply(&["RG.CONFIGGET", name]), format!("[{default}]"));
            // Some are switches.
            let is_switch = ["0", "1"].contains(default) && *changes;
            let [first, second] = if is_switch { ["1", "0"] } else { ["7", "8"] };
            let set = servers.reply(&["RG.CONFIGSET", name, first]);
            if *changes {
                assert_eq!(set, "[+OK]");
                assert_eq!(servers.reply(&["RG.CONFIGGET", name]), format!("[{first}]"));
                // Names of settings are taken in any case, and numbers only.
                assert_eq!(servers.reply(&["RG.CONFIGSET", &name.to_lowercase(), second]), "[+OK]");
                let error = servers.reply(&["RG.CONFIGSET", name, "many"]);
                assert!(error.starts_with("[\"(error) Failed setting config value "), "{error}");
                assert_eq!(servers.reply(&["RG.CONFIGGET", name]), format!("[{second}]"));
                // On this shard only.
                for other in &servers.nodes()[1..] {
                    assert_eq!(other.reply(&format!("RG.CONFIGGET {name}")), format!("[{default}]"));
                }
            } else {
                assert!(
                    set == format!("[\"(error) Config value {name} not modifiable at runtime\"]")
                        || set == format!("[\"(error) {name} is not configurable at runtime\"]"),
                    "{set}"
                );
                assert_eq!(servers.reply(&["RG.CONFIGGET", name]), format!("[{default}]"));
            }
        });
    }
}

#[test]
fn several_at_once() {
    let servers = Servers::single();
    assert_eq!(
        servers.reply(&["RG.CONFIGGET", "MaxExecutions", "nope", "SendMsgRetries", "maxexecutions"]),
        "[1000, \"(error) Unsupported config parameter: nope\", 3, \"(error) Unsupported config parameter: maxexecutions\"]"
    );
    assert_eq!(
        servers.reply(&["RG.CONFIGSET", "MaxExecutions", "5", "own", "value", "SendMsgRetries"]),
        "[+OK, +OK - value was saved in extra config dictionary, \"(error) Value was not given to SendMsgRetries\"]"
    );
    assert_eq!(servers.reply(&["RG.CONFIGGET", "MaxExecutions"]), "[5]");
    assert_eq!(
        servers.value("(configGet('own'), configGet('none'), gearsConfigGet('none', 3), configGet('MaxExecutions'))"),
        "('value', None, 3, None)"
    );
    assert_eq!(
        servers.value("(ConfigGet('own'), GearsConfigGet('own'), redisgears.config_get('own'))"),
        "('value', 'value', 'value')"
    );
}

#[test]
fn arguments_when_it_is_loaded() {
    let arguments = ["MaxExecutions", "10", "createvenv", "1", "PythonAttemptTraceback", "0", "MyValue", "7"];
    let python = functions_python();
    let servers = Servers::of(server().module_args(arguments).start());
    assert_eq!(servers.reply(&["RG.CONFIGGET", "MaxExecutions", "CreateVenv"]), "[10, 1]");
    assert_eq!(servers.first().reply("CONFIG GET rmr.python"), format!("[\"rmr.python\", \"{python}\"]"));
    assert_eq!(servers.value("(configGet('MyValue'), configGet('myvalue'))"), "('7', None)");
    let answer = servers.run(&one_failing());
    assert_eq!(answer.errors, ["Error type: <class 'ZeroDivisionError'>, Value: division by zero"]);
}

#[test]
fn plugins_are_accepted_and_ignored() {
    let arguments = ["Plugin", "/nowhere/gears_python.so", "Plugin", "/nowhere/else.so", "DependenciesUrl", "none"];
    let servers = Servers::of(server().module_args(arguments).start());
    assert_eq!(servers.reply(&["RG.PYEXECUTE", "GB('ShardsIDReader').run()"]), "[[\"1\"], []]");
    assert!(servers.reply(&["RG.CONFIGGET", "Plugin"]).starts_with("[["), "a list");
}

fn one_failing() -> String {
    crate::servers::one_record(".map(lambda x: 1/0)")
}

#[test]
fn whether_errors_have_a_traceback() {
    let servers = Servers::single();
    let with = servers.run(&one_failing());
    assert!(with.errors[0].starts_with("['Traceback (most recent call last):\\n', "), "{with:?}");
    assert_eq!(servers.reply(&["RG.CONFIGSET", "PythonAttemptTraceback", "0"]), "[+OK]");
    let without = servers.run(&one_failing());
    assert_eq!(without.errors, ["Error type: <class 'ZeroDivisionError'>, Value: division by zero"]);
}
