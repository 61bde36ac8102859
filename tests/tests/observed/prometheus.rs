//! A Prometheus with the committed configuration and rules, and `promtool`.
//!
//! The configuration is changed in three things: who is scraped, how often, and where the rules lie.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
};

use parlance_testkit::dial::DEADLINE;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use tempfile::TempDir;

const MISSING: &str = "prometheus and promtool are installed; `make tools` does it";

/// A rule as Prometheus has read it.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) query: String,
    pub(crate) kind: RuleKind,
}

#[derive(Debug)]
pub(crate) enum RuleKind {
    Recording,
    Alert { labels: Value, annotations: Value },
}

/// A running Prometheus; killed when dropped.
#[derive(Debug)]
pub(crate) struct Prometheus {
    child: Child,
    address: SocketAddr,
    _dir: TempDir,
}

/// The directory `deploy` of this repository.
pub(crate) fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

/// The files with this ending in a directory, in order.
pub(crate) fn files(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("the directory is there");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.to_string_lossy().ends_with(ending));
    files.sort();
    assert!(!files.is_empty(), "no {ending} in {}", directory.display());
    files
}

/// Runs `promtool` in `deploy/prometheus`, and fails with what it said.
pub(crate) fn promtool(arguments: &[&str], input: &str) {
    let mut child = Command::new("promtool")
        .args(arguments)
        .current_dir(deploy().join("prometheus"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect(MISSING);
    let mut stdin = child.stdin.take().unwrap();
    // One that reads nothing has closed it.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let ended = child.wait_with_output().unwrap();
    assert!(
        ended.status.success(),
        "promtool {}: {}\n{}{}",
        arguments.join(" "),
        ended.status,
        String::from_utf8_lossy(&ended.stdout),
        String::from_utf8_lossy(&ended.stderr),
    );
}

impl Prometheus {
    /// With the committed rules, and these to scrape each second.
    pub(crate) fn start(gateways: &[SocketAddr], persisters: &[SocketAddr]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("prometheus.yaml");
        fs::write(&config, configuration(gateways, persisters)).unwrap();
        let mut child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().display()))
            .arg("--web.listen-address=127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect(MISSING);
        let log = lines(child.stderr.take().unwrap());
        let mut running = Self {
            child,
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
            _dir: dir,
        };
        running.address = address(&log);
        running
    }

    /// All rules, as it has read them.
    pub(crate) fn rules(&self) -> Vec<Rule> {
        let answer = self.get("/api/v1/rules");
        let groups = answer["data"]["groups"].as_array().unwrap();
        let rules = groups.iter().map(|group| group["rules"].as_array());
        let rules: Vec<Rule> = rules.flat_map(|rules| rules.unwrap()).map(rule).collect();
        assert!(!rules.is_empty(), "no rules in {answer}");
        rules
    }

    /// What it answers to a query now: the values of all series, or what is wrong with the query.
    pub(crate) fn ask(&self, query: &str) -> Result<Vec<f64>, String> {
        let query = utf8_percent_encode(query, NON_ALPHANUMERIC);
        let answer = self.get(&format!("/api/v1/query?query={query}"));
        let Some(series) = answer["data"]["result"].as_array() else {
            return Err(answer.to_string());
        };
        let value = |one: &Value| one["value"][1].as_str()?.parse().ok();
        let values: Option<Vec<f64>> = series.iter().map(value).collect();
        values.ok_or_else(|| format!("no instant vector: {answer}"))
    }

    /// By HTTP 1.0, so that the answer comes in one piece.
    fn get(&self, path: &str) -> Value {
        let mut stream = TcpStream::connect_timeout(&self.address, DEADLINE).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{path}: {error}: {answer}"))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(gateways: &[SocketAddr], persisters: &[SocketAddr]) -> String {
    let directory = deploy().join("prometheus").canonicalize().unwrap();
    let committed = fs::read_to_string(directory.join("prometheus.yaml")).unwrap();
    let rules = directory.join("rules/*.yaml").display().to_string();
    let mut changed = committed;
    for (there, here) in [
        (
            r#"["gateway-1:9090", "gateway-2:9090"]"#,
            json!(gateways).to_string(),
        ),
        (r#"["persister:9090"]"#, json!(persisters).to_string()),
        ("scrape_interval: 15s", "scrape_interval: 1s".to_owned()),
        (
            "evaluation_interval: 15s",
            "evaluation_interval: 1s".to_owned(),
        ),
        ("rules/*.yaml", rules),
    ] {
        let times = changed.matches(there).count();
        assert_eq!(times, 1, "prometheus.yaml has {there} {times} times");
        changed = changed.replace(there, &here);
    }
    changed
}

fn lines(stderr: ChildStderr) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        // It is read to its end, so that the process never waits for a reader.
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    lines
}

/// Where it listens, once it is ready.
fn address(log: &Receiver<String>) -> SocketAddr {
    let mut said = Vec::new();
    let mut address = None;
    loop {
        let Ok(line) = log.recv_timeout(DEADLINE) else {
            panic!("prometheus is not ready:\n{}", said.join("\n"));
        };
        if line.contains(r#"msg="Listening on""#) {
            address = line.split("address=").nth(1).map(str::to_owned);
        }
        if line.contains("Server is ready to receive web requests") {
            let address = address.expect("it listens before it is ready");
            return address.parse().expect("an address and a port");
        }
        said.push(line);
    }
}

fn rule(rule: &Value) -> Rule {
    let text = |key: &str| rule[key].as_str().unwrap().to_owned();
    Rule {
        name: text("name"),
        query: text("query"),
        kind: match rule["type"].as_str().unwrap() {
            "recording" => RuleKind::Recording,
            "alerting" => RuleKind::Alert {
                labels: rule["labels"].clone(),
                annotations: rule["annotations"].clone(),
            },
            other => panic!("a rule of the kind {other}"),
        },
    }
}

/// The page of an admin listener.
pub(crate) fn scrape(admin: SocketAddr) -> String {
    let mut stream = TcpStream::connect_timeout(&admin, DEADLINE).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(stream, "GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.contains(" 200 "), "{head}");
    body.to_owned()
}
