//! Whether a process should be given work.

use crate::node::Node;

/// What was looked at, and what is wrong with it.
pub type Check = (&'static str, Result<(), String>);

/// Everything that was looked at.
pub struct Readiness(pub Vec<Check>);

/// Looks at everything of a gateway once.
pub(crate) fn of_gateway(node: &Node) -> Readiness {
    let unless = |bad: bool, why: &str| if bad { Err(why.to_owned()) } else { Ok(()) };
    Readiness(vec![
        ("backend", (node.hooks.backend_health)()),
        (
            "draining",
            unless(node.is_draining(), "this node is leaving"),
        ),
        (
            "connections",
            unless(node.connections.is_full(), "limits.connections is reached"),
        ),
        (
            "pre_auth",
            unless(node.unverified.is_full(), "limits.pre_auth is reached"),
        ),
    ])
}

impl Readiness {
    pub(crate) fn is_ready(&self) -> bool {
        self.0.iter().all(|(_, check)| check.is_ok())
    }

    /// One line, or one for each check before it.
    pub(super) fn report(&self, verbose: bool) -> String {
        let mut report = String::new();
        for (name, check) in self.0.iter().filter(|_| verbose) {
            let state = check.as_ref().err().map_or("ok", String::as_str);
            report.push_str(&format!("{name}: {state}\n"));
        }
        report.push_str(if self.is_ready() {
            "ready\n"
        } else {
            "not ready\n"
        });
        report
    }
}
