//! The asynchronous cluster client of the `redis` crate, used as its users do.
//!
//! It knows the slots and sends each key's command to the right node by itself. For many keys it offers two ways: one
//! `GET` a key, all at once over its shared connections, and `MGET`, which it splits by slot. A pipeline must stay
//! within one slot, unless its user groups the keys by node beforehand and names the node: that is a third way.
//!
//! Its handles are meant to be cloned and shared. With thousands of commands in flight at once a shared one becomes
//! slow, so that one for each request in flight is another way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use futures_util::stream::FuturesUnordered;
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{Route, SingleNodeRoutingInfo, SlotAddr};
use redis::io::tcp::TcpSettings;
use redis::{FromRedisValue, Pipeline, RedisResult, Value};
use tokio::runtime::{Builder, Runtime};

use crate::Failure;
use crate::cases::Case;
use crate::common::Cluster;
use crate::data::{Data, key};
use crate::request::{expected, key_numbers};

/// The way in which the crate is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// The commands that are sent.
    pub send: Send,
    /// Says whether all requests in flight share one handle, or each has its own, with connections of its own.
    pub is_shared: bool,
}

/// The commands that are sent through the crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Send {
    /// One `GET` a key, all at once.
    Gets,
    /// One `MGET`, which the crate splits.
    Mget,
    /// One pipeline a node, with the keys grouped by node beforehand.
    Pipelines,
    /// One `DBSIZE`, which the crate sends to all primaries and adds up.
    DbSize,
}

impl Way {
    /// Returns the way as the report names it.
    pub fn name(self) -> String {
        let send = match self.send {
            Send::Gets => ", `GET`s",
            Send::Mget => ", `MGET`",
            Send::Pipelines => ", grouped by hand",
            Send::DbSize => "",
        };
        format!("`redis` crate{send}{}", if self.is_shared { "" } else { ", a handle each" })
    }
}

/// A client with its connections, and the requests of one case.
pub struct CrateClient {
    runtime: Runtime,
    handles: Vec<ClusterConnection>,
    requests: Arc<Vec<Request>>,
    way: Way,
}

struct Request {
    keys: Vec<String>,
    /// For [`Send::Pipelines`]: a route to a node, and what goes there.
    pipelines: Vec<(Route, Pipeline)>,
    expected: i64,
}

impl CrateClient {
    /// Connects. Everything runs on the calling thread, which takes the least time of two cores.
    pub fn connect(cluster: &Cluster, data: &Data, case: Case, way: Way) -> Result<Self, Failure> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let nodes = cluster.primaries().iter().map(|node| format!("redis://{}", node.address()));
        let client = ClusterClientBuilder::new(nodes)
            .response_timeout(Duration::from_secs(30))
            .tcp_settings(TcpSettings::default().set_nodelay(true))
            .build()?;
        let count = if way.is_shared { 1 } else { case.in_flight };
        let handles = (0..count).map(|_| runtime.block_on(client.get_async_connection()));
        let handles = handles.collect::<RedisResult<Vec<_>>>()?;
        let numbers = key_numbers(case.work).into_iter().enumerate();
        let requests = numbers.map(|(seed, numbers)| Request {
            keys: numbers.iter().map(|&number| key(number)).collect(),
            pipelines: if way.send == Send::Pipelines { pipelines(&numbers, data) } else { Vec::new() },
            expected: expected(case.work, seed),
        });
        Ok(Self { runtime, handles, requests: Arc::new(requests.collect()), way })
    }

    /// Returns the way in which the crate is used.
    pub fn way(&self) -> Way {
        self.way
    }

    /// Sends so many requests, round and round, and appends how long each took.
    pub fn run(&mut self, count: usize, in_flight: usize, latencies: &mut Vec<Duration>) -> Result<(), Failure> {
        let next = Arc::new(AtomicUsize::new(0));
        self.runtime.block_on(async {
            let requester = |index: usize| {
                let handle = self.handles[index % self.handles.len()].clone();
                let (requests, next) = (self.requests.clone(), next.clone());
                let send = self.way.send;
                tokio::spawn(async move {
                    let mut latencies = Vec::new();
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        if index >= count {
                            return Ok::<_, Failure>(latencies);
                        }
                        let request = &requests[index % requests.len()];
                        let began = Instant::now();
                        let sum = answer(&handle, request, send).await?;
                        latencies.push(began.elapsed());
                        if sum != request.expected {
                            return Err(format!("a wrong answer: {sum} where {} is right", request.expected).into());
                        }
                    }
                })
            };
            let requesters: Vec<_> = (0..in_flight).map(requester).collect();
            for requester in requesters {
                latencies.extend(requester.await??);
            }
            Ok(())
        })
    }
}

/// Groups keys by node; the route to a node is that of any of its keys.
fn pipelines(numbers: &[usize], data: &Data) -> Vec<(Route, Pipeline)> {
    let mut by_node: Vec<(usize, Route, Pipeline)> = Vec::new();
    for &number in numbers {
        let (owner, key) = (data.owner(number), key(number));
        let index = by_node.iter().position(|(node, ..)| *node == owner).unwrap_or_else(|| {
            by_node.push((owner, Route::with_key(&key, SlotAddr::Master), Pipeline::new()));
            by_node.len() - 1
        });
        by_node[index].2.get(&key);
    }
    by_node.into_iter().map(|(_, route, pipeline)| (route, pipeline)).collect()
}

/// Sends one request, and adds up what comes back.
async fn answer(handle: &ClusterConnection, request: &Request, send: Send) -> RedisResult<i64> {
    match send {
        Send::Gets => {
            let gets = request.keys.iter().map(|key| {
                let mut connection = handle.clone();
                async move { redis::cmd("GET").arg(key).query_async::<i64>(&mut connection).await }
            });
            let gets: FuturesUnordered<_> = gets.collect();
            gets.try_fold(0, |sum, value| async move { Ok(sum + value) }).await
        }
        Send::Mget => {
            let mut connection = handle.clone();
            let values: Vec<i64> = redis::cmd("MGET").arg(&request.keys).query_async(&mut connection).await?;
            Ok(values.iter().sum())
        }
        Send::Pipelines => {
            let pipelines = request.pipelines.iter().map(|(route, pipeline)| {
                let mut connection = handle.clone();
                let (count, route) = (pipeline.len(), SingleNodeRoutingInfo::SpecificNode(*route));
                async move { connection.route_pipeline(pipeline.clone(), 0, count, route).await }
            });
            let pipelines: FuturesUnordered<_> = pipelines.collect();
            pipelines.try_fold(0, |sum, values| async move { Ok(sum + sum_of(&values)?) }).await
        }
        Send::DbSize => redis::cmd("DBSIZE").query_async(&mut handle.clone()).await,
    }
}

fn sum_of(values: &[Value]) -> RedisResult<i64> {
    let mut sum = 0;
    for value in values {
        sum += i64::from_redis_value_ref(value)?;
    }
    Ok(sum)
}
