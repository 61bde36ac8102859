//! A blocking client for the second version of Redis's protocol, as small as tests allow.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
};

use crate::dial::DEADLINE;

/// What Redis answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing there.
    Nil,
    /// A whole number.
    Integer(i64),
    /// A status or a string.
    Bytes(Vec<u8>),
    /// Several.
    List(Vec<Value>),
    /// A refusal inside a list; a whole answer that is one is an `Err` or a panic.
    Error(String),
}

impl Value {
    /// The string, or panics with what is there.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Self::Nil | Self::Integer(_) | Self::List(_) | Self::Error(_) => {
                panic!("expected a string, got {self:?}")
            }
        }
    }

    /// The number, or panics with what is there.
    #[must_use]
    pub fn integer(&self) -> i64 {
        match self {
            Self::Integer(number) => *number,
            Self::Nil | Self::Bytes(_) | Self::List(_) | Self::Error(_) => {
                panic!("expected a number, got {self:?}")
            }
        }
    }

    /// The list, or panics with what is there.
    #[must_use]
    pub fn list(&self) -> &[Value] {
        match self {
            Self::List(values) => values,
            Self::Nil | Self::Integer(_) | Self::Bytes(_) | Self::Error(_) => {
                panic!("expected a list, got {self:?}")
            }
        }
    }
}

/// Who a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Login {
    /// Nobody in particular.
    Default,
    /// A user that may do everything, beside those that a test brings.
    TestKit,
}

impl Login {
    pub(super) fn acl_line(self) -> &'static str {
        match self {
            Self::Default => "user default on nopass ~* &* +@all",
            Self::TestKit => "user testkit on nopass ~* &* +@all",
        }
    }
}

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    pub(super) fn open(port: u16, login: Login) -> io::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream = TcpStream::connect_timeout(&address, DEADLINE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        let mut connection = Self {
            stream: BufReader::new(stream),
        };
        match login {
            Login::Default => {}
            Login::TestKit => {
                let answer = connection.try_cmd(&["AUTH", "testkit", "any"])?;
                answer.map_err(io::Error::other)?;
            }
        }
        Ok(connection)
    }

    /// Runs one command. Panics when Redis refuses it.
    pub fn cmd(&mut self, command: &[&str]) -> Value {
        match self.try_cmd(command) {
            Ok(Ok(value)) => value,
            Ok(Err(refusal)) => panic!("redis refused {command:?}: {refusal}"),
            Err(error) => panic!("redis did not answer {command:?}: {error}"),
        }
    }

    /// Runs one command; the inner error is Redis's refusal.
    ///
    /// # Errors
    /// When the connection fails or nothing is answered in time.
    pub fn try_cmd(&mut self, command: &[&str]) -> io::Result<Result<Value, String>> {
        let mut request = format!("*{}\r\n", command.len()).into_bytes();
        for part in command {
            request.extend_from_slice(format!("${}\r\n{part}\r\n", part.len()).as_bytes());
        }
        self.stream.get_mut().write_all(&request)?;
        Ok(match self.read()? {
            Value::Error(refusal) => Err(refusal),
            value @ (Value::Nil | Value::Integer(_) | Value::Bytes(_) | Value::List(_)) => {
                Ok(value)
            }
        })
    }

    /// A field of `INFO`. Panics when there is none.
    pub fn info(&mut self, field: &str) -> String {
        let found = self.find_info(field);
        found.unwrap_or_else(|| panic!("INFO has no field {field}, or no answer came"))
    }

    /// A field of `INFO`, if the server answers and has it: in another role it has other fields,
    /// and a change of the role ends connections.
    pub(super) fn find_info(&mut self, field: &str) -> Option<String> {
        let info = self.try_cmd(&["INFO", "everything"]).ok()?.ok()?.text();
        let mut fields = info.lines().filter_map(|line| line.split_once(':'));
        let (_, value) = fields.find(|(name, _)| *name == field)?;
        Some(value.trim_end().to_owned())
    }

    fn read(&mut self) -> io::Result<Value> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end();
        let (kind, rest) = line.split_at(line.len().min(1));
        match kind {
            "+" => Ok(Value::Bytes(rest.as_bytes().to_vec())),
            "-" => Ok(Value::Error(rest.to_owned())),
            ":" => Ok(Value::Integer(number(rest)?)),
            "$" | "*" if rest == "-1" => Ok(Value::Nil),
            "$" => self.read_bytes(size(rest)?),
            "*" => (0..size(rest)?)
                .map(|_| self.read())
                .collect::<io::Result<_>>()
                .map(Value::List),
            _ => Err(malformed(line)),
        }
    }

    fn read_bytes(&mut self, size: usize) -> io::Result<Value> {
        let mut bytes = vec![0; size + 2];
        self.stream.read_exact(&mut bytes)?;
        bytes.truncate(size);
        Ok(Value::Bytes(bytes))
    }
}

fn number(text: &str) -> io::Result<i64> {
    text.parse().map_err(|_| malformed(text))
}

fn size(text: &str) -> io::Result<usize> {
    text.parse().map_err(|_| malformed(text))
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}
