//! The faults that strike the servers meanwhile: by chance, and the same for the same seed.

use std::thread;
use std::time::{Duration, Instant};

use crate::common::{Fault, Random, RmrProxy, poll};
use crate::world::World;

/// The target of one fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Node(usize),
    Proxy(usize),
    Config,
    Nobody,
}

/// Something that goes wrong, and after a while is right again.
#[derive(Clone, Copy, Debug)]
pub enum Trouble {
    /// The process stands still for so many milliseconds.
    Stop(Target, u64),
    /// The process is killed, and started anew: empty, or with what it has saved.
    Kill(Target),
    /// The proxy is asked to end, and hands over what it has; another one is started in its place.
    End(usize),
    /// A node saves what it holds, to come back with that when it is killed later.
    Save(usize),
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
    /// All connections to a node are cut on the way, and this proxy hears nothing of the configuration node for so long.
    Unheard { node: usize, proxy: usize, time: u64 },
    /// A node gets no requests any more, and after some milliseconds this proxy is killed: the other copies have what it has sent.
    Tear { node: usize, proxy: usize, time: u64 },
    /// Nothing goes wrong, for so many milliseconds.
    Rest(u64),
    /// New connections are refused, and the open ones cut, for so many milliseconds.
    Refuse(Target, u64),
}

impl Trouble {
    fn target(self) -> Target {
        match self {
            Self::Rest(_) => Target::Nobody,
            Self::Stop(target, _) | Self::Kill(target) | Self::Swallow(target, _) | Self::Refuse(target, _) => target,
            Self::End(proxy) => Target::Proxy(proxy),
            Self::Save(node)
            | Self::Disconnect(node)
            | Self::Cut(node)
            | Self::Delay(node, _)
            | Self::CutRequests(node, _)
            | Self::CutReplies(node, _)
            | Self::Unheard { node, .. }
            | Self::Tear { node, .. } => Target::Node(node),
        }
    }
}

/// Chooses the next trouble, when this part of the time of a run is over: 0 to 1.
pub type Kinds = fn(&World, &mut Random, f64) -> Trouble;

/// Chooses a trouble that is survived with one copy of each key: one that leaves data nodes their memory.
pub fn with_one_copy(world: &World, random: &mut Random, _over: f64) -> Trouble {
    match random.below(10) {
        0 => Trouble::Kill(Target::Config),
        1 => Trouble::Kill(Target::Proxy(random.below(world.proxies.len()))),
        2 => Trouble::End(random.below(world.proxies.len())),
        _ => {
            let node = random.below(world.nodes.len());
            harmless(world, random, node)
        }
    }
}

/// Chooses a trouble that is survived with two copies of each key: a node may lose its memory while each slot has another copy. As
/// long as none may, nothing is done to nodes.
pub fn with_two_copies(world: &World, random: &mut Random, over: f64) -> Trouble {
    let mut nodes = [random.below(world.nodes.len()), world.struck()].into_iter();
    let Some(node) = nodes.find(|&node| world.may_lose(node)) else { return without_nodes(world, random, over) };
    match random.below(10) {
        0 => Trouble::Save(random.below(world.nodes.len())),
        1 => Trouble::Kill(Target::Config),
        2 | 3 => Trouble::Kill(Target::Node(node)),
        4 => without_nodes(world, random, over),
        5 => Trouble::Kill(Target::Proxy(random.below(world.proxies.len()))),
        6 => tear(world, random, node),
        7 => Trouble::End(random.below(world.proxies.len())),
        _ => harmless(world, random, node),
    }
}

/// Chooses a trouble that leaves all copies what they are: nothing strikes nodes.
pub fn without_nodes(world: &World, random: &mut Random, _over: f64) -> Trouble {
    let number = random.below(world.proxies.len());
    let proxy = Target::Proxy(number);
    let time = random.pick(&[100, 300, 1500, 3500]);
    match random.below(5) {
        4 => Trouble::End(number),
        0 => Trouble::Kill(Target::Config),
        1 => Trouble::Stop(random.pick(&[proxy, Target::Config]), time),
        2 => Trouble::Swallow(proxy, time),
        _ => Trouble::Refuse(proxy, time),
    }
}

/// Keeps the configuration node from a proxy while a node is lost.
pub fn with_deaf_proxies(world: &World, random: &mut Random, _over: f64) -> Trouble {
    let node = random.below(world.nodes.len());
    Trouble::Unheard { node, proxy: random.below(world.proxies.len()), time: 1500 }
}

/// Has a proxy hear nothing of the configuration node while a node is lost, until others go on without either.
pub fn with_proxies_cut_off(world: &World, random: &mut Random, _over: f64) -> Trouble {
    let node = random.below(world.nodes.len());
    Trouble::Unheard { node, proxy: random.below(world.proxies.len()), time: 7000 }
}

/// Chooses a trouble by which a proxy is taken for dead that is not.
pub fn with_proxies_given_up(world: &World, random: &mut Random, _over: f64) -> Trouble {
    let proxy = Target::Proxy(random.below(world.proxies.len()));
    random.pick(&[Trouble::Stop(proxy, 2800), Trouble::Swallow(proxy, 3500)])
}

/// Kills a proxy in the end, while one of the copies has not what the others have, and nobody writes that anew.
pub fn with_torn_writes(world: &World, random: &mut Random, over: f64) -> Trouble {
    let node = random.below(world.nodes.len());
    if over < 0.9 { Trouble::Rest(100) } else { tear(world, random, node) }
}

