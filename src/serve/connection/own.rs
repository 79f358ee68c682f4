//! Commands that are about the connection between a client and the proxy.

use std::ops::ControlFlow;

use tokio::io::{AsyncRead, AsyncWrite};

use super::client_connection::{ClientConnection, Over};
use crate::command::{Command, printable};
use crate::reply::Reply;
use crate::serve::known::OwnCommand;
use crate::serve::pubsub::TopicKind;

impl<S: AsyncRead + AsyncWrite + Unpin + Send> ClientConnection<S> {
    /// Runs a command of the proxy's own.
    pub(super) async fn run_own(&mut self, own: OwnCommand, command: Command) -> ControlFlow<Over> {
        if self.transaction.is_some() && !is_for_transactions(own) {
            let name = printable(&command.name().to_ascii_uppercase());
            self.refuse(&format!("ERR {name} is not served within MULTI by rmr-proxy"));
            return ControlFlow::Continue(());
        }
        match own {
            OwnCommand::Auth => self.auth(&command).await,
            OwnCommand::Hello => self.hello(&command).await,
            OwnCommand::Reset => self.reset().await,
            OwnCommand::Quit => {
                self.push(&Reply::OK);
                return ControlFlow::Break(Over);
            }
            OwnCommand::Ping | OwnCommand::Echo if self.transaction.is_some() => self.queue_keyless(command),
            OwnCommand::Ping => self.ping(&command),
            OwnCommand::Echo => self.push(&bulk(command.args().next())),
            OwnCommand::Place => self.place(&command).await,
            OwnCommand::Reads => self.set_reads(&command),
            OwnCommand::Select => self.select(&command),
            OwnCommand::Client => self.client(&command).await,
            OwnCommand::Info => self.info(&command).await,
            OwnCommand::Cluster => self.refuse("ERR This instance has cluster support disabled"),
            OwnCommand::Multi => self.multi(),
            OwnCommand::Exec => self.exec().await,
            OwnCommand::Discard => self.discard(),
            OwnCommand::Watch => self.watch(&command).await,
            OwnCommand::Unwatch => self.unwatch(),
            OwnCommand::Forward => {
                self.serve_peer(&command).await;
                return ControlFlow::Break(Over);
            }
            OwnCommand::Wait if command.name().eq_ignore_ascii_case(b"WAIT") => {
                return self.wait_for_replicas(&command).await;
            }
            OwnCommand::Wait => self.refuse(
                "ERR WAITAOF counts the writes of its own connection to a node, and those through rmr-proxy share connections; \
                 send it to a node, or use WAIT",
            ),
            OwnCommand::Monitor | OwnCommand::Replication => {
                let name = printable(&command.name().to_ascii_uppercase());
                self.refuse(&format!("ERR {name} is about one server, and rmr-proxy is none; send it to a node"));
            }
            OwnCommand::Subscribe => self.subscribe(TopicKind::Channel, &command).await,
            OwnCommand::Psubscribe => self.subscribe(TopicKind::Pattern, &command).await,
            OwnCommand::Ssubscribe => self.subscribe(TopicKind::Shard, &command).await,
            OwnCommand::Unsubscribe => self.unsubscribe(TopicKind::Channel, &command),
            OwnCommand::Punsubscribe => self.unsubscribe(TopicKind::Pattern, &command),
            OwnCommand::Sunsubscribe => self.unsubscribe(TopicKind::Shard, &command),
        }
        ControlFlow::Continue(())
    }

    fn ping(&mut self, command: &Command) {
        match command.word_count() {
            1 | 2 if self.only_listens() => {
                self.push(&Reply::Array(vec!["pong".into(), bulk(command.args().next())]));
            }
            1 => self.push(&Reply::Simple("PONG".into())),
            2 => self.push(&bulk(command.args().next())),
            _ => self.refuse("ERR wrong number of arguments for 'ping' command"),
        }
    }

    fn select(&mut self, command: &Command) {
        let index = command.args().next().and_then(|index| std::str::from_utf8(index).ok()?.parse::<i64>().ok());
        match index {
            Some(0) => self.push(&Reply::OK),
            Some(_) => self.refuse("ERR DB index is out of range"),
            None => self.refuse("ERR invalid DB index"),
        }
    }

    async fn info(&mut self, command: &Command) {
        let sections: Vec<String> =
            command.args().map(|section| String::from_utf8_lossy(section).to_ascii_lowercase()).collect();
        let info = self.state.info(&self.user, &sections).await;
        self.answer(info.map(|text| match self.protocol {
            crate::resp::Protocol::Resp2 => Reply::Bulk(text.into()),
            crate::resp::Protocol::Resp3 => Reply::Verbatim { format: *b"txt", text: text.into() },
        }));
    }
}

/// Tells whether a command means something within a transaction.
fn is_for_transactions(own: OwnCommand) -> bool {
    use OwnCommand::{Discard, Echo, Exec, Multi, Ping, Quit, Reset, Watch};
    matches!(own, Discard | Echo | Exec | Multi | Ping | Quit | Reset | Watch)
}

fn bulk(text: Option<&[u8]>) -> Reply {
    Reply::Bulk(text.unwrap_or_default().to_vec().into())
}
