//! A real Prometheus scrapes a proxy that clients use, and knows what the dashboard and the alerts in `deploy/` ask it for.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rmr::testing::{Process, ScratchDir, Servers, eventually, free_port};
use serde_json::Value;

/// The time that anything may take here: machines are busy.
const PATIENCE: Duration = Duration::from_secs(60);

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

/// Runs a program that ends with the test, with its files in a folder.
fn start(name: &str, args: &[String], dir: &Path) -> Process {
    Process::spawn(Command::new(name).args(args).stdout(Stdio::null()).stderr(Stdio::null()), dir)
}

/// Returns the body that is at a path; `None` as long as nobody answers with 200.
fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
    let mut response = String::new();
    stream.read_to_string(&mut response).ok()?;
    let (head, body) = response.split_once("\r\n\r\n")?;
    head.split(' ').nth(1).filter(|status| *status == "200").map(|_| body.to_owned())
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// Returns what Prometheus says to a query: how many series; `None` if it cannot answer.
fn series(prometheus: u16, query: &str) -> Option<usize> {
    let answer: Value =
        serde_json::from_str(&get(prometheus, &format!("/api/v1/query?query={}", encoded(query)))?).ok()?;
    answer["data"]["result"].as_array().filter(|_| answer["status"] == "success").map(Vec::len)
}

/// Sends inline commands to the proxy, and reads until all are answered.
fn talk(proxy: u16) -> Option<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", proxy)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let words = "SET a 1\r\nGET a\r\nSET b 2\r\nINCR b\r\nLPUSH a x\r\nNOSUCHCOMMAND\r\nMGET b c d e f g h i\r\nPING\r\nQUIT\r\n";
    stream.write_all(words.as_bytes()).ok()?;
    let mut replies = String::new();
    stream.read_to_string(&mut replies).ok()?;
    assert!(replies.contains("-WRONGTYPE ") && replies.ends_with("+PONG\r\n+OK\r\n"), "{replies}");
    Some(())
}

fn queries_of_dashboard() -> Vec<String> {
    let text = fs::read_to_string(deploy().join("grafana/rmr-proxy.json")).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().expect("queries"));
    let queries: Vec<String> = targets
        .map(|target| target["expr"].as_str().expect("a query"))
        .map(|query| query.replace("$instance", ".*").replace("$__rate_interval", "20s"))
        .collect();
    assert!(queries.len() >= panels.len() && !queries.is_empty());
    queries
}

/// Checks the files with the rules as Prometheus itself does.
#[test]
fn the_rules_are_rules() {
    for file in ["prometheus/rmr-proxy.rules.yml", "prometheus/rmr-module.rules.yml"] {
        let checked = Command::new("promtool").args(["check", "rules"]).arg(deploy().join(file)).output();
        let checked = checked.expect("promtool, which scripts/setup.sh test installs");
        assert!(checked.status.success(), "{file}: {}", String::from_utf8_lossy(&checked.stderr));
    }
}

#[test]
fn prometheus_has_what_the_dashboard_and_the_alerts_ask_for() {
    let servers = Servers::start(2);
    let nodes: Vec<String> = servers.iter().map(|server| format!("127.0.0.1:{}", server.port())).collect();
    let (listen, metrics, prometheus) = (free_port(), free_port(), free_port());
    let proxy = [
        "--nodes".to_owned(),
        nodes.join(" "),
        "--listen".to_owned(),
        format!("127.0.0.1:{listen}"),
        "--metrics".to_owned(),
        format!("127.0.0.1:{metrics}"),
    ];
    let folder = ScratchDir::new();
    let _proxy = start(env!("CARGO_BIN_EXE_rmr-proxy"), &proxy, folder.path());
    eventually(PATIENCE, "the proxy is ready", || get(metrics, "/healthz").is_some() || talk(listen).is_none());
    eventually(PATIENCE, "the proxy serves", || talk(listen).is_some());

    let rules = deploy().join("prometheus/rmr-proxy.rules.yml").canonicalize().expect("the rules");
    let config = format!(
        "global: {{ scrape_interval: 500ms, evaluation_interval: 500ms }}\n\
         rule_files: ['{}']\n\
         scrape_configs:\n  - job_name: rmr-proxy\n    static_configs: [{{ targets: ['127.0.0.1:{metrics}'] }}]\n",
        rules.display()
    );
    fs::write(folder.path().join("prometheus.yml"), config).expect("a file");
    let args = [
        format!("--config.file={}", folder.path().join("prometheus.yml").display()),
        format!("--storage.tsdb.path={}", folder.path().join("data").display()),
        format!("--web.listen-address=127.0.0.1:{prometheus}"),
    ];
    let _prometheus = start("prometheus", &args, folder.path());
    eventually(PATIENCE, "Prometheus has looked at the proxy", || {
        talk(listen);
        series(prometheus, "up{job=\"rmr-proxy\"} == 1") == Some(1)
    });
    for query in queries_of_dashboard() {
        eventually(PATIENCE, &format!("there are figures for {query}"), || {
            talk(listen);
            series(prometheus, &query).is_some_and(|series| series > 0)
        });
    }
    let counted = "rmr_proxy_commands_total{command=\"lpush\", outcome=\"WRONGTYPE\"} > 0";
    assert_eq!(series(prometheus, counted), Some(1), "the outcome of a command is its own");
    assert_eq!(series(prometheus, "rmr_proxy_commands_total{command=\"nosuchcommand\"}"), Some(0));
    assert_eq!(series(prometheus, "rmr_proxy_commands_total{command=\"unknown\", outcome=\"ERR\"} > 0"), Some(1));
    assert_eq!(series(prometheus, "rmr_proxy_node_round_trip_seconds_count > 0"), Some(2));

    let rules: Value = serde_json::from_str(&get(prometheus, "/api/v1/rules").expect("the rules")).expect("JSON");
    let rules = rules["data"]["groups"][0]["rules"].as_array().expect("the rules of the file").clone();
    assert!(!rules.is_empty());
    for rule in rules {
        let name = rule["name"].as_str().expect("a name").to_owned();
        assert!(["ok", "unknown"].contains(&rule["health"].as_str().expect("its health")), "{name}: {rule}");
        let query = rule["query"].as_str().expect("its query");
        assert!(series(prometheus, query).is_some(), "{name}: {query}");
    }
}
