//! A client that is another proxy of the same placement: it forwards steps whose order is decided here. They are taken one after
//! the other, and many are under way at once.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::client_connection::ClientConnection;
use crate::command::Command;
use crate::peer::Forwarded;
use crate::reply::Reply;
use crate::resp::Protocol;

/// The most steps that are under way for one proxy.
const MOST_UNDER_WAY: usize = 4096;

impl<S: AsyncRead + AsyncWrite + Unpin + Send> ClientConnection<S> {
    /// Takes steps of another proxy until it goes, if it knows the secret; else refuses it.
    pub(super) async fn serve_peer(&mut self, command: &Command) {
        let secret = command.args().next().unwrap_or_default();
        match self.state.options.forwarded.clone().filter(|forwarded| forwarded.is_peer(secret)) {
            Some(forwarded) => {
                self.trust(true);
                self.protocol = Protocol::Resp3;
                self.push(&Reply::OK);
                self.take_steps(&*forwarded).await;
            }
            None => self.refuse("NOPERM RMR.FORWARD is for the other proxies of a placement"),
        }
    }

    async fn take_steps(&mut self, forwarded: &dyn Forwarded) {
        /// The time for which a step may be on its way when the proxy is about to end.
        const ON_ITS_WAY: Duration = Duration::from_millis(100);
        let mut under_way = FuturesOrdered::new();
        let mut end = self.state.end_peers.subscribe();
        loop {
            while under_way.len() < MOST_UNDER_WAY {
                match self.requests.next() {
                    Ok(Some(step)) => under_way.push_back(forwarded.take(step).await.0),
                    Ok(None) => break,
                    Err(_) => return,
                }
            }
            while let Some(reply) = futures_util::FutureExt::now_or_never(under_way.next()).flatten() {
                self.push(&reply);
            }
            if self.write().await.is_err() {
                return;
            }
            let has_room = under_way.len() < MOST_UNDER_WAY;
            let is_over = async {
                let _ = end.wait_for(|&is_over| is_over).await;
                tokio::time::sleep(ON_ITS_WAY).await;
            };
            tokio::select! {
                // Steps that have come are taken before the connection ends.
                biased;
                () = self.entry.killed() => return,
                Some(reply) = under_way.next() => self.push(&reply),
                read = self.stream.read_buf(self.requests.buffer()), if has_room => match read {
                    Ok(0) | Err(_) => return,
                    Ok(bytes) => {
                        self.requests.has_read(bytes);
                        self.state.counters.received(bytes);
                    }
                },
                () = is_over, if under_way.is_empty() => return,
            }
        }
    }
}
