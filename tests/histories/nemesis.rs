//! What is done to the servers meanwhile: by chance, and the same for the same seed.

use std::fmt;
use std::time::{Duration, Instant};

use crate::common::{Fault, Random, poll};
use crate::world::World;

/// What one fault strikes.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    Node(usize),
    Proxy(usize),
    Config,
}

/// Something that goes wrong, and after a while is right again.
#[derive(Clone, Copy, Debug)]
pub enum Trouble {
    /// The process stands still for so many milliseconds.
    Stop(Target, u64),
    /// The process is killed, and started anew.
    Kill(Target),
    /// All connections to a node are closed by it, with `CLIENT KILL`.
    Disconnect(usize),
    /// All connections to a node are cut on the way.
    Cut(usize),
    /// A node or, for a proxy, the configuration node, gets no requests for so many milliseconds, and all connections stay open.
    Swallow(Target, u64),
    /// Replies of a node come 80 ms late, for so many milliseconds.
    Delay(usize, u64),
    /// Connections are cut at a request, which arrives nowhere, for so many milliseconds.
    CutRequests(usize, u64),
    /// Requests are carried out, and connections cut before the reply, for so many milliseconds.
    CutReplies(usize, u64),
    /// New connections are refused, and the open ones cut, for so many milliseconds.
    Refuse(Target, u64),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Which kinds of trouble a store of some shape is said to survive.
pub type Kinds = fn(&World, &mut Random) -> Trouble;

/// What is survived with one copy of each key: whatever leaves data nodes their memory.
pub fn with_one_copy(world: &World, random: &mut Random) -> Trouble {
    let node = random.below(world.nodes.len());
    let proxy = random.below(world.proxies.len());
    let time = random.pick(&[100, 300, 1500, 2500]);
    let anyone = random.pick(&[Target::Node(node), Target::Proxy(proxy), Target::Config]);
    match random.below(10) {
        0 | 1 => Trouble::Stop(anyone, time),
        2 => Trouble::Kill(Target::Config),
        3 => Trouble::Disconnect(node),
        4 => Trouble::Cut(node),
        5 => Trouble::Swallow(random.pick(&[Target::Node(node), Target::Proxy(proxy)]), time),
        6 => Trouble::Delay(node, time),
        7 => Trouble::CutRequests(node, time),
        8 => Trouble::CutReplies(node, time),
        _ => Trouble::Refuse(random.pick(&[Target::Node(node), Target::Proxy(proxy)]), time),
    }
}

/// Does one thing after the other, with a pause between, until the time is over or a client has seen what must not be.
pub fn haunt(world: &World, random: &mut Random, kinds: Kinds, time: Duration) {
    let began = Instant::now();
    let is_over = || began.elapsed() > time || !world.clients.faults().is_empty();
    while !is_over() {
        let trouble = kinds(world, random);
        println!("{:8.3} s: {trouble}", began.elapsed().as_secs_f64());
        strike(world, trouble);
        wait(50 + random.below(400) as u64);
    }
}

/// Waits for as long as a fault is to last.
fn wait(milliseconds: u64) {
    poll(Duration::from_millis(milliseconds), || None::<()>);
}

fn strike(world: &World, trouble: Trouble) {
    match trouble {
        Trouble::Stop(target, time) => {
            signal(world, target, true);
            wait(time);
            signal(world, target, false);
        }
        Trouble::Kill(Target::Proxy(number)) => world.restart_proxy(number),
        Trouble::Kill(Target::Config) => world.config.restart(),
        Trouble::Kill(Target::Node(number)) => world.nodes[number].server.restart(),
        // A node that has no clients at all says so by an error.
        Trouble::Disconnect(number) => {
            let _ = world.nodes[number].server.try_run::<u64>(&["CLIENT", "KILL", "TYPE", "normal"]);
        }
        Trouble::Cut(number) => world.nodes[number].relay.cut_all(),
        Trouble::Swallow(target, time) => relayed(world, target, Fault::HalfOpen, time),
        Trouble::Delay(number, time) => {
            relayed(world, Target::Node(number), Fault::Delay(Duration::from_millis(80)), time);
        }
        Trouble::CutRequests(number, time) => relayed(world, Target::Node(number), Fault::CutRequest, time),
        Trouble::CutReplies(number, time) => relayed(world, Target::Node(number), Fault::CutReply, time),
        Trouble::Refuse(target, time) => relayed(world, target, Fault::Refuse, time),
    }
}

fn signal(world: &World, target: Target, stop: bool) {
    match target {
        Target::Node(number) if stop => world.nodes[number].server.stop_signal(),
        Target::Node(number) => world.nodes[number].server.cont_signal(),
        Target::Config if stop => world.config.stop_signal(),
        Target::Config => world.config.cont_signal(),
        Target::Proxy(number) if stop => world.proxies[number].running().stop_signal(),
        Target::Proxy(number) => world.proxies[number].running().cont_signal(),
    }
}

fn relayed(world: &World, target: Target, fault: Fault, time: u64) {
    let relay = match target {
        Target::Node(number) => &world.nodes[number].relay,
        Target::Proxy(number) => &world.proxies[number].to_config,
        Target::Config => return,
    };
    relay.set(fault.clone());
    if fault == Fault::Refuse {
        relay.cut_all();
    }
    wait(time);
    relay.set(Fault::Pass);
    // What was swallowed never comes: whoever waits for it hears of it now.
    if fault == Fault::HalfOpen {
        relay.cut_all();
    }
}
