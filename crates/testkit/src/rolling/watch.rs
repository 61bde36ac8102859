//! What gateways say of themselves, once a second: whom they let in, and whom they hold.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::server::locked;

const EVERY: Duration = Duration::from_secs(1);
/// For an answer. A gateway that takes longer has no figure for that second.
const PATIENCE: Duration = Duration::from_secs(5);
const JOINED: &str = r#"parlance_accepts_total{outcome="joined"}"#;
const MEMBERS: &str = "parlance_connections";

/// One look at all of them.
#[derive(Debug, Clone)]
pub(super) struct Look {
    pub(super) at: Instant,
    /// By name.
    pub(super) gateways: BTreeMap<String, Figures>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Figures {
    /// Whether new members are sent to it.
    pub(super) accepts: bool,
    /// New members a second since the last look; nothing at the first.
    pub(super) joined_per_second: Option<f64>,
    pub(super) members: f64,
}

impl Look {
    /// New members a second at all gateways.
    pub(super) fn joined_per_second(&self) -> f64 {
        let each = self.gateways.values();
        each.filter_map(|figures| figures.joined_per_second).sum()
    }

    /// The members of those that accept.
    pub(super) fn members(&self) -> Vec<f64> {
        let accepting = self.gateways.values().filter(|figures| figures.accepts);
        accepting.map(|figures| figures.members).collect()
    }
}

#[derive(Debug)]
struct Watched {
    admin: SocketAddr,
    accepts: bool,
    last: Option<(Instant, f64)>,
}

/// Who is watched, and what was seen.
#[derive(Debug, Default)]
pub(super) struct Watch {
    gateways: Mutex<BTreeMap<String, Watched>>,
    looks: Mutex<Vec<Look>>,
}

impl Watch {
    /// From now on new members are sent to it.
    pub(super) fn add(&self, name: &str, admin: SocketAddr) {
        let watched = Watched {
            admin,
            accepts: true,
            last: None,
        };
        locked(&self.gateways).insert(name.to_owned(), watched);
    }

    /// From now on none are.
    pub(super) fn leaves(&self, name: &str) {
        if let Some(watched) = locked(&self.gateways).get_mut(name) {
            watched.accepts = false;
        }
    }

    /// It is no more.
    pub(super) fn remove(&self, name: &str) {
        locked(&self.gateways).remove(name);
    }

    /// Looks until it is told to stop.
    pub(super) fn run(&self, stop: &AtomicBool) {
        let mut next = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            self.look();
            next += EVERY;
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }

    /// Everything that was seen since.
    pub(super) fn since(&self, begin: Instant) -> Vec<Look> {
        let looks = locked(&self.looks);
        looks
            .iter()
            .filter(|look| look.at >= begin)
            .cloned()
            .collect()
    }

    pub(super) fn last(&self) -> Option<Look> {
        locked(&self.looks).last().cloned()
    }

    fn look(&self) {
        let asked: Vec<(String, SocketAddr)> = locked(&self.gateways)
            .iter()
            .map(|(name, watched)| (name.clone(), watched.admin))
            .collect();
        let mut look = Look {
            at: Instant::now(),
            gateways: BTreeMap::new(),
        };
        for (name, admin) in asked {
            // One that is about to end need not answer.
            let Ok(page) = metrics(admin) else { continue };
            let at = Instant::now();
            let joined = sample(&page, JOINED);
            let mut gateways = locked(&self.gateways);
            let Some(watched) = gateways.get_mut(&name) else {
                continue;
            };
            let last = watched.last.replace((at, joined));
            let rate = last.map(|(then, before)| {
                (joined - before) / at.duration_since(then).as_secs_f64().max(1e-3)
            });
            let figures = Figures {
                accepts: watched.accepts,
                joined_per_second: rate,
                members: sample(&page, MEMBERS),
            };
            look.gateways.insert(name, figures);
        }
        locked(&self.looks).push(look);
    }
}

fn metrics(admin: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&admin, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )?;
    io::read_to_string(stream)
}

/// The value of one series; 0 while it is not there.
fn sample(page: &str, series: &str) -> f64 {
    let value = |line: &str| line.strip_prefix(series)?.trim().parse().ok();
    page.lines().find_map(value).unwrap_or(0.0)
}

/// The series for a report: a row for each second.
pub(super) fn to_json(looks: &[Look], begin: Instant) -> Value {
    let row = |look: &Look| {
        let gateways: BTreeMap<&String, Value> = look
            .gateways
            .iter()
            .map(|(name, figures)| {
                let rate = figures.joined_per_second.map(f64::round);
                (name, json!([rate, figures.members, figures.accepts]))
            })
            .collect();
        let at_s = look.at.saturating_duration_since(begin).as_secs_f64();
        json!({"at_s": (at_s * 10.0).round() / 10.0, "gateways": gateways})
    };
    looks.iter().map(row).collect()
}
