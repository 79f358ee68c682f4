//! Writes the proxy's figures in the text format that Prometheus reads.

use std::fmt::Error;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use rmr::engine::Doublings;
use rmr::serve::{Proxy, ProxyMetrics};

/// The bounds of the buckets of histograms: 2^n microseconds, for these n; from 32 microseconds to 34 seconds.
const BUCKETS: std::ops::RangeInclusive<usize> = 5..=25;

/// Returns the page for Prometheus.
pub fn page(proxy: &Proxy) -> Result<String, Error> {
    let mut registry = Registry::with_prefix("rmr_proxy");
    registry.register_collector(Box::new(Counted(proxy.metrics())));
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Counted(ProxyMetrics);

/// A label and its value.
type Label<'a> = (&'static str, &'a str);

/// Writes metrics, one family after another.
struct Families<'a>(DescriptorEncoder<'a>);

impl Families<'_> {
    fn family(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        write: impl FnOnce(&mut MetricEncoder<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        write(&mut self.0.encode_descriptor(name, help, None, kind)?)
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) -> Result<(), Error> {
        self.family(name, help, MetricType::Gauge, |metric| metric.encode_gauge(&value))
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> Result<(), Error> {
        self.family(name, help, MetricType::Counter, |metric| metric.encode_counter::<NoLabelSet, _, f64>(&value, None))
    }

    fn gauges<'l, L: EncodeLabelSet + 'l>(
        &mut self,
        name: &str,
        help: &str,
        values: impl Iterator<Item = (L, f64)>,
    ) -> Result<(), Error> {
        self.family(name, help, MetricType::Gauge, |metric| {
            values.into_iter().try_for_each(|(labels, value)| metric.encode_family(&labels)?.encode_gauge(&value))
        })
    }

    fn counters<'l, L: EncodeLabelSet + 'l>(
        &mut self,
        name: &str,
        help: &str,
        values: impl Iterator<Item = (L, u64)>,
    ) -> Result<(), Error> {
        self.family(name, help, MetricType::Counter, |metric| {
            values.into_iter().try_for_each(|(labels, value)| {
                metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&value, None)
            })
        })
    }

    fn histograms<'l>(
        &mut self,
        name: &str,
        help: &str,
        values: impl Iterator<Item = (Label<'l>, &'l Doublings)>,
    ) -> Result<(), Error> {
        self.family(name, help, MetricType::Histogram, |metric| {
            values.into_iter().try_for_each(|(label, durations)| {
                let (sum, count, buckets) = histogram(durations);
                metric.encode_family(&[label])?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
            })
        })
    }
}

/// Returns the sum in seconds, the count, and the buckets with their upper bounds in seconds.
fn histogram(durations: &Doublings) -> (f64, u64, Vec<(f64, u64)>) {
    let mut buckets: Vec<(f64, u64)> = BUCKETS.map(|doubling| ((1_u64 << doubling) as f64 / 1e6, 0)).collect();
    buckets.push((f64::MAX, 0));
    for (doubling, count) in durations.counts.iter().enumerate() {
        // These are shorter than the next power of two.
        let at = (doubling + 1).clamp(*BUCKETS.start(), *BUCKETS.end() + 1) - BUCKETS.start();
        buckets[at].1 += count;
    }
    (durations.total_micros as f64 / 1e6, durations.counts.iter().sum(), buckets)
}

impl Collector for Counted {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let (metrics, mut to) = (&self.0, Families(encoder));
        let version = ("version", env!("CARGO_PKG_VERSION"));
        to.gauges("build_info", "The version of rmr-proxy", [([version], 1.0)].into_iter())?;
        to.gauge("uptime_seconds", "Seconds since rmr-proxy began", metrics.uptime.as_secs_f64())?;
        clients(metrics, &mut to)?;
        commands(metrics, &mut to)?;
        topology(metrics, &mut to)?;
        nodes(metrics, &mut to)?;
        process(&mut to)
    }
}

fn clients(metrics: &ProxyMetrics, to: &mut Families<'_>) -> Result<(), Error> {
    to.gauge("clients", "Clients that are connected", metrics.clients as f64)?;
    to.gauge("clients_max", "How many clients may be connected", metrics.max_clients as f64)?;
    to.counter("clients_accepted", "Clients that were taken in", metrics.accepted)?;
    to.counter("clients_refused", "Clients that were sent away, since there were too many", metrics.refused)?;
    let cut = metrics.cut.iter().map(|&(reason, count)| ([("reason", reason)], count));
    to.counters("clients_cut", "Clients that were cut off, by reason", cut)?;
    to.counter("client_received_bytes", "Bytes from clients", metrics.received_bytes)?;
    to.counter("client_sent_bytes", "Bytes to clients", metrics.sent_bytes)?;
    to.gauge("client_waiting_bytes", "Bytes that wait for clients to read", metrics.waiting_bytes as f64)
}

