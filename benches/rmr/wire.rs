//! One connection of the minimal client: RESP2, with just enough parsing to add numbers up.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::{AsRawFd, RawFd};

use crate::Failure;

/// The size of the buffer for replies: those of a thousand keys fit in, and one read takes all that has come.
const BUFFER: usize = 256 * 1024;

/// A blocking connection with buffers of its own.
pub struct Wire {
    stream: TcpStream,
    input: Vec<u8>,
    /// The beginning of the bytes that have been read and not yet parsed.
    start: usize,
    end: usize,
    output: Vec<u8>,
}

/// The progress of the parser within the replies to one part.
pub struct Progress {
    /// Replies that are still to come; an array in place of a reply adds its elements.
    pub left: usize,
    /// The sum of the numbers so far.
    pub sum: i64,
}

impl Wire {
    /// Connects to a port of this machine.
    pub fn connect(port: u16) -> Result<Self, Failure> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, input: vec![0; BUFFER], start: 0, end: 0, output: Vec::new() })
    }

    /// Returns the socket, to be polled.
    pub fn fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }

    /// Sends now.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// Keeps bytes for the next [`flush`](Self::flush).
    pub fn queue(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    /// Sends what was queued, if anything, in one write.
    pub fn flush(&mut self) -> Result<(), Failure> {
        if !self.output.is_empty() {
            self.stream.write_all(&self.output)?;
            self.output.clear();
        }
        Ok(())
    }

    /// Reads once, which blocks unless something has come.
    pub fn receive(&mut self) -> Result<(), Failure> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.input.len() - self.end < BUFFER / 4 {
            self.input.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        match self.stream.read(&mut self.input[self.end..])? {
            0 => Err("the server closed a connection".into()),
            count => {
                self.end += count;
                Ok(())
            }
        }
    }

    /// Parses what has come, until the replies wanted are done or more bytes are needed.
    pub fn parse(&mut self, progress: &mut Progress) -> Result<(), Failure> {
        while progress.left > 0 {
            let bytes = &self.input[self.start..self.end];
            let Some((number, line)) = read_line(bytes)? else { return Ok(()) };
            let length = match bytes[0] {
                b':' => {
                    progress.sum += number;
                    line
                }
                b'$' if number >= 0 => {
                    let body = line..line + number as usize;
                    if bytes.len() < body.end + 2 {
                        return Ok(());
                    }
                    progress.sum += integer(&bytes[body.clone()])?;
                    body.end + 2
                }
                b'*' if number >= 0 => {
                    progress.left += number as usize;
                    line
                }
                _ => return Err(format!("an unexpected null: {}", bytes.escape_ascii()).into()),
            };
            self.start += length;
            progress.left -= 1;
        }
        Ok(())
    }
}

/// Returns the number in the first line, and the length of the line. `None` if it has not come whole.
fn read_line(bytes: &[u8]) -> Result<Option<(i64, usize)>, Failure> {
    let Some(end) = bytes.iter().position(|&byte| byte == b'\n') else { return Ok(None) };
    let line = &bytes[..end - 1];
    match line[0] {
        b':' | b'$' | b'*' => Ok(Some((integer(&line[1..])?, end + 1))),
        _ => Err(format!("an unexpected reply: {}", line.escape_ascii()).into()),
    }
}

/// Returns a decimal integer.
fn integer(digits: &[u8]) -> Result<i64, Failure> {
    let (negative, digits) = match digits.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, digits),
    };
    let mut number = 0;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return Err(format!("not an integer: {}", digits.escape_ascii()).into());
        }
        number = number * 10 + i64::from(digit - b'0');
    }
    Ok(if negative { -number } else { number })
}
