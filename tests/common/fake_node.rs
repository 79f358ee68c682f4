//! A node that answers whatever bytes a test wants, for what no real server can be made to send.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

/// Listens on a port of its own until the test ends.
pub struct FakeNode {
    port: u16,
}

type Answer = dyn Fn(&[Vec<u8>]) -> Vec<u8> + Send + Sync;

impl FakeNode {
    /// Greets as a server does, and answers every other command with these bytes.
    pub fn answering(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::with(move |command| {
            let greeting: &[u8] = b"%1\r\n$5\r\nproto\r\n:3\r\n";
            if command[0].eq_ignore_ascii_case(b"HELLO") { greeting.into() } else { bytes.clone() }
        })
    }

    /// Answers every command, its name first, with what this gives.
    pub fn with(answer: impl Fn(&[Vec<u8>]) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let answer: Arc<Answer> = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answer = answer.clone();
                // Ends when the other side closes the connection, which it does with its process at the latest.
                thread::spawn(move || serve(stream, &*answer));
            }
        });
        Self { port }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

fn serve(stream: TcpStream, answer: &Answer) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let command = read_command(&mut reader)?;
        writer.write_all(&answer(&command)).ok()?;
    }
}

/// Reads a whole command, which has a name at the least.
fn read_command(reader: &mut impl BufRead) -> Option<Vec<Vec<u8>>> {
    let count = read_number(reader)?;
    let args = (0..count).map(|_| {
        let mut arg = vec![0; read_number(reader)? + 2];
        reader.read_exact(&mut arg).ok()?;
        arg.truncate(arg.len() - 2);
        Some(arg)
    });
    args.collect::<Option<Vec<_>>>().filter(|args| !args.is_empty())
}

fn read_number(reader: &mut impl BufRead) -> Option<usize> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    line.trim_end().get(1..)?.parse().ok()
}