fn commands(metrics: &ProxyMetrics, to: &mut Families<'_>) -> Result<(), Error> {
    let commands = metrics.commands.iter().flat_map(|command| {
        let outcomes = command.outcomes.iter();
        outcomes.map(|&(outcome, count)| ([("command", command.name.as_str()), ("outcome", outcome)], count))
    });
    to.counters("commands", "Commands of clients, by name and by what has become of them", commands)?;
    let stages = metrics.stages.iter().map(|(stage, durations)| (("stage", *stage), durations));
    to.histograms("stage_seconds", "How long the stages of requests took", stages)?;
    to.gauge("requests_in_flight", "Requests to nodes that are under way", metrics.in_flight as f64)?;
    let redirects = [([("kind", "moved")], metrics.moved), ([("kind", "ask")], metrics.ask)];
    to.counters("redirects", "Commands that were sent to another node, since a node said so", redirects.into_iter())?;
    to.counter("retries", "Commands that were sent again for another reason", metrics.retries)
}

fn topology(metrics: &ProxyMetrics, to: &mut Families<'_>) -> Result<(), Error> {
    to.counter("topology_refreshes", "Topologies that were fetched", metrics.refreshes)?;
    to.counter("topology_refresh_failures", "Attempts to fetch the topology that failed", metrics.refresh_failures)?;
    let shards = metrics.topology.as_ref().map_or(0, |topology| topology.shards);
    to.gauge("shards", "Shards that have data, or may have; 0 as long as none is known", shards as f64)?;
    if let Some(store) = &metrics.store {
        to.gauge("place_epoch", "The number of the last change of the store that is known", store.epoch as f64)?;
        to.gauge(
            "place_lease_seconds",
            "For how long the proxy may still serve unheard",
            store.lease_ms as f64 / 1000.0,
        )?;
        let slots = [
            ("ok", store.slots_ok),
            ("suspect", store.slots_suspect),
            ("short", store.slots_short),
            ("lost", store.slots_lost),
        ];
        let slots = slots.iter().map(|&(state, slots)| ([("state", state)], slots as f64));
        to.gauges("place_slots", "Slots of the store, by how they are", slots)?;
        to.gauge("place_moves_running", "Slots that are to move, and are this proxy's", store.moves_running as f64)?;
        for (name, help, count) in [
            ("place_writes_forwarded", "Writes that went to the proxy that orders their slot", store.writes_forwarded),
            (
                "place_writes_in_doubt",
                "Writes whose client was told that the outcome is unknown",
                store.writes_in_doubt,
            ),
            (
                "place_copies_dropped",
                "Copies of slots that count no more, since their node failed",
                store.copies_dropped,
            ),
            ("place_fences", "Nodes at which this proxy has fenced another one", store.fences),
            ("place_moves_done", "Slots that this proxy has moved", store.moves_done),
            ("place_moves_failed", "Attempts of this proxy to move slots that failed", store.moves_failed),
            ("place_keys_moved", "Keys that this proxy has moved", store.keys_moved),
            ("place_scrub_differences", "Keys of which copies had something else", store.scrub_differences),
        ] {
            to.counter(name, help, count)?;
        }
    }
    let Some(topology) = &metrics.topology else { return Ok(()) };
    to.gauge("topology_age_seconds", "Seconds since the topology was last fetched", topology.age.as_secs_f64())?;
    if topology.has_slots {
        to.gauge("slots_covered", "Slots that belong to a shard, of 16384", f64::from(topology.slots_covered))?;
    }
    Ok(())
}

fn nodes(metrics: &ProxyMetrics, to: &mut Families<'_>) -> Result<(), Error> {
    let nodes = || metrics.nodes.iter().map(|node| ([("node", node.address.as_str())], node));
    let yes = |is_so: bool| if is_so { 1.0 } else { 0.0 };
    to.gauges(
        "node_up",
        "Whether the node could be connected to when that was last tried",
        nodes().map(|(label, node)| (label, yes(node.is_reachable))),
    )?;
    to.gauges(
        "node_primary",
        "Whether the node is a primary",
        nodes().map(|(label, node)| (label, yes(node.is_primary))),
    )?;
    to.gauges(
        "node_batches_in_flight",
        "Batches of commands that the node has not answered yet",
        nodes().map(|(label, node)| (label, node.in_flight as f64)),
    )?;
    to.counters("node_connects", "Connections that were opened", nodes().map(|(label, node)| (label, node.connects)))?;
    to.counters(
        "node_failures",
        "Connections that broke, or could not be opened",
        nodes().map(|(label, node)| (label, node.failures)),
    )?;
    to.counters("node_sent_bytes", "Bytes to the node", nodes().map(|(label, node)| (label, node.sent_bytes)))?;
    to.counters(
        "node_received_bytes",
        "Bytes from the node",
        nodes().map(|(label, node)| (label, node.received_bytes)),
    )?;
    to.histograms(
        "node_round_trip_seconds",
        "How long the node took to answer a batch of commands",
        metrics.nodes.iter().map(|node| (("node", node.address.as_str()), &node.round_trips)),
    )
}

