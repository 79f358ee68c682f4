//! The crate's log lines, in the server's log.

use std::sync::Once;

use log::{Level, LevelFilter, Log, Metadata, Record};

use super::main_thread;

struct ServerLog;

impl Log for ServerLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("rmr") && metadata.level() <= Level::Info
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = match record.level() {
            Level::Error | Level::Warn => c"warning",
            _ => c"notice",
        };
        main_thread::log(level, &record.args().to_string());
    }

    fn flush(&self) {}
}

/// Takes the log lines of this library. An author's module that has a logger of its own keeps it.
pub(crate) fn install() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        if log::set_logger(&ServerLog).is_ok() {
            log::set_max_level(LevelFilter::Info);
        }
    });
}
