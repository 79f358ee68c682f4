//! The page about Prometheus: redis_exporter and Prometheus themselves run as it says, before a node with the module.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rmr::testing::Process;

use crate::common::{eventually, free_port};
use crate::console::{self, Folder, sample};

const PAGE: &str = include_str!("../../docs/how-to/monitor-with-prometheus.md");

/// The longest that anything may take here: machines are busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a program that ends with the test, with its files in a folder.
fn start(name: &str, args: &[String], dir: &Path) -> Process {
    Process::spawn(Command::new(name).args(args).stdout(Stdio::null()).stderr(Stdio::null()), dir)
}

/// Returns what Prometheus answers to a path, with its header; nothing as long as nobody answers.
fn get(port: u16, path: &str) -> String {
    let asked = TcpStream::connect(("127.0.0.1", port)).and_then(|mut stream| {
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut response = String::new();
        stream.read_to_string(&mut response).map(|_| response)
    });
    asked.unwrap_or_default()
}

/// Returns what Prometheus says to a query.
fn query(port: u16, query: &str) -> String {
    let encoded: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
    get(port, &format!("/api/v1/query?query={encoded}"))
}

/// Returns the queries in the first column of the table.
fn queries() -> Vec<&'static str> {
    let rows = PAGE.lines().filter(|line| line.starts_with("| `"));
    rows.flat_map(|row| row.split('|').nth(1).expect("a column").split('`').skip(1).step_by(2)).collect()
}

#[test]
fn what_is_typed_in_the_page_is_true() {
    console::run(PAGE);
}

#[test]
fn the_numbers_of_the_module_reach_prometheus() {
    let cluster = sample();
    let node = cluster.node(0);
    node.run::<()>(&["RMR.PING"]);
    let (exporter, prometheus) = (free_port(), free_port());
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus");
    let args = [
        "-redis.addr".to_owned(),
        format!("redis://127.0.0.1:{}", node.port()),
        "-script".to_owned(),
        deploy.join("rmr-info.lua").display().to_string(),
        "-web.listen-address".to_owned(),
        format!("127.0.0.1:{exporter}"),
    ];
    let folder = Folder::new("monitoring");
    let _exporter = start("prometheus-redis-exporter", &args, &folder.0);
    let yaml = PAGE.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a configuration");
    let targets = "\"10.0.0.1:9121\", \"10.0.0.2:9121\", \"10.0.0.3:9121\"";
    assert!(yaml.contains(targets) && yaml.contains("[rmr-module.rules.yml]"));
    let rules = format!("[{}]", deploy.join("rmr-module.rules.yml").display());
    let yaml = yaml.replace(targets, &format!("\"127.0.0.1:{exporter}\"")).replace("[rmr-module.rules.yml]", &rules);
    let config = folder.0.join("prometheus.yml");
    fs::write(&config, format!("global: {{ scrape_interval: 500ms, evaluation_interval: 500ms }}\n{yaml}"))
        .expect("a file");
    let args = [
        format!("--config.file={}", config.display()),
        format!("--storage.tsdb.path={}", folder.0.join("data").display()),
        format!("--web.listen-address=127.0.0.1:{prometheus}"),
    ];
    let _prometheus = start("prometheus", &args, &folder.0);
    assert!(queries().len() > 9, "{:?}", queries());
    for asked in queries() {
        eventually(PATIENCE, &format!("there are figures for {asked}"), || {
            let answer = query(prometheus, asked);
            answer.contains("\"status\":\"success\"") && answer.contains("\"value\":[")
        });
    }
    eventually(PATIENCE, "the alerts are evaluated", || get(prometheus, "/api/v1/rules").contains("\"health\":\"ok\""));
    let rules = get(prometheus, "/api/v1/rules");
    assert!(!rules.contains("\"health\":\"err\""), "{rules}");
}
