//! Several plain servers, and a client over them.

use super::server::{Server, ServerBuilder};
use crate::client::Client;
use crate::engine::Engine;
use crate::topology::StaticList;

/// Plain servers that know nothing of each other, as one data set over them has it: host 0, host 1 and so on. All of
/// them end with the value, also after a panic and when the program is killed.
pub struct Servers {
    servers: Vec<Server>,
}

impl Servers {
    /// Starts so many.
    ///
    /// # Panics
    ///
    /// When one of them does not start; the message contains its log.
    pub fn start(count: usize) -> Self {
        Self::start_with(count, &Server::builder())
    }

    /// Starts so many, all with the same options.
    ///
    /// # Panics
    ///
    /// When one of them does not start; the message contains its log.
    pub fn start_with(count: usize, builder: &ServerBuilder) -> Self {
        // All of them start at once. One whose port was taken meanwhile is started anew, on another.
        let launched: Vec<Server> = (0..count).map(|_| builder.prepare()).collect();
        launched.iter().for_each(Server::launch);
        let ready = |server: Server| match server.await_ready() {
            Ok(()) => server,
            Err(super::StartError::PortTaken) => builder.clone().start(),
            Err(error) => panic!("{error}"),
        };
        Self { servers: launched.into_iter().map(ready).collect() }
    }

    /// Returns the server that is host `id`.
    pub fn host(&self, id: usize) -> &Server {
        &self.servers[id]
    }

    /// Iterates over the servers, in the order of their ids.
    pub fn iter(&self) -> std::slice::Iter<'_, Server> {
        self.servers.iter()
    }

    /// Returns the list of nodes that they are.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub fn list(&self) -> StaticList {
        StaticList::new(self.servers.iter().map(Server::address)).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Makes an engine over them. Must be called within a tokio runtime.
    pub fn engine(&self) -> Engine {
        Engine::builder().provider(self.list()).build()
    }

    /// Makes a client of them. Must be called within a tokio runtime.
    pub fn client(&self) -> Client {
        Client::new(self.engine())
    }
}

impl<'a> IntoIterator for &'a Servers {
    type Item = &'a Server;
    type IntoIter = std::slice::Iter<'a, Server>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
