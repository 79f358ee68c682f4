//! Writes the messages of scripts to the server's log.

use crate::module::server::main_thread;

/// Writes a line of a session into the server's log. From any thread.
pub(in crate::module) fn log(level: &str, session: &str, text: &str) {
    let level = match level {
        "debug" => c"debug",
        "verbose" => c"verbose",
        "warning" => c"warning",
        _ => c"notice",
    };
    let of_session = if session.is_empty() { String::new() } else { format!(" [session {session}]") };
    main_thread::log(level, &format!("GEARS: {text}{of_session}"));
}
