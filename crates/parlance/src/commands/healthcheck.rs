//! `parlance healthcheck`: asks the node on this machine whether it is ready.
//!
//! HTTP by hand over a plain socket: one request, one status line, and a deadline for all of it.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail};

use crate::{
    cli::{Global, Healthcheck},
    commands::{load, reachable},
    config::Purpose,
    failure::{Exit, Failure},
};

const DEADLINE: Duration = Duration::from_secs(2);
/// Far above any answer of a node.
const ANSWER_BYTES: u64 = 16 * 1024;

pub(crate) fn run(global: &Global, healthcheck: Healthcheck) -> Result<(), Failure> {
    let address = ("admin.listen", "--admin-listen", healthcheck.admin_listen);
    let listen = load(global, [address], Purpose::Beside)?
        .config
        .admin_listen;
    let address = reachable(listen);
    ask(address)
        .with_context(|| format!("the node at {address} is not ready"))
        .map_err(|error| Failure::new(Exit::Unavailable, error))
}

fn ask(address: SocketAddr) -> anyhow::Result<()> {
    let deadline = Instant::now() + DEADLINE;
    let mut stream = TcpStream::connect_timeout(&address, DEADLINE)?;
    let request =
        format!("GET /readyz?verbose HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.set_write_timeout(Some(DEADLINE))?;
    stream.write_all(request.as_bytes())?;
    judge(&read_until(&mut stream, deadline)?)
}

/// Reads to the end or to the deadline, whichever is first.
fn read_until(stream: &mut TcpStream, deadline: Instant) -> io::Result<String> {
    let mut answer = Vec::new();
    let mut piece = [0; 1024];
    while (answer.len() as u64) < ANSWER_BYTES {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut piece)? {
            0 => break,
            bytes => answer.extend_from_slice(&piece[..bytes]),
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn judge(answer: &str) -> anyhow::Result<()> {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let status = head.split(' ').nth(1).unwrap_or_default();
    match (head.starts_with("HTTP/1.1 "), status) {
        (true, "200") => Ok(()),
        (true, "503") => bail!("{}", reasons(body)),
        (true, status) => Err(anyhow!(
            "it answers {status}: is that the address of `admin.listen`?"
        )),
        (false, _) => Err(anyhow!("what listens there does not speak HTTP")),
    }
}

/// The lines of the report that are not fine.
fn reasons(body: &str) -> String {
    let bad = |line: &&str| !line.ends_with(": ok") && *line != "not ready" && !line.is_empty();
    let reasons: Vec<_> = body.lines().filter(bad).collect();
    reasons.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_503_is_not_ready_and_says_why() {
        let answer = "HTTP/1.1 503 Service Unavailable\r\nx: y\r\n\r\n\
                      backend: ok\ndraining: this node is leaving\nnot ready\n";
        let error = judge(answer).unwrap_err().to_string();
        assert_eq!(error, "draining: this node is leaving");
    }

    #[test]
    fn only_200_is_ready() {
        assert!(judge("HTTP/1.1 200 OK\r\n\r\nready\n").is_ok());
        for answer in [
            "",
            "HTTP/1.1 404 Not Found\r\n\r\n",
            "SSH-2.0-x\r\n",
            "HTTP/1.1 2000\r\n",
        ] {
            assert!(judge(answer).is_err(), "{answer:?}");
        }
    }
}
