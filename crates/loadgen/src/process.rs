//! What a process costs, read from the kernel.

use std::time::Duration;

use anyhow::Context as _;
use rustix::process::Pid;

/// The CPU time of process `pid` so far, all its threads, user and system.
///
/// # Errors
/// When there is no such process.
pub fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("reading the CPU time of process {pid}"))?;
    // The name, in parentheses, may hold blanks: count from behind it.
    let behind = stat.rsplit_once(") ").context("a stat line has a name")?.1;
    let mut fields = behind.split(' ').skip(11);
    let mut ticks = || fields.next().and_then(|field| field.parse::<u64>().ok());
    let total = ticks().zip(ticks()).map(|(user, system)| user + system);
    let per_second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_secs_f64(
        total.context("a stat line has times")? as f64 / per_second as f64,
    ))
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

fn pin_thread(thread: Option<Pid>, core: usize) -> anyhow::Result<()> {
    let mut cores = rustix::thread::CpuSet::new();
    cores.set(core);
    rustix::thread::sched_setaffinity(thread, &cores)
        .with_context(|| format!("pinning to core {core}"))
}
