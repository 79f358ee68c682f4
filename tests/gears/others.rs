//! Tests the questions of administrators about Python: memory, sessions, requirements, profiles.

use crate::common::{elements, show};
use crate::servers::{Servers, WAITS, call};
use crate::table::each;

/// Requests, each with the reply.
const EXACT: &[(&[&str], &str)] = &[
    (&["RG.PYDUMPREQS"], "[]"),
    (&["RG.PYEXPORTREQ", "nothing"], "-requirement does not exists"),
    (&["RG.PYDUMPSESSIONS", "SESSIONS", "nobody"], "[\"Session nobody does not exists\"]"),
    (
        &["RG.PYDUMPSESSIONS", "verbose", "sessions", "a", "b"],
        "[\"Session a does not exists\", \"Session b does not exists\"]",
    ),
    (&["RG.PYDUMPSESSIONS", "FOO"], "-Unknown option FOO"),
    (&["RG.PYPROFILE", "STATS", "nobody"], "-session does not exists"),
    (&["RG.PYPROFILE", "RESET", "nobody"], "-session does not exists"),
    (&["RG.PYPROFILE", "FOO", "nobody"], "-Wrong subcommand given to RG.PYPROFILE"),
    (&["RG.PYEXECUTEREMOTE", "a", "b"], "-Execute remote is not longer supported"),
    (&["RG.PYFREEINTERPRETER"], "-Free interpreter is not longer supported"),
    (&["RG.NETWORKTEST"], "+OK"),
    (&["RG.REFRESHCLUSTER"], "+OK"),
];

#[test]
fn exact_replies() {
    for servers in Servers::both() {
        each(EXACT.iter().map(|row| (row.0.join(" "), row)), |(words, expected)| {
            assert_eq!(servers.reply(words), *expected, "{}", servers.kind);
        });
    }
}

#[test]
fn plugins() {
    let servers = Servers::single();
    let reply = call(servers.first(), &["RG.DUMPPLUGINS"]);
    for plugin in elements(&reply) {
        assert_eq!(elements(plugin).len(), 2, "{}", show(&reply));
    }
}

#[test]
fn sessions() {
    for servers in Servers::both() {
        let kind = servers.kind;
        let id = servers.reply(&["RG.PYEXECUTE", WAITS, "UNBLOCKING", "ID", "mine", "DESCRIPTION", "what it is"]);
        let id = id.trim_matches('"');
        for words in
            [&["RG.PYDUMPSESSIONS"][..], &["RG.PYDUMPSESSIONS", "VERBOSE"], &["RG.PYDUMPSESSIONS", "SESSIONS", "mine"]]
        {
            let reply = call(servers.first(), words);
            let shown = show(&reply);
            let entries = elements(&reply);
            assert_eq!(entries.len(), 1, "{kind}: {shown}");
            let names: Vec<String> = elements(entries[0]).into_iter().step_by(2).map(show).collect();
            let expected = [
                "\"ID\"",
                "\"sessionDescription\"",
                "\"refCount\"",
                "\"linked\"",
                "\"dead\"",
                "\"requirementInstallationNeeded\"",
                "\"requirements\"",
                "\"registrations\"",
            ];
            assert_eq!(names, expected, "{kind}");
            assert!(shown.contains("\"ID\", \"mine\", \"sessionDescription\", \"what it is\""), "{kind}: {shown}");
            assert!(shown.ends_with("\"requirements\", [], \"registrations\", []]]"), "{kind}: {shown}");
        }
        servers.go();
        assert_eq!(servers.reply(&["RG.GETRESULTSBLOCKING", id]), "[[\"1\"], []]", "{kind}");
    }
}

#[test]
fn numbers_of_arguments() {
    let servers = Servers::single();
    for words in [
        &["RG.PYSTATS", "more"][..],
        &["RG.PYEXPORTREQ"],
        &["RG.PYPROFILE"],
        &["RG.CONFIGGET"],
        &["RG.CONFIGSET"],
        &["RG.INFOCLUSTER", "more"],
    ] {
        let reply = servers.reply(words).to_lowercase();
        assert!(reply.starts_with("-err wrong number of arguments"), "{words:?}: {reply}");
    }
}
