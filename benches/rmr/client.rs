//! The minimal client: as little work as a client can do.
//!
//! It serves both contenders that are compared most closely, the module and the work by hand, so that they differ only
//! in what is sent where. One request in flight: blocking writes and reads, nothing else. Many: one thread, which waits
//! for all sockets at once, takes what has come, and sends what is next in one write a socket.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::common::Cluster;
use crate::poll::Poll;
use crate::request::{Part, Request};
use crate::wire::{Progress, Wire};

/// The way in which requests share connections.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    /// One connection a node, shared by all requests in flight: their commands follow each other down the pipe.
    OneANode,
    /// One connection a request in flight: a server answers a connection's commands one after the other.
    OneARequest,
}

/// A client with its connections.
pub struct Client {
    connections: Vec<Wire>,
    sharing: Sharing,
    poll: Poll,
}

impl Client {
    /// One connection to each primary.
    pub fn to_all_nodes(cluster: &Cluster) -> Result<Self, Failure> {
        Self::connect(cluster.primaries().iter().map(|node| node.port()), Sharing::OneANode)
    }

    /// Opens as many connections to one node as requests are in flight.
    pub fn to_one_node(port: u16, in_flight: usize) -> Result<Self, Failure> {
        Self::connect((0..in_flight).map(|_| port), Sharing::OneARequest)
    }

    fn connect(ports: impl Iterator<Item = u16>, sharing: Sharing) -> Result<Self, Failure> {
        let connections = ports.map(Wire::connect).collect::<Result<Vec<_>, _>>()?;
        let poll = Poll::new()?;
        for (index, connection) in connections.iter().enumerate() {
            poll.add(connection.fd(), index)?;
        }
        Ok(Self { connections, sharing, poll })
    }

    /// Sends so many requests, round and round, and appends how long each took.
    pub fn run(
        &mut self,
        requests: &[Request],
        count: usize,
        in_flight: usize,
        latencies: &mut Vec<Duration>,
    ) -> Result<(), Failure> {
        let requests = requests.iter().cycle().take(count);
        if in_flight == 1 {
            self.run_one_by_one(requests, latencies)
        } else {
            self.run_together(requests, in_flight, latencies)
        }
    }

    fn run_one_by_one<'r>(
        &mut self,
        requests: impl Iterator<Item = &'r Request>,
        latencies: &mut Vec<Duration>,
    ) -> Result<(), Failure> {
        for request in requests {
            let began = Instant::now();
            for part in &request.parts {
                self.connections[part.node].send(&part.wire)?;
            }
            let mut sum = 0;
            for part in &request.parts {
                let mut progress = Progress { left: part.replies, sum: 0 };
                while progress.left > 0 {
                    self.connections[part.node].receive()?;
                    self.connections[part.node].parse(&mut progress)?;
                }
                sum += progress.sum;
            }
            latencies.push(began.elapsed());
            check(request, sum)?;
        }
        Ok(())
    }

    fn run_together<'r>(
        &mut self,
        mut requests: impl Iterator<Item = &'r Request>,
        in_flight: usize,
        latencies: &mut Vec<Duration>,
    ) -> Result<(), Failure> {
        let mut flights = Vec::with_capacity(in_flight);
        let mut awaited: Vec<VecDeque<Awaited>> = self.connections.iter().map(|_| VecDeque::new()).collect();
        for (slot, request) in requests.by_ref().take(in_flight).enumerate() {
            flights.push(Flight::begin(request));
            self.queue(slot, request, &mut awaited);
        }
        self.flush()?;
        let mut under_way = flights.len();
        while under_way > 0 {
            for index in self.poll.wait()? {
                let connection = &mut self.connections[index];
                connection.receive()?;
                while let Some(first) = awaited[index].front_mut() {
                    connection.parse(&mut first.progress)?;
                    if first.progress.left > 0 {
                        break;
                    }
                    let flight = &mut flights[first.slot];
                    flight.sum += first.progress.sum;
                    flight.parts_left -= 1;
                    awaited[index].pop_front();
                }
            }
            for (slot, flight) in flights.iter_mut().enumerate() {
                if !flight.has_ended() {
                    continue;
                }
                latencies.push(flight.began.elapsed());
                check(flight.request, flight.sum)?;
                match requests.next() {
                    Some(request) => {
                        *flight = Flight::begin(request);
                        self.queue(slot, request, &mut awaited);
                    }
                    None => {
                        flight.is_counted = true;
                        under_way -= 1;
                    }
                }
            }
            self.flush()?;
        }
        Ok(())
    }

    fn queue(&mut self, slot: usize, request: &Request, awaited: &mut [VecDeque<Awaited>]) {
        for Part { node, wire, replies } in &request.parts {
            let connection = if self.sharing == Sharing::OneANode { *node } else { slot };
            self.connections[connection].queue(wire);
            awaited[connection].push_back(Awaited { slot, progress: Progress { left: *replies, sum: 0 } });
        }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.connections.iter_mut().try_for_each(Wire::flush)
    }
}

/// A request under way.
struct Flight<'r> {
    request: &'r Request,
    began: Instant,
    parts_left: usize,
    sum: i64,
    /// Tells that the end has been seen to, with nothing to follow it.
    is_counted: bool,
}

impl<'r> Flight<'r> {
    fn begin(request: &'r Request) -> Self {
        Self { request, began: Instant::now(), parts_left: request.parts.len(), sum: 0, is_counted: false }
    }

    fn has_ended(&self) -> bool {
        self.parts_left == 0 && !self.is_counted
    }
}

/// The replies that one request in flight waits for on one connection.
struct Awaited {
    slot: usize,
    progress: Progress,
}

/// Returns whether the answer is right.
fn check(request: &Request, sum: i64) -> Result<(), Failure> {
    if sum == request.expected {
        Ok(())
    } else {
        Err(format!("a wrong answer: {sum} where {} is right", request.expected).into())
    }
}