/// Writes the system's figures of the process; nothing where there are none.
fn process(to: &mut Families<'_>) -> Result<(), Error> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
    if let Some(kilobytes) = resident {
        let kilobytes: f64 = kilobytes;
        to.gauge("resident_memory_bytes", "Memory of the process", kilobytes * 1024.0)?;
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        to.gauge("open_files", "Open files of the process", files.count() as f64)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_page_is_whole_before_anything_has_happened() {
        let engine = rmr::Engine::builder().build();
        let page = page(&Proxy::new(engine, rmr::serve::ProxyOptions::new())).unwrap();
        for line in [
            "# TYPE rmr_proxy_clients gauge",
            "rmr_proxy_clients_max 10000.0",
            "# TYPE rmr_proxy_clients_cut_total counter",
            "rmr_proxy_clients_cut_total{reason=\"slow_reader\"} 0",
            "rmr_proxy_stage_seconds_bucket{stage=\"write\",le=\"3.2e-05\"} 0",
            "rmr_proxy_stage_seconds_bucket{stage=\"write\",le=\"+Inf\"} 0",
            "rmr_proxy_shards 0.0",
        ] {
            assert!(page.lines().any(|other| other == line), "{line} is not in\n{page}");
        }
    }

    /// Checks that the reference has all names that are shown, and no others; and that the dashboard and the alerts use
    /// no others.
    #[tokio::test]
    async fn the_names_are_those_of_the_reference() {
        let is_of_name = |letter: char| letter.is_ascii_lowercase() || letter == '_';
        let names = |text: &str| -> std::collections::BTreeSet<String> {
            let starts = text.match_indices("rmr_proxy_").map(|(at, _)| &text[at..]);
            let names =
                starts.map(|rest| rest[..rest.find(|letter| !is_of_name(letter)).unwrap_or(rest.len())].to_owned());
            names.filter(|name| !["rmr_proxy_", "rmr_proxy_version"].contains(&name.as_str())).collect()
        };
        let engine = rmr::Engine::builder().provider(rmr::StaticList::parse("127.0.0.1:1").unwrap()).build();
        engine.refresh().await.unwrap();
        let page = page(&Proxy::new(engine, rmr::serve::ProxyOptions::new())).unwrap();
        let families: String = page.lines().filter(|line| line.starts_with("# TYPE ")).collect::<Vec<_>>().join("\n");
        let mut shown = names(&families);
        // A list of servers has no slots, and is no store.
        let of_a_store = [
            "epoch",
            "lease_seconds",
            "slots",
            "moves_running",
            "writes_forwarded_total",
            "writes_in_doubt_total",
            "copies_dropped_total",
            "fences_total",
            "moves_done_total",
            "moves_failed_total",
            "keys_moved_total",
            "scrub_differences_total",
        ];
        shown.extend(of_a_store.map(|name| format!("rmr_proxy_place_{name}")));
        shown.insert("rmr_proxy_slots_covered".to_owned());
        assert_eq!(names(include_str!("../../docs/reference/rmr-proxy.md")), shown);
        for text in [
            include_str!("../../deploy/grafana/rmr-proxy.json"),
            include_str!("../../deploy/prometheus/rmr-proxy.rules.yml"),
        ] {
            for name in names(text) {
                let family =
                    ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
                assert!(shown.contains(family), "{name} is not shown");
            }
        }
    }

    #[test]
    fn buckets_hold_what_is_shorter_than_their_bound() {
        let histogram_of = rmr::engine::Histogram::default();
        for micros in [3, 31, 32, 63, 64, 40_000_000] {
            histogram_of.record(std::time::Duration::from_micros(micros));
        }
        let (sum, count, buckets) = histogram(&histogram_of.by_doubling());
        assert_eq!((sum, count), (40.000_193, 6));
        assert_eq!(buckets[..3], [(0.000_032, 2), (0.000_064, 2), (0.000_128, 1)]);
        assert_eq!(buckets.last(), Some(&(f64::MAX, 1)));
    }
}
