//! The floor of an append: nothing but one `XADD` per message.
//!
//! Eight connections take turns, each with sixteen commands under way. No sequence, no name, no
//! news, no script: what it costs is what keeping a message costs Redis at the least.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, TcpStream},
};

use anyhow::bail;

const CONNECTIONS: u64 = 8;
const DEPTH: u64 = 16;

/// Where the messages go.
pub(crate) struct Floor {
    connections: Vec<BufReader<TcpStream>>,
    conversations: u64,
    value: String,
    /// Messages so far.
    sent: u64,
}

impl Floor {
    /// Connects to a server.
    pub(crate) fn open(port: u16, conversations: u64, value_bytes: usize) -> anyhow::Result<Self> {
        let open = |_| -> anyhow::Result<_> {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            stream.set_nodelay(true)?;
            Ok(BufReader::new(stream))
        };
        Ok(Self {
            connections: (0..CONNECTIONS).map(open).collect::<anyhow::Result<_>>()?,
            conversations,
            value: "x".repeat(value_bytes),
            sent: 0,
        })
    }

    /// Sends at least so many and waits for all answers. Gives how many they were.
    pub(crate) fn send(&mut self, messages: u64) -> anyhow::Result<u64> {
        let turns = messages.div_ceil(CONNECTIONS * DEPTH);
        for turn in 0..=turns {
            for index in 0..self.connections.len() {
                if turn > 0 {
                    self.take_answers(index)?;
                }
                if turn < turns {
                    self.send_some(index)?;
                }
            }
        }
        Ok(turns * CONNECTIONS * DEPTH)
    }

    fn send_some(&mut self, index: usize) -> anyhow::Result<()> {
        let mut commands = String::new();
        for _ in 0..DEPTH {
            let (conversation, id) = (
                self.sent % self.conversations,
                self.sent / self.conversations,
            );
            self.sent += 1;
            let key = format!("{{p{:02x}}}:l:room-{conversation}", conversation % 256);
            // As long as an id is where there is no store.
            let id = format!("{}-0", 79_180_000_000_001 + id);
            let parts = ["XADD", &*key, &*id, "m", &*self.value];
            commands += &format!("*{}\r\n", parts.len());
            for part in parts {
                commands += &format!("${}\r\n{part}\r\n", part.len());
            }
        }
        self.connections[index]
            .get_mut()
            .write_all(commands.as_bytes())?;
        Ok(())
    }

    fn take_answers(&mut self, index: usize) -> anyhow::Result<()> {
        let mut line = String::new();
        for _ in 0..DEPTH {
            for begins_with in ['$', '7'] {
                line.clear();
                self.connections[index].read_line(&mut line)?;
                if !line.starts_with(begins_with) {
                    bail!("Redis answered XADD with {line:?}");
                }
            }
        }
        Ok(())
    }
}
