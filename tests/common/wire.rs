//! A client which shows the bytes of the protocol as they came.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// The time that a read waits unless the caller names another.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// One connection that speaks raw RESP2 or, after `HELLO 3`, RESP3.
pub struct Wire {
    stream: BufReader<TcpStream>,
}

impl Wire {
    /// Connects to a port of 127.0.0.1.
    pub fn connect(port: u16) -> Self {
        Self::connect_with_timeout(port, READ_TIMEOUT)
    }

    /// Connects with another limit for the wait on each read.
    pub fn connect_with_timeout(port: u16, read_timeout: Duration) -> Self {
        Self::try_connect(port, read_timeout).unwrap_or_else(|error| panic!("cannot connect to port {port}: {error}"))
    }

    /// Connects, or says why not.
    pub fn try_connect(port: u16, read_timeout: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(read_timeout))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// A second handle of the connection, so that one thread can write while another one reads.
    pub fn second_handle(&self) -> Self {
        Self { stream: BufReader::new(self.stream.get_ref().try_clone().expect("a second handle of a socket")) }
    }

    /// Sends one command as an array of bulk strings, without waiting for its reply.
    pub fn send<A: AsRef<[u8]>>(&mut self, args: &[A]) {
        self.send_raw(&encode(args));
    }

    /// Sends bytes as they are, well-formed or not.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.try_send_raw(bytes).expect("cannot write to the server");
    }

    /// Sends bytes as they are, or says why it cannot.
    pub fn try_send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Reads one complete frame: with all its elements, with an attribute in front of it, with each
    /// CRLF.
    pub fn read_frame(&mut self) -> Vec<u8> {
        self.try_read_frame().expect("no complete frame from the server")
    }

    /// Reads one complete frame, or says why there is none: timed out, connection closed.
    ///
    /// The part that was read of an incomplete frame is lost.
    pub fn try_read_frame(&mut self) -> io::Result<Vec<u8>> {
        let mut frame = Vec::new();
        let mut pending = 1;
        while pending > 0 {
            pending -= 1;
            let start = frame.len();
            self.read_line(&mut frame)?;
            let line = &frame[start..];
            match line[0] {
                b'$' | b'!' | b'=' => {
                    // A null has no body, not even a CRLF.
                    if let Some(length) = announced(line)? {
                        self.read_body(&mut frame, length + 2)?;
                    }
                }
                b'*' | b'~' | b'>' => pending += announced(line)?.unwrap_or(0),
                b'%' => pending += 2 * announced(line)?.unwrap_or(0),
                // An attribute comes in front of the value it belongs to.
                b'|' => pending += 2 * announced(line)?.unwrap_or(0) + 1,
                _ => {}
            }
        }
        Ok(frame)
    }

    /// Sends a command and reads one frame.
    pub fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Vec<u8> {
        self.send(args);
        self.read_frame()
    }

    /// Sends a command and reads one frame, or says what went wrong with the connection.
    pub fn try_call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<Vec<u8>> {
        self.try_send_raw(&encode(args))?;
        self.try_read_frame()
    }

    /// Returns whether a reply, or its beginning, comes within this time; nothing of it is lost.
    pub fn answers_within(&mut self, limit: Duration) -> bool {
        let stream = self.stream.get_ref();
        let usual = stream.read_timeout().expect("the limit of a read");
        stream.set_read_timeout(Some(limit)).expect("a limit for a read");
        // The end of the connection is something to read, too.
        let came = self.stream.fill_buf().is_ok();
        self.stream.get_ref().set_read_timeout(usual).expect("a limit for a read");
        came
    }

    /// Appends one line with its CRLF. It is never empty.
    fn read_line(&mut self, frame: &mut Vec<u8>) -> io::Result<()> {
        let start = frame.len();
        self.stream.read_until(b'\n', frame)?;
        if !frame[start..].ends_with(b"\r\n") {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "connection closed within a frame"));
        }
        Ok(())
    }

    /// Appends exactly `length` bytes.
    fn read_body(&mut self, frame: &mut Vec<u8>, length: usize) -> io::Result<()> {
        let start = frame.len();
        frame.resize(start + length, 0);
        self.stream.read_exact(&mut frame[start..])
    }
}

/// Encodes a command in the form that every server reads: an array of bulk strings.
fn encode<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args.iter().map(AsRef::as_ref) {
        bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// The length or count in the head line of a frame; `None` for the -1 of a null.
fn announced(line: &[u8]) -> io::Result<Option<usize>> {
    let number = str::from_utf8(&line[1..]).ok().and_then(|text| text.trim_end().parse::<i64>().ok());
    match number {
        Some(number) => Ok(usize::try_from(number).ok()),
        None => Err(io::Error::new(io::ErrorKind::InvalidData, format!("odd head line {line:?}"))),
    }
}
