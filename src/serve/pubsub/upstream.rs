//! A connection to a node over which messages come.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::topic::NodeSaid;
use crate::command::Command;
use crate::engine::Engine;
use crate::link::Protocol;
use crate::resp::{Scanner, decode};
use crate::topology::Node;

/// The most that one message may take, in bytes.
const LONGEST: usize = 1 << 30;

/// News of a connection.
pub(super) enum Heard {
    Said(NodeSaid),
    /// The connection is over, for this reason.
    Lost(String),
}

/// A connection to a node, dropped when nothing is to be heard from it any more.
pub(super) struct Upstream {
    commands: mpsc::UnboundedSender<Command>,
}

impl Upstream {
    /// Connects to a node as the user of this engine. Messages are passed on with this number.
    pub(super) fn open(
        engine: &Engine,
        node: Arc<Node>,
        number: u64,
        tell: mpsc::UnboundedSender<(u64, Heard)>,
    ) -> Self {
        let (commands, asked) = mpsc::unbounded_channel();
        let engine = engine.clone();
        tokio::spawn(async move {
            let why = match talk(&engine, &node, number, asked, &tell).await {
                Ok(()) => return,
                Err(why) => why,
            };
            let _ = tell.send((number, Heard::Lost(format!("{node}: {why}"))));
        });
        Self { commands }
    }

    /// Sends a command; what comes of it is told.
    pub(super) fn send(&self, command: Command) {
        // A connection that is over has been told of.
        let _ = self.commands.send(command);
    }
}

/// Talks until nobody listens any more.
async fn talk(
    engine: &Engine,
    node: &Arc<Node>,
    number: u64,
    mut asked: mpsc::UnboundedReceiver<Command>,
    tell: &mpsc::UnboundedSender<(u64, Heard)>,
) -> Result<(), String> {
    let request = engine.request().protocol(Protocol::Resp2).begin();
    let session = request.session(node).await.map_err(|error| error.to_string())?;
    let stream = session.into_stream().ok_or("the connection is over")?;
    let (mut from_node, mut to_node) = tokio::io::split(stream);
    let (mut input, mut scanner) = (BytesMut::with_capacity(4096), Scanner::default());
    loop {
        tokio::select! {
            command = asked.recv() => {
                let Some(command) = command else { return Ok(()) };
                let mut wire = Vec::new();
                command.write_to(&mut wire);
                while let Ok(command) = asked.try_recv() {
                    command.write_to(&mut wire);
                }
                to_node.write_all(&wire).await.map_err(|error| error.to_string())?;
                to_node.flush().await.map_err(|error| error.to_string())?;
            }
            read = from_node.read_buf(&mut input) => {
                if read.map_err(|error| error.to_string())? == 0 {
                    return Err("the node closed the connection".into());
                }
                while scanner.scan(&input).map_err(|error| error.to_string())? {
                    let bytes = input.split_to(scanner.forget()).freeze();
                    let reply = decode(&bytes, &mut 0).map_err(|error| error.to_string())?;
                    scanner.next_reply();
                    if tell.send((number, Heard::Said(NodeSaid::of(reply)))).is_err() {
                        return Ok(());
                    }
                }
                if input.len() > LONGEST {
                    return Err(format!("a message is longer than {LONGEST} bytes"));
                }
            }
        }
    }
}
