//! The opening of a connection: options, the HTTP upgrade as plain text, and its answer.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::client::Client;

/// Everything in the test kit waits at most this long.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// The key of the RFC's example, and what a server must make of it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Where the token stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenPlace {
    /// `?token=`
    Query,
    /// `Authorization: Bearer`
    Header,
    /// `Sec-WebSocket-Protocol: parlance.v1, bearer.<jwt>`
    Subprotocol,
}

/// A connection to be opened.
#[derive(Debug, Clone)]
pub struct Dial {
    address: SocketAddr,
    path: String,
    query: Vec<String>,
    headers: Vec<(String, String)>,
}

/// What came instead of an upgrade.
#[derive(Debug, Clone)]
pub struct HttpAnswer {
    /// The status code.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, as far as it was announced.
    pub body: String,
}

impl HttpAnswer {
    /// The first value of `name` (lower case).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

impl Dial {
    /// To `/conversations/{conversation}/` with the headers of a correct upgrade.
    #[must_use]
    pub fn new(address: SocketAddr, conversation: &str) -> Self {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Self {
            address,
            path: format!("/conversations/{conversation}/"),
            query: Vec::new(),
            headers: vec![
                header("Host", &address.to_string()),
                header("Connection", "Upgrade"),
                header("Upgrade", "websocket"),
                header("Sec-WebSocket-Version", "13"),
                header("Sec-WebSocket-Key", KEY),
            ],
        }
    }

    /// Another path than that of the conversation.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// With this token, in this place.
    #[must_use]
    pub fn token(self, token: &str, place: TokenPlace) -> Self {
        match place {
            TokenPlace::Query => self.query(&format!("token={token}")),
            TokenPlace::Header => self.header("Authorization", &format!("Bearer {token}")),
            TokenPlace::Subprotocol => self.header(
                "Sec-WebSocket-Protocol",
                &format!("parlance.v1, bearer.{token}"),
            ),
        }
    }

    /// The extended layer (`v=1`).
    #[must_use]
    pub fn extended(self) -> Self {
        self.query("v=1")
    }

    /// Resume after this position.
    #[must_use]
    pub fn since(self, position: &str) -> Self {
        self.query(&format!("since={position}"))
    }

    /// One more `name=value` in the query.
    #[must_use]
    pub fn query(mut self, pair: &str) -> Self {
        self.query.push(pair.to_owned());
        self
    }

    /// One more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Without this header.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers
            .retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        self
    }

    /// Connects. Panics when the server refuses by HTTP.
    pub async fn connect(self) -> Client {
        match self.open().await {
            Ok((client, _)) => client,
            Err(answer) => panic!("the upgrade was refused: {answer:?}"),
        }
    }

    /// Connects to a server that may just be gone.
    ///
    /// # Errors
    /// Why there is no connection.
    pub async fn try_connect(self) -> Result<Client, String> {
        match try_exchange(self.address, self.text().as_bytes()).await {
            Ok((stream, answer)) if answer.status == 101 => Ok(Client::over(stream)),
            Ok((_, answer)) => Err(format!("{answer:?}")),
            Err(error) => Err(format!("{error:#}")),
        }
    }

    /// Connects and gives the HTTP answer, too.
    ///
    /// # Errors
    /// The server's HTTP answer when that is not 101.
    pub async fn open(self) -> Result<(Client, HttpAnswer), HttpAnswer> {
        let (stream, answer) = exchange(self.address, self.text().as_bytes()).await;
        if answer.status != 101 {
            return Err(answer);
        }
        assert_eq!(
            answer.header("sec-websocket-accept"),
            Some(ACCEPT),
            "the server must prove that it read the key"
        );
        Ok((Client::over(stream), answer))
    }

    /// The HTTP answer of a dial that must be refused.
    pub async fn refused(self) -> HttpAnswer {
        match self.open().await {
            Ok((_, answer)) => panic!("expected a refusal, got {answer:?}"),
            Err(answer) => answer,
        }
    }

    fn text(&self) -> String {
        let query = match self.query.join("&") {
            none if none.is_empty() => none,
            pairs => format!("?{pairs}"),
        };
        let mut text = format!("GET {}{query} HTTP/1.1\r\n", self.path);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        text
    }
}

/// Sends `request` as it is and reads one HTTP answer. The stream may be used on.
pub async fn exchange(address: SocketAddr, request: &[u8]) -> (TcpStream, HttpAnswer) {
    match try_exchange(address, request).await {
        Ok(done) => done,
        Err(error) => panic!("no HTTP answer from {address}: {error:#}"),
    }
}

async fn try_exchange(
    address: SocketAddr,
    request: &[u8],
) -> anyhow::Result<(TcpStream, HttpAnswer)> {
    let talk = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        stream.write_all(request).await?;
        let answer = read_answer(&mut stream).await?;
        Ok((stream, answer))
    };
    match timeout(DEADLINE, talk).await {
        Ok(done) => done,
        Err(_) => anyhow::bail!("none within {DEADLINE:?}"),
    }
}

/// Byte by byte up to the empty line: what follows belongs to the next reader.
async fn read_answer(stream: &mut TcpStream) -> anyhow::Result<HttpAnswer> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head)?;
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let status: u16 = status.unwrap_or_default().parse()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.map_or(Ok(0), |(_, value)| value.parse())?];
    stream.read_exact(&mut body).await?;
    Ok(HttpAnswer {
        status,
        headers,
        body: String::from_utf8(body)?,
    })
}
