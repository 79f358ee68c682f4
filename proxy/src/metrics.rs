//! The page for Prometheus at `/metrics`, and `/healthz` for whoever looks whether the proxy can serve.
//!
//! As much of HTTP as it takes to answer `GET`: one request a connection, of a bounded length, within a bounded time, and not
//! more than a few at once. A library for HTTP would be larger than all of the proxy's own code.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rmr::serve::Proxy;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tracing::{debug, info, warn};

use crate::exposition::page;

/// The most that a request may have, in bytes.
const MOST: usize = 8 * 1024;

/// The time that a request and its answer may take.
const LIMIT: Duration = Duration::from_secs(10);

/// The number of requests that may be answered at once; others wait.
const AT_ONCE: usize = 16;

/// The time that the next connection waits after one could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);

/// Opens the address, and answers there for as long as the runtime lives.
pub async fn open(address: SocketAddr, proxy: Proxy) -> Result<(), String> {
    let listener = TcpListener::bind(address).await.map_err(|error| format!("--metrics {address}: {error}"))?;
    let bound = listener.local_addr().map_err(|error| error.to_string())?;
    info!("metrics are at http://{bound}/metrics");
    tokio::spawn(answer_all(listener, proxy));
    Ok(())
}

async fn answer_all(listener: TcpListener, proxy: Proxy) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((mut stream, peer)) => {
                let proxy = proxy.clone();
                tokio::spawn(async move {
                    if tokio::time::timeout(LIMIT, answer(&mut stream, &proxy)).await.is_err() {
                        debug!("{peer} has not taken the metrics in time");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                warn!("a connection for metrics could not be accepted: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Reads one request and answers it. Whoever hangs up meanwhile needs no answer.
async fn answer(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), proxy: &Proxy) {
    let Some(request) = read_request(stream).await else { return };
    let (status, content_type, body) = match request.as_deref() {
        None => ("431 Request Header Fields Too Large", PLAIN, "too long\n".to_owned()),
        Some(line) => respond(line, proxy),
    };
    let is_head = request.is_some_and(|line| line.starts_with("HEAD "));
    let mut response = format!(
        "HTTP/1.0 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    if !is_head {
        response.push_str(&body);
    }
    if stream.write_all(response.as_bytes()).await.is_ok() {
        let _ = stream.shutdown().await;
    }
}

/// Reads to the end of the header, and returns the first line; `Some(None)` if it is too long, `None` if the other side has
/// hung up.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<Option<String>> {
    let mut request = Vec::new();
    loop {
        match stream.read_buf(&mut request).await {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
        if request.windows(4).any(|end| end == b"\r\n\r\n") {
            let line = request.split(|&byte| byte == b'\r').next().unwrap_or_default();
            return Some(Some(String::from_utf8_lossy(line).into_owned()));
        }
        if request.len() > MOST {
            return Some(None);
        }
    }
}

const PLAIN: &str = "text/plain; charset=utf-8";

/// The format that Prometheus reads, by its content type.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Returns status, content type and body for the first line of a request.
fn respond(line: &str, proxy: &Proxy) -> (&'static str, &'static str, String) {
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split('?').next().unwrap_or_default();
    match (method, path) {
        ("GET" | "HEAD", "/metrics") => match page(proxy) {
            Ok(page) => ("200 OK", PROMETHEUS, page),
            Err(error) => ("500 Internal Server Error", PLAIN, format!("{error}\n")),
        },
        ("GET" | "HEAD", "/healthz") if proxy.is_ready() => ("200 OK", PLAIN, "ok\n".to_owned()),
        ("GET" | "HEAD", "/healthz") => {
            ("503 Service Unavailable", PLAIN, "no topology is known, or the proxy is ending\n".to_owned())
        }
        ("GET" | "HEAD", _) => ("404 Not Found", PLAIN, "/metrics and /healthz are here\n".to_owned()),
        _ => ("405 Method Not Allowed", PLAIN, "GET and HEAD are answered\n".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use rmr::serve::ProxyOptions;

    use super::*;

    async fn asked(request: &[u8]) -> String {
        let proxy = Proxy::new(rmr::Engine::builder().build(), ProxyOptions::new());
        let (mut ours, mut theirs) = tokio::io::duplex(64 * 1024);
        tokio::spawn(async move { answer(&mut theirs, &proxy).await });
        ours.write_all(request).await.unwrap();
        let mut response = String::new();
        ours.read_to_string(&mut response).await.unwrap();
        response
    }

    #[tokio::test]
    async fn metrics_and_health_are_told() {
        let page = asked(b"GET /metrics?a=b HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let (head, body) = page.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.0 200 OK\r\n") && head.contains("version=0.0.4"), "{head}");
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
        assert!(body.contains("\nrmr_proxy_clients 0"), "{body}");
        let head_only = asked(b"HEAD /metrics HTTP/1.1\r\n\r\n").await;
        assert!(head_only.ends_with("\r\n\r\n") && head_only.contains("Content-Length: "));
        // It knows no nodes.
        assert!(asked(b"GET /healthz HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.0 503 "));
    }

    #[tokio::test]
    async fn what_is_no_request_for_them_is_refused() {
        assert!(asked(b"GET / HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.0 404 "));
        assert!(asked(b"POST /metrics HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.0 405 "));
        assert!(asked(b"\r\n\r\n").await.starts_with("HTTP/1.0 405 "));
        assert!(asked(&[b'x'; MOST + 1]).await.starts_with("HTTP/1.0 431 "));
    }
}
