//! Writes what a Python process prints to the server's log: line by line, with the session's name, and not without end.
//!
//! The pipe is always read, so that a process never waits for its output to be taken, and lines beyond the rate are
//! counted instead of logged.

use std::io;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::time::Instant;

/// The longest line that is logged as one.
const LONGEST_LINE: usize = 1024;

/// Lets so many lines through at once, and so many a second.
#[derive(Debug)]
pub(super) struct LineRate {
    left: f64,
    since: Instant,
    left_out: u64,
}

impl LineRate {
    const AT_ONCE: f64 = 200.0;
    const A_SECOND: f64 = 50.0;

    pub(super) fn new() -> Self {
        Self { left: Self::AT_ONCE, since: Instant::now(), left_out: 0 }
    }

    /// Says whether a line may be logged. Returns before it how many were left out, if some were.
    pub(super) fn admits(&mut self) -> Option<u64> {
        let now = Instant::now();
        let gained = now.duration_since(self.since).as_secs_f64() * Self::A_SECOND;
        self.since = now;
        self.left = (self.left + gained).min(Self::AT_ONCE);
        if self.left < 1.0 {
            self.left_out += 1;
            return None;
        }
        self.left -= 1.0;
        Some(std::mem::take(&mut self.left_out))
    }

    /// Calls `log` for a line, unless there have been too many, and first for those that were left out.
    pub(super) fn log(&mut self, line: &str, mut log: impl FnMut(&str)) {
        if let Some(left_out) = self.admits() {
            self.tell(left_out, &mut log);
            log(line);
        }
    }

    /// Calls `log` for the lines that were left out, at the end.
    pub(super) fn finish(&mut self, mut log: impl FnMut(&str)) {
        let left_out = std::mem::take(&mut self.left_out);
        self.tell(left_out, &mut log);
    }

    fn tell(&self, left_out: u64, log: &mut impl FnMut(&str)) {
        if left_out > 0 {
            log(&format!("{left_out} lines were left out: more than {} a second", Self::A_SECOND));
        }
    }
}

/// Reads lines until the pipe ends.
pub(super) async fn read_lines(mut pipe: Receiver, mut take: impl FnMut(&str)) -> io::Result<()> {
    /// A process that prints for ever shall not keep the runtime from other work.
    const PAUSE: Duration = Duration::from_millis(1);
    let mut unread = BytesMut::with_capacity(4 * LONGEST_LINE);
    loop {
        let mut lines = 0;
        while let Some(line) = next_line(&mut unread) {
            take(&line);
            lines += 1;
        }
        if lines > 1000 {
            tokio::time::sleep(PAUSE).await;
        }
        unread.reserve(4 * LONGEST_LINE);
        if pipe.read_buf(&mut unread).await? == 0 {
            break;
        }
    }
    if !unread.is_empty() {
        take(&shown(&unread));
    }
    Ok(())
}

/// Takes the next line, or as much of one as is logged as one.
fn next_line(unread: &mut BytesMut) -> Option<String> {
    let within = &unread[..unread.len().min(LONGEST_LINE)];
    let (length, end) = match memchr::memchr(b'\n', within) {
        Some(end) => (end, end + 1),
        None if within.len() == LONGEST_LINE => (LONGEST_LINE, LONGEST_LINE),
        None => return None,
    };
    let line = shown(&unread[..length]);
    unread.advance(end);
    Some(line)
}

/// Returns a line as it can stand in a log: no byte of it does anything to a terminal.
pub(super) fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let is_plain = |letter: char| !letter.is_control() || letter == '\t';
    text.trim_end_matches('\r').chars().map(|letter| if is_plain(letter) { letter } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_come_one_by_one() {
        let (mut sender, receiver) = tokio::net::unix::pipe::pipe().expect("a pipe");
        let text = format!("a\nb\x1b[1m\r\n\n{}\nrest", "x".repeat(1500));
        tokio::spawn(async move { tokio::io::AsyncWriteExt::write_all(&mut sender, text.as_bytes()).await });
        let mut lines = Vec::new();
        read_lines(receiver, |line| lines.push(line.to_owned())).await.expect("lines");
        let (long, short) = ("x".repeat(1024), "x".repeat(476));
        assert_eq!(lines, ["a", "b?[1m", "", long.as_str(), short.as_str(), "rest"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_counted_instead() {
        let mut rate = LineRate::new();
        let mut logged = Vec::new();
        for _ in 0..1000 {
            rate.log("line", |line| logged.push(line.to_owned()));
        }
        assert_eq!(logged.len(), 200);
        tokio::time::advance(Duration::from_secs(1)).await;
        rate.log("line", |line| logged.push(line.to_owned()));
        assert_eq!(logged[200..], ["800 lines were left out: more than 50 a second", "line"]);
        for _ in 0..100 {
            rate.log("line", |_| {});
        }
        rate.finish(|line| logged.push(line.to_owned()));
        assert_eq!(logged[202..], ["51 lines were left out: more than 50 a second"]);
    }
}
