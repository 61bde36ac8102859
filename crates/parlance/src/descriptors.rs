//! How many files and sockets the process may open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::DescriptorLimit;

/// Raises the soft limit of this process to its hard limit: the soft one is for programs that use
/// `select`. Answers with what holds then.
pub(crate) fn raise() -> DescriptorLimit {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => DescriptorLimit(limit.maximum),
        Err(_) => DescriptorLimit(limit.current),
    }
}
