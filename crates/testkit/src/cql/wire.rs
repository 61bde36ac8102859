//! A blocking client for the fourth version of CQL's binary protocol, as small as tests allow: it
//! logs in, runs statements without parameters, and reads text.

use std::{
    fmt,
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

const REQUEST_V4: u8 = 0x04;
/// A body begins with a list of warnings.
const FLAG_WARNING: u8 = 0x08;

const ERROR: u8 = 0x00;
const STARTUP: u8 = 0x01;
const READY: u8 = 0x02;
const AUTHENTICATE: u8 = 0x03;
const QUERY: u8 = 0x07;
const RESULT: u8 = 0x08;
const AUTH_RESPONSE: u8 = 0x0F;
const AUTH_SUCCESS: u8 = 0x10;

const KIND_ROWS: i32 = 2;
const ROWS_GLOBAL_TABLE: i32 = 0x01;
const ROWS_HAVE_MORE: i32 = 0x02;

/// The columns of a row as text; other types are to be selected by `CAST(… AS text)`.
pub type Row = Vec<Option<String>>;

/// How many copies answer before a statement counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    One,
    Quorum,
    All,
}

impl Consistency {
    fn code(self) -> u16 {
        match self {
            Self::One => 1,
            Self::Quorum => 4,
            Self::All => 5,
        }
    }
}

/// Why a server did not do what a statement says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// As the protocol numbers them: `0x1000` is "too few copies live", `0x2200` "invalid".
    pub code: i32,
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:#06x} {}", self.code, self.message)
    }
}

/// User and password.
pub(super) type Login = (&'static str, &'static str);

/// An open connection to one node.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
}

impl Connection {
    /// Waits at most `limit` for each part of an answer.
    pub(super) fn open(point: &str, login: Option<Login>, limit: Duration) -> io::Result<Self> {
        let stream = connect(point, limit)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        let mut connection = Self { stream };
        connection.log_in(login)?;
        Ok(connection)
    }

    fn log_in(&mut self, login: Option<Login>) -> io::Result<()> {
        let mut options = 1_u16.to_be_bytes().to_vec();
        push_string(&mut options, "CQL_VERSION");
        push_string(&mut options, "3.0.0");
        match self.ask(STARTUP, &options)?.0 {
            READY => return Ok(()),
            AUTHENTICATE => {}
            other => return Err(malformed(&format!("opcode {other} to a start"))),
        }
        let (user, password) = login.ok_or(io::ErrorKind::PermissionDenied)?;
        let mut token = Vec::new();
        push_long_string(&mut token, &format!("\0{user}\0{password}"));
        match self.ask(AUTH_RESPONSE, &token)?.0 {
            AUTH_SUCCESS => Ok(()),
            _ => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }

    /// Runs one statement on a quorum. Panics when the server refuses it.
    pub fn query(&mut self, statement: &str) -> Vec<Row> {
        match self.try_query(statement, Consistency::Quorum) {
            Ok(Ok(rows)) => rows,
            Ok(Err(refusal)) => panic!("the CQL server refused {statement}: {refusal}"),
            Err(error) => panic!("the CQL server did not answer {statement}: {error}"),
        }
    }

    /// Runs one statement; the inner error is the server's refusal.
    ///
    /// # Errors
    /// When the connection fails, nothing is answered in time, or the rows are of more than one
    /// page or no text. A statement may have been done all the same.
    pub fn try_query(
        &mut self,
        statement: &str,
        consistency: Consistency,
    ) -> io::Result<Result<Vec<Row>, Refusal>> {
        let mut body = Vec::new();
        push_long_string(&mut body, statement);
        body.extend(consistency.code().to_be_bytes());
        // No flags: no parameters, no pages.
        body.push(0);
        let (opcode, mut answer) = self.ask(QUERY, &body)?;
        match opcode {
            RESULT => answer.result().map(Ok),
            ERROR => answer.refusal().map(Err),
            other => Err(malformed(&format!("opcode {other} to a query"))),
        }
    }

    fn ask(&mut self, opcode: u8, body: &[u8]) -> io::Result<(u8, Body)> {
        let length = u32::try_from(body.len()).map_err(io::Error::other)?;
        let mut frame = vec![REQUEST_V4, 0, 0, 0, opcode];
        frame.extend(length.to_be_bytes());
        frame.extend(body);
        self.stream.write_all(&frame)?;
        self.read()
    }

    fn read(&mut self) -> io::Result<(u8, Body)> {
        let mut header = [0; 9];
        self.stream.read_exact(&mut header)?;
        let [_, flags, _, _, opcode, length @ ..] = header;
        let length = usize::try_from(u32::from_be_bytes(length)).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        let mut body = Body { bytes, at: 0 };
        if flags & FLAG_WARNING != 0 {
            for _ in 0..body.short()? {
                body.string()?;
            }
        }
        Ok((opcode, body))
    }
}

/// To the first of the host's addresses that takes connections.
fn connect(point: &str, limit: Duration) -> io::Result<TcpStream> {
    let mut failed = io::ErrorKind::AddrNotAvailable.into();
    for address in point.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, limit) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn push_string(to: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).expect("the words of a start are short");
    to.extend(length.to_be_bytes());
    to.extend(text.as_bytes());
}

