//! What a process costs, read from the kernel, and where and how urgently it runs.
//!
//! The clocks of processes are the kernel's own, not the ticks of `/proc`: a server that has little to do
//! uses few of those in a second.

use std::{process::Command, time::Duration};

use anyhow::Context as _;
use rustix::process::Pid;

/// The CPU time of process `pid` so far, all its threads, those that ended too, user and system.
///
/// # Errors
/// When there is no such process, or the system is not Linux.
#[cfg(target_os = "linux")]
pub fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    // The kernel gives no higher ids. The name of a clock has no room for them and would be another's.
    const IDS: u32 = 1 << 22;
    let read = || -> anyhow::Result<Duration> {
        anyhow::ensure!(pid <= IDS, "there is no such process");
        let pid = nix::unistd::Pid::from_raw(i32::try_from(pid)?);
        Ok(nix::time::clock_getcpuclockid(pid)?.now()?.into())
    };
    read().with_context(|| format!("reading the CPU time of process {pid}"))
}

/// As on Linux, where alone there is such a clock.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    anyhow::bail!("reading the CPU time of process {pid}: only Linux has a clock for it")
}

/// The CPU time of this process so far.
#[must_use]
pub fn own_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The resident memory of process `pid`, in bytes.
///
/// # Errors
/// When there is no such process.
pub fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("reading the memory of process {pid}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line
        .and_then(|line| line.trim().strip_suffix(" kB"))
        .context("no VmRSS")?;
    Ok(kib.trim().parse::<u64>()? * 1024)
}

/// Keeps the calling thread, and those that it starts, on one core.
///
/// # Errors
/// When there is no such core.
pub fn pin_to(core: usize) -> anyhow::Result<()> {
    pin_thread(None, core)
}

/// Keeps every thread that process `pid` has on one core; those that they start stay there too.
///
/// # Errors
/// When there is no such process or core.
pub fn pin_process(pid: u32, core: usize) -> anyhow::Result<()> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"))
        .with_context(|| format!("listing the threads of process {pid}"))?;
    for task in tasks {
        let name = task?.file_name();
        let thread = name
            .to_str()
            .and_then(|name| name.parse().ok())
            .and_then(Pid::from_raw);
        pin_thread(Some(thread.context("a thread is a number")?), core)?;
    }
    Ok(())
}

/// What became of asking for real-time priority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Urgency {
    /// All threads of the process come before those of ordinary processes.
    Realtime,
    /// They do not, and this is why.
    Ordinary(String),
}

/// Asks for round-robin real-time scheduling (`SCHED_RR`, lowest priority) for all threads of process
/// `pid`, by the system's `chrt`. Where that is not allowed or not there, everything stays as it was.
#[must_use]
pub fn make_realtime(pid: u32) -> Urgency {
    let pid_text = pid.to_string();
    let asked = Command::new("chrt")
        .args(["--all-tasks", "--rr", "--pid", "1", &pid_text])
        .output();
    match asked {
        Ok(done) if done.status.success() => Urgency::Realtime,
        Ok(done) => {
            let said = String::from_utf8_lossy(&done.stderr);
            Urgency::Ordinary(format!(
                "process {pid} stays at ordinary priority: {}",
                said.trim()
            ))
        }
        Err(error) => Urgency::Ordinary(format!(
            "process {pid} stays at ordinary priority: running chrt: {error}"
        )),
    }
}

#[cfg(target_os = "linux")]
fn pin_thread(thread: Option<Pid>, core: usize) -> anyhow::Result<()> {
    let mut cores = rustix::thread::CpuSet::new();
    cores.set(core);
    rustix::thread::sched_setaffinity(thread, &cores)
        .with_context(|| format!("pinning to core {core}"))
}

#[cfg(not(target_os = "linux"))]
fn pin_thread(_thread: Option<Pid>, core: usize) -> anyhow::Result<()> {
    anyhow::bail!("pinning to core {core}: only Linux can")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_not_there_stays_ordinary_and_why_is_said() {
        // No process has the highest number that there is.
        let Urgency::Ordinary(why) = make_realtime(i32::MAX.cast_unsigned()) else {
            panic!("there is no such process");
        };
        assert!(why.contains("stays at ordinary priority"), "{why}");
        assert!(cpu_time(i32::MAX.cast_unsigned()).is_err());
        assert!(cpu_time(1 << 22).is_err());
    }

    #[test]
    fn ones_own_clocks_and_memory_can_be_read() {
        let pid = std::process::id();
        assert!(resident_bytes(pid).unwrap() > 0);
        assert!(own_cpu_time() + Duration::from_millis(20) >= cpu_time(pid).unwrap());
    }
}