/// Has copies hear of the same write at different times.
pub fn with_slow_nodes(world: &World, random: &mut Random, _over: f64) -> Trouble {
    Trouble::Stop(Target::Node(random.below(world.nodes.len())), 300)
}

/// Kills a node, which comes back empty.
pub fn with_lost_nodes(world: &World, random: &mut Random, _over: f64) -> Trouble {
    Trouble::Kill(Target::Node(random.below(world.nodes.len())))
}

fn tear(world: &World, random: &mut Random, node: usize) -> Trouble {
    Trouble::Tear { node, proxy: random.below(world.proxies.len()), time: 200 }
}

/// Chooses a trouble that leaves this node, and all proxies, their memory.
fn harmless(world: &World, random: &mut Random, node: usize) -> Trouble {
    let proxy = random.below(world.proxies.len());
    let time = random.pick(&[100, 300, 1500, 2500]);
    let anyone = random.pick(&[Target::Node(node), Target::Proxy(proxy), Target::Config]);
    match random.below(9) {
        8 => Trouble::Unheard { node, proxy, time },
        0 | 1 => Trouble::Stop(anyone, time),
        2 => Trouble::Disconnect(node),
        3 => Trouble::Cut(node),
        4 => Trouble::Swallow(random.pick(&[Target::Node(node), Target::Proxy(proxy)]), time),
        5 => Trouble::Delay(node, time),
        6 => random.pick(&[Trouble::CutRequests(node, time), Trouble::CutReplies(node, time)]),
        _ => Trouble::Refuse(random.pick(&[Target::Node(node), Target::Proxy(proxy)]), time),
    }
}

/// Does one thing after the other, now and then two at once, with a pause between, until the time is over or a client has seen what
/// must not be.
pub fn haunt(world: &World, random: &mut Random, kinds: Kinds, time: Duration) {
    let began = Instant::now();
    let is_over = || began.elapsed() > time || !world.clients.faults().is_empty();
    while !is_over() {
        let over = began.elapsed().as_secs_f64() / time.as_secs_f64();
        let mut troubles = vec![kinds(world, random, over)];
        if random.chance(25) {
            let other = kinds(world, random, over);
            // Two nodes at once are more than two copies survive.
            let are_nodes = [troubles[0], other].iter().all(|trouble| matches!(trouble.target(), Target::Node(_)));
            troubles.extend(Some(other).filter(|other| !are_nodes && other.target() != troubles[0].target()));
        }
        println!("{:8.3} s: {troubles:?}", began.elapsed().as_secs_f64());
        thread::scope(|scope| {
            troubles.iter().for_each(|&trouble| drop(scope.spawn(move || strike(world, trouble))));
        });
        wait(50 + random.below(400) as u64);
    }
}

/// Waits for as long as a fault is to last.
fn wait(milliseconds: u64) {
    poll(Duration::from_millis(milliseconds), || None::<()>);
}

fn strike(world: &World, trouble: Trouble) {
    if let (Target::Node(number), false) = (trouble.target(), matches!(trouble, Trouble::Save(_))) {
        world.strikes(number);
    }
    match trouble {
        Trouble::Stop(target, time) => {
            signal(world, target, true);
            wait(time);
            signal(world, target, false);
        }
        Trouble::Kill(Target::Proxy(number)) => world.restart_proxy(number, RmrProxy::kill, || ()),
        Trouble::End(number) => world.restart_proxy(number, RmrProxy::terminate, || ()),
        Trouble::Kill(Target::Config) => world.config.restart(),
        Trouble::Kill(Target::Nobody) => {}
        Trouble::Kill(Target::Node(number)) => world.restart_node(number),
        Trouble::Save(number) => drop(world.nodes[number].server.try_run::<()>(&["SAVE"])),
        // A node that has no clients at all says so by an error.
        Trouble::Disconnect(number) => {
            let _ = world.nodes[number].server.try_run::<u64>(&["CLIENT", "KILL", "TYPE", "normal"]);
        }
        Trouble::Cut(number) => world.nodes[number].relay.cut_all(),
        Trouble::Unheard { node, proxy, time } => {
            world.proxies[proxy].to_config.set(Fault::HalfOpen);
            world.nodes[node].relay.cut_all();
            relayed(world, Target::Proxy(proxy), Fault::HalfOpen, time);
        }
        Trouble::Rest(time) => wait(time),
        Trouble::Tear { node, proxy, time } => {
            let relay = &world.nodes[node].relay;
            relay.set(Fault::HalfOpen);
            wait(time);
            world.restart_proxy(proxy, RmrProxy::kill, || {
                relay.set(Fault::Pass);
                relay.cut_all();
            });
        }
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
        Target::Nobody => {}
        Target::Proxy(number) if stop => world.proxies[number].running().stop_signal(),
        Target::Proxy(number) => world.proxies[number].running().cont_signal(),
    }
}

fn relayed(world: &World, target: Target, fault: Fault, time: u64) {
    let relay = match target {
        Target::Node(number) => &world.nodes[number].relay,
        Target::Proxy(number) => &world.proxies[number].to_config,
        Target::Config | Target::Nobody => return,
    };
    relay.set(fault.clone());
    if fault == Fault::Refuse {
        relay.cut_all();
    }
    wait(time);
    relay.set(Fault::Pass);
    // Bytes that were swallowed never come: whoever waits for them hears of it now.
    if fault == Fault::HalfOpen {
        relay.cut_all();
    }
}