fn push_long_string(to: &mut Vec<u8>, text: &str) {
    let length = u32::try_from(text.len()).expect("a statement is shorter than 4 GiB");
    to.extend(length.to_be_bytes());
    to.extend(text.as_bytes());
}

// === impl Body ===

/// What follows the header of a frame, and how far it is read.
struct Body {
    bytes: Vec<u8>,
    at: usize,
}

impl Body {
    fn result(&mut self) -> io::Result<Vec<Row>> {
        if self.int()? != KIND_ROWS {
            return Ok(Vec::new());
        }
        let flags = self.int()?;
        if flags & ROWS_HAVE_MORE != 0 {
            return Err(malformed("a page, where none was asked for"));
        }
        let columns = self.int()?;
        if flags & ROWS_GLOBAL_TABLE != 0 {
            self.skip_strings(2)?;
        }
        for _ in 0..columns {
            let table = if flags & ROWS_GLOBAL_TABLE != 0 { 0 } else { 2 };
            self.skip_strings(table + 1)?;
            self.skip_type()?;
        }
        let rows = self.int()?;
        (0..rows).map(|_| self.row(columns)).collect()
    }

    fn row(&mut self, columns: i32) -> io::Result<Row> {
        (0..columns).map(|_| self.text()).collect()
    }

    fn text(&mut self) -> io::Result<Option<String>> {
        let Ok(length) = usize::try_from(self.int()?) else {
            return Ok(None);
        };
        let bytes = self.take(length)?.to_vec();
        String::from_utf8(bytes)
            .map(Some)
            .map_err(|_| malformed("a column that is no text"))
    }

    fn refusal(&mut self) -> io::Result<Refusal> {
        Ok(Refusal {
            code: self.int()?,
            message: self.string()?,
        })
    }

    fn skip_type(&mut self) -> io::Result<()> {
        match self.short()? {
            // Custom: the name of a class.
            0x00 => self.skip_strings(1),
            // List, set.
            0x20 | 0x22 => self.skip_type(),
            // Map.
            0x21 => self.skip_type().and_then(|()| self.skip_type()),
            // A user's type: its fields have names.
            0x30 => {
                self.skip_strings(2)?;
                (0..self.short()?).try_for_each(|_| {
                    self.skip_strings(1)?;
                    self.skip_type()
                })
            }
            // Tuple.
            0x31 => (0..self.short()?).try_for_each(|_| self.skip_type()),
            _ => Ok(()),
        }
    }

    fn skip_strings(&mut self, count: usize) -> io::Result<()> {
        (0..count).try_for_each(|_| self.string().map(drop))
    }

    fn string(&mut self) -> io::Result<String> {
        let length = usize::from(self.short()?);
        Ok(String::from_utf8_lossy(self.take(length)?).into_owned())
    }

    fn short(&mut self) -> io::Result<u16> {
        let bytes = self.take(2)?.try_into().expect("two were taken");
        Ok(u16::from_be_bytes(bytes))
    }

    fn int(&mut self) -> io::Result<i32> {
        let bytes = self.take(4)?.try_into().expect("four were taken");
        Ok(i32::from_be_bytes(bytes))
    }

    fn take(&mut self, count: usize) -> io::Result<&[u8]> {
        let taken = self.bytes.get(self.at..self.at + count);
        self.at += count;
        taken.ok_or_else(|| malformed("a body that ends early"))
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the server sent {what}"),
    )
}
