//! A server that loads its data for as long as a test wants.

use std::time::Duration;

use super::server::Server;
use super::wire::Wire;
use rmr::testing::eventually;

/// The longest that a server may take to begin to load.
const LIMIT: Duration = Duration::from_secs(20);

/// A server that reads its data again, until it is told to hurry.
pub struct Loading {
    waits: Wire,
}

impl Loading {
    /// Begins. Many keys in another database keep the server busy; the server has to allow changes of protected settings.
    pub fn begin(server: &Server) -> Self {
        let (mut wire, mut waits) = (server.wire(), server.wire());
        let mut run = |line: &str| assert_eq!(waits.reply(line), "+OK", "{line}");
        run("CONFIG SET loading-process-events-interval-bytes 1024 key-load-delay 1000");
        run("SELECT 1");
        run("DEBUG POPULATE 8000 filler 100");
        waits.send(&["DEBUG", "RELOAD"]);
        eventually(LIMIT, "the server loads", || wire.reply("INFO persistence").contains("loading:1"));
        Self { waits }
    }

    /// Ends it, by way of a connection to the server.
    pub fn end(mut self, wire: &mut Wire) {
        assert_eq!(wire.reply("CONFIG SET key-load-delay 0"), "+OK");
        assert_eq!(self.waits.read_frame(), b"+OK\r\n", "the data is read");
        assert_eq!(self.waits.reply("FLUSHDB"), "+OK");
    }
}
