//! Runs the real binary, in a directory and an environment of its own.

use std::{
    io::{BufRead, BufReader, Write, read_to_string},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Long enough to be taken.
pub(crate) const SECRET: &str = "a secret of the tests: 0123456789abcdef0123456789abcdef";
const DEADLINE: Duration = Duration::from_secs(30);

/// A directory to run commands in, and their environment.
pub(crate) struct Place {
    pub(crate) dir: TempDir,
    variables: Vec<(String, String)>,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A running `parlance serve`, `gateway` or `persister`.
pub(crate) struct Server {
    child: Child,
    log: Receiver<String>,
    pub(crate) lines: Vec<String>,
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Ended {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            variables: Vec::new(),
        }
    }

    pub(crate) fn with_secret() -> Self {
        Self::new().variable("PARLANCE_AUTH__HMAC_SECRET", SECRET)
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Writes a file of the directory.
    pub(crate) fn file(self, name: &str, text: &str) -> Self {
        std::fs::write(self.dir.path().join(name), text).unwrap();
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_parlance"));
        command
            .args(arguments)
            .env_clear()
            .envs(self.variables.iter().cloned())
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.command(arguments).output().unwrap())
    }

    /// Says these lines in a conversation, at a node, and answers with how the client ended.
    pub(crate) fn chat(&self, sub: &str, node: SocketAddr, lines: &str) -> Ended {
        let url = format!("ws://{node}");
        let mut child = self
            .command(&["chat", "lobby", "--sub", sub, "--url", &url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(lines.as_bytes())
            .unwrap();
        Ended::of(child.wait_with_output().unwrap())
    }

    /// Starts `serve` on ports that the system chooses, and waits until it serves.
    pub(crate) fn serve(&self, arguments: &[&str]) -> Server {
        let ports = ["serve", "--listen", "127.0.0.1:0"];
        self.start(&ports, arguments, "serving")
    }

    /// Starts `gateway` likewise.
    pub(crate) fn gateway(&self, redis_url: &str) -> Server {
        let ports = ["gateway", "--listen", "127.0.0.1:0"];
        self.start(&ports, &["--redis-url", redis_url], "serving")
    }

    /// Starts `persister` likewise; it has no public port.
    pub(crate) fn persister(&self, redis_url: &str) -> Server {
        self.start(&["persister"], &["--redis-url", redis_url], "persisting")
    }

    fn start(&self, command: &[&str], arguments: &[&str], begun: &str) -> Server {
        let ports = [command, &["--admin-listen", "127.0.0.1:0"]].concat();
        let mut child = self
            .command(&[&*ports, arguments].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = child.stderr.take().unwrap();
        let (send, log) = channel();
        thread::spawn(move || {
            let lines = BufReader::new(stderr).lines().map_while(Result::ok);
            // Nobody reads on when the test is over.
            lines
                .take_while(|line| send.send(line.clone()).is_ok())
                .for_each(drop);
        });
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut server = Server {
            child,
            log,
            lines: Vec::new(),
            listen: unknown,
            admin: unknown,
        };
        let line = server.wait_for_line(begun);
        let address = |name: &str| line[name].as_str().map(|text| text.parse().unwrap());
        server.listen = address("listen").unwrap_or(unknown);
        server.admin = address("admin").unwrap();
        server
    }
}

impl Server {
    /// Waits for a log line with this message.
    #[track_caller]
    pub(crate) fn wait_for_line(&mut self, message: &str) -> Value {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.log.recv_timeout(left) else {
                panic!("no line {message:?} in: {:#?}", self.lines);
            };
            self.lines.push(line.clone());
            match serde_json::from_str::<Value>(&line) {
                Ok(value) if value["message"] == message => return value,
                Ok(_) | Err(_) => {}
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    /// Waits for the end, and answers with the exit code and what was printed.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.log.recv_timeout(left) {
                Ok(line) => self.lines.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it does not end"),
            }
        }
        self.child.wait().unwrap().code()
    }

    /// What was printed to stdout until its end.
    pub(crate) fn stdout(&mut self) -> String {
        let stdout = self.child.stdout.take().unwrap();
        read_to_string(stdout).unwrap()
    }

    /// Waits until `/readyz` answers with this status.
    #[track_caller]
    pub(crate) fn wait_for_readiness(&self, status: u16) {
        let deadline = Instant::now() + DEADLINE;
        let wanted = format!("HTTP/1.1 {status}");
        loop {
            let answer = self.admin_get("/readyz?verbose");
            if answer.starts_with(&wanted) {
                return;
            }
            assert!(Instant::now() < deadline, "no {status}: {answer}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The body of an answer of the admin listener.
    pub(crate) fn admin_get(&self, path: &str) -> String {
        get(self.admin, path)
    }

    /// Waits until a metric without labels has this value.
    #[track_caller]
    pub(crate) fn wait_for_metric(&self, name: &str, value: f64) {
        let deadline = Instant::now() + DEADLINE;
        while self.metrics([name]) != [value] {
            assert!(Instant::now() < deadline, "{name} does not become {value}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// What metrics without labels have at one moment.
    #[track_caller]
    pub(crate) fn metrics<const N: usize>(&self, names: [&str; N]) -> [f64; N] {
        let page = self.admin_get("/metrics");
        names.map(|name| {
            let mut lines = page.lines();
            let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            let value = value.and_then(|value| value.parse().ok());
            value.unwrap_or_else(|| panic!("no {name} in {page}"))
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ended already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One GET over a connection of its own: the whole answer.
pub(crate) fn get(address: SocketAddr, path: &str) -> String {
    ask(address, &format!("GET {path}"), "x")
}

/// One request without a body over a connection of its own: the whole answer.
pub(crate) fn ask(address: SocketAddr, method_and_path: &str, host: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(
        stream,
        "{method_and_path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    read_to_string(stream).unwrap()
}
