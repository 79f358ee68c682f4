//! The servers of the feature `testing`: they come up together, and nothing is left of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rmr::Command;
use rmr::testing::{Server, Servers, StartError, eventually};

/// Returns the processes and the directories of servers.
fn traces(servers: &Servers) -> Vec<(u32, PathBuf)> {
    servers.iter().map(|server| (server.pid(), server.dir().to_owned())).collect()
}

fn runs(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn nothing_is_left_of_servers_that_are_dropped() {
    let servers = Servers::start(3);
    let traces = traces(&servers);
    assert!(traces.iter().all(|(pid, dir)| runs(*pid) && dir.exists()));
    drop(servers);
    assert!(!traces.iter().any(|(pid, dir)| runs(*pid) || dir.exists()));
}

#[test]
fn nothing_is_left_of_servers_after_a_panic() {
    let (tell, told) = std::sync::mpsc::channel();
    let test = std::thread::spawn(move || {
        let servers = Servers::start(2);
        // One that is stopped does not hear a polite request.
        servers.host(1).stop_signal();
        tell.send(traces(&servers)).expect("somebody listens");
        panic!("as a test that fails");
    });
    let traces = told.recv().expect("the servers have started");
    assert!(test.join().is_err());
    eventually(Duration::from_secs(5), "all of it is gone", || {
        !traces.iter().any(|(pid, dir)| runs(*pid) || dir.exists())
    });
}

#[test]
fn a_server_has_the_options_that_it_was_given() {
    let builder = Server::builder().config("requirepass", "secret").config("databases", "3");
    let servers = Servers::start_with(2, &builder);
    for server in &servers {
        let databases = server.call(Command::new("CONFIG").arg("GET").arg("databases")).expect("a password was said");
        assert_eq!(databases.field("databases").and_then(|number| number.integer()), Some(3));
    }
    let error = servers.host(0).call(Command::new("NOSUCH")).expect_err("no such command");
    assert!(error.to_string().contains("unknown command"), "{error}");
}

#[test]
fn a_server_that_cannot_start_says_why() {
    match Server::builder().config("no-such-option", "yes").try_start() {
        Err(StartError::Exited(log)) => assert!(log.contains("no-such-option"), "{log}"),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it has started"),
    }
}
