//! The work as a good client does it by itself: it scans all nodes in parallel, a thread and a connection for each, and sends the
//! commands for a page of names together with the request for the next page. It parses no more than it has to.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::ops::Range;
use std::thread;

use super::{Outcome, Work};
use crate::Failure;
use crate::common::Cluster;

/// The number of keys that a page is to look at.
const PAGE: &str = "1000";

/// The most bytes that one read takes.
const READ: usize = 256 * 1024;

/// The number of keys that a ranking has.
const TOP: usize = 10;

/// Does the work on all nodes.
pub fn run(cluster: &Cluster, pattern: &str, work: Work) -> Result<Outcome, Failure> {
    let shares = thread::scope(|scope| {
        let begin = |port| scope.spawn(move || share(port, pattern, work));
        let threads: Vec<_> = cluster.primaries().iter().map(|node| begin(node.port())).collect();
        let ended = threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("a thread panicked".into())));
        ended.collect::<Result<Vec<Share>, Failure>>()
    })?;
    let mut all = Share::default();
    for share in shares {
        all.sum += share.sum;
        share.best.into_iter().for_each(|Reverse((number, key))| all.rank(number, key));
    }
    Ok(all.outcome(work))
}

/// The result of one node, and then of all nodes.
#[derive(Default)]
struct Share {
    sum: i64,
    best: BinaryHeap<Reverse<(i64, String)>>,
}

impl Share {
    fn rank(&mut self, number: i64, key: String) {
        self.best.push(Reverse((number, key)));
        if self.best.len() > TOP {
            self.best.pop();
        }
    }

    fn outcome(self, work: Work) -> Outcome {
        match work {
            Work::Count | Work::Sum(_) => Outcome::Number(self.sum),
            Work::TopTen(_) => {
                Outcome::Keys(self.best.into_sorted_vec().into_iter().map(|Reverse((_, key))| key).collect())
            }
        }
    }
}

fn share(port: u16, pattern: &str, work: Work) -> Result<Share, Failure> {
    let mut connection = Connection::to(port)?;
    let command = match work {
        Work::Count => &[],
        Work::Sum(command) | Work::TopTen(command) => command,
    };
    let (mut share, mut names) = (Share::default(), Vec::<Vec<u8>>::new());
    let mut cursor = b"0".to_vec();
    // The first page has nothing before it.
    loop {
        let mut output = Vec::new();
        for name in &names {
            let word = |word: &&'static str| if *word == "{}" { &**name } else { word.as_bytes() };
            encode(&mut output, &command.iter().map(word).collect::<Vec<&[u8]>>());
        }
        let is_last = cursor == b"0" && !names.is_empty();
        if !is_last {
            encode(&mut output, &[b"SCAN", &cursor, b"MATCH", pattern.as_bytes(), b"COUNT", PAGE.as_bytes()]);
        }
        connection.send(&output)?;
        for name in &names {
            let number = connection.number()?;
            match work {
                Work::TopTen(_)
                    if share.best.len() < TOP || share.best.peek().is_some_and(|least| number >= least.0.0) =>
                {
                    share.rank(number, String::from_utf8_lossy(name).into_owned());
                }
                Work::TopTen(_) => {}
                Work::Count | Work::Sum(_) => share.sum += number,
            }
        }
        if is_last {
            return Ok(share);
        }
        names.clear();
        let count = connection.page(&mut cursor, |name| {
            if !command.is_empty() {
                names.push(name.to_vec());
            }
        })?;
        if command.is_empty() {
            share.sum += count;
        }
        if cursor == b"0" && names.is_empty() {
            return Ok(share);
        }
    }
}

/// Appends a command as an array of bulk strings.
fn encode(output: &mut Vec<u8>, words: &[&[u8]]) {
    let head = |sign: u8, number: usize, output: &mut Vec<u8>| {
        output.push(sign);
        output.extend_from_slice(number.to_string().as_bytes());
        output.extend_from_slice(b"\r\n");
    };
    head(b'*', words.len(), output);
    for word in words {
        head(b'$', word.len(), output);
        output.extend_from_slice(word);
        output.extend_from_slice(b"\r\n");
    }
}

/// A connection that hands out what it reads piece by piece.
struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    start: usize,
    end: usize,
}

impl Connection {
    fn to(port: u16) -> Result<Self, Failure> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, input: vec![0; 2 * READ], start: 0, end: 0 })
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// Returns an integer, be it a string or not.
    fn number(&mut self) -> Result<i64, Failure> {
        let line = self.line()?;
        let number = match self.input[line.start] {
            b':' => line.start + 1..line.end,
            b'$' => self.body(line)?,
            _ => return Err(self.unexpected(line)),
        };
        Ok(std::str::from_utf8(&self.input[number])?.parse()?)
    }

    /// Returns a page of names, and the cursor of the next one.
    fn page(&mut self, cursor: &mut Vec<u8>, mut each: impl FnMut(&[u8])) -> Result<i64, Failure> {
        let line = self.line()?;
        if &self.input[line.clone()] != b"*2" {
            return Err(self.unexpected(line));
        }
        let line = self.line()?;
        let body = self.body(line)?;
        cursor.clear();
        cursor.extend_from_slice(&self.input[body]);
        let line = self.line()?;
        let count = self.count(line)?;
        for _ in 0..count {
            let line = self.line()?;
            let body = self.body(line)?;
            each(&self.input[body]);
        }
        Ok(count as i64)
    }

    /// Returns the body of a string, of which this is the first line.
    fn body(&mut self, line: Range<usize>) -> Result<Range<usize>, Failure> {
        let length = self.count(line)?;
        while self.end - self.start < length + 2 {
            self.receive()?;
        }
        let body = self.start..self.start + length;
        self.start = body.end + 2;
        Ok(body)
    }

    /// Returns the number in the head of an array or a string.
    fn count(&self, line: Range<usize>) -> Result<usize, Failure> {
        let head = &self.input[line.clone()];
        match (head[0], std::str::from_utf8(&head[1..])?.parse()) {
            (b'*' | b'$', Ok(count)) => Ok(count),
            _ => Err(self.unexpected(line)),
        }
    }

    /// Returns the next line, without its end.
    fn line(&mut self) -> Result<Range<usize>, Failure> {
        let mut looked_at = 0;
        loop {
            let new = &self.input[self.start + looked_at..self.end];
            if let Some(at) = memchr::memchr(b'\n', new) {
                let line = self.start..self.start + looked_at + at - 1;
                self.start = line.end + 2;
                return Ok(line);
            }
            looked_at = self.end - self.start;
            self.receive()?;
        }
    }

    /// Reads once. Bytes left from before move to the front if there is no more room behind them.
    fn receive(&mut self) -> Result<(), Failure> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.input.len() - self.end < READ {
            self.input.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        match self.stream.read(&mut self.input[self.end..])? {
            0 => Err("a server closed a connection".into()),
            count => {
                self.end += count;
                Ok(())
            }
        }
    }

    fn unexpected(&self, line: Range<usize>) -> Failure {
        format!("an unexpected reply: {}", self.input[line].escape_ascii()).into()
    }
}
