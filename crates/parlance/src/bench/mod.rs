//! `parlance bench`: the load generator for whoever has a deployment.
//!
//! The load itself is in `parlance-loadgen`; here are its command line, the tokens, Ctrl-C, and what is
//! printed.

mod arguments;
mod members;
mod server;

use std::{
    io::{IsTerminal, Write, stderr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::anyhow;
use parlance_loadgen::{
    Control, LoadError, OnProgress, Progress, Target, Watched, fanout, history,
    parlance::{Layer, Parlance},
    report::Report,
    resume, send, storm,
};

pub(crate) use self::arguments::Bench;
use self::{
    arguments::Common,
    members::{Members, Run},
    server::Server,
};
use crate::{
    cli::Global,
    commands::{load, print, reachable, token::signing_secret},
    config::{Config, Purpose},
    failure::{Exit, Failure},
    node::Signals,
};

/// Tokens outlast a run by so much: connecting, filling and settling take their time.
const BESIDE_THE_LOAD: Duration = Duration::from_secs(15 * 60);

pub(crate) fn run(global: &Global, bench: &Bench) -> Result<(), Failure> {
    let common = bench.common();
    let data_dir = ("data_dir", "--data-dir", common.data_dir.path.clone());
    let config = load(global, [data_dir], Purpose::Beside)?.config;
    let local = || format!("ws://{}", reachable(config.listen));
    let url = common.url.clone().unwrap_or_else(local);
    let server = Server::find(&url, common.target_is_mine)?;
    let name = random_name()?;
    let members = members(bench, &server, &name, &config)?;
    let layer = if common.base {
        Layer::Base
    } else {
        Layer::Extended
    };
    let dialect = Parlance::new(layer, &name, |seat| members.path(seat));
    let mut target = Target::new(server.address, &dialect).watching(watched(common));
    target.host = server.authority;
    target.sources.clone_from(&common.sources);
    let stop = Arc::new(AtomicBool::new(false));
    stop_on_signal(stop.clone())?;
    let mut control = Control {
        stop: Some(&stop),
        progress: teller(common),
    };
    let report = measure(bench, &members, &target, &mut control).map_err(failure)?;
    show(common, &report)
}

/// Those of a file, or as many as the workload asks for.
fn members(
    bench: &Bench,
    server: &Server,
    name: &str,
    config: &Config,
) -> Result<Members, Failure> {
    let (rooms, members, lasts) = match bench {
        Bench::Fanout(load) => (load.rooms, load.members, load.span.duration.duration()),
        Bench::Send(load) => (load.rooms, load.members, load.span.duration.duration()),
        Bench::Storm(load) => {
            let rooms = load.connections.div_ceil(load.members.max(1));
            (rooms, load.members, load.hold.duration())
        }
        // One more is the writer.
        Bench::Resume(load) => (load.rooms, load.members + 1, Duration::ZERO),
        Bench::History(load) => (load.rooms, load.members, load.span.duration.duration()),
    };
    let run = Run {
        name,
        base: &server.base,
        token_ttl: lasts + BESIDE_THE_LOAD,
    };
    if let Some(file) = &bench.common().tokens {
        return Members::read(&run, file).map_err(|error| Failure::new(Exit::Usage, error));
    }
    let secret = signing_secret(config)?;
    let minted = Members::minted(&run, rooms, members, &secret, config);
    minted.map_err(|error| Failure::new(Exit::Fault, error))
}

fn measure(
    bench: &Bench,
    members: &Members,
    target: &Target<'_>,
    control: &mut Control<'_>,
) -> Result<Report, LoadError> {
    let (rooms, members) = (members.rooms(), members.members());
    match bench {
        Bench::Fanout(load) => fanout::run(target, &load.load(rooms, members), control),
        Bench::Send(load) => send::run(target, &load.load(rooms, members), control),
        Bench::Storm(load) => storm::run(target, &load.load(rooms, members), control),
        Bench::Resume(load) => resume::run(target, &load.load(rooms, members), control),
        Bench::History(load) => history::run(target, &load.load(rooms, members), control),
    }
}

fn watched(common: &Common) -> impl Iterator<Item = Watched> {
    let processes = common.processes.iter().enumerate();
    processes.map(|(index, process)| Watched {
        label: match (&process.label, index) {
            (Some(label), _) => label.clone(),
            (None, 0) => "server".to_owned(),
            (None, index) => format!("server {}", index + 1),
        },
        pid: process.pid,
    })
}

fn random_name() -> Result<String, Failure> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::new(Exit::Fault, anyhow!("no random numbers: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Sets `stop` at the first SIGINT or SIGTERM, and ends the process at the second.
fn stop_on_signal(stop: Arc<AtomicBool>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Unavailable, error))?;
    let signals = {
        let _inside = runtime.enter();
        Signals::listen()
    };
    let mut signals = signals.map_err(|error| Failure::new(Exit::Unavailable, error))?;
    // Never joined: it ends with the process, and holds nothing.
    thread::spawn(move || {
        runtime.block_on(async {
            signals.next().await;
            stop.store(true, Ordering::Relaxed);
            signals.next().await;
            std::process::exit(i32::from(Exit::Fault as u8));
        });
    });
    Ok(())
}

fn teller(common: &Common) -> Option<Box<OnProgress<'static>>> {
    let is_told = common.progress || stderr().is_terminal();
    is_told.then(|| -> Box<OnProgress<'static>> { Box::new(tell) })
}

fn tell(progress: &Progress) {
    // Nobody is left to be told when stderr is closed.
    let _ = writeln!(stderr(), "{progress}");
}

fn show(common: &Common, report: &Report) -> Result<(), Failure> {
    if common.json {
        print(&format!("{:#}\n", report.to_json()))?;
    } else {
        print(&report.to_string())?;
    }
    if report.refused.contains_key("rate_limited") || report.errors.contains_key("rate_limited") {
        // As above.
        let _ = writeln!(
            stderr(),
            "the server held some back (rate_limited): raise `limits.actions_per_second` and \
             `limits.user_actions_per_second` there, or ask for less"
        );
    }
    if report.is_right() {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Wrong,
        anyhow!("not everything arrived once and in order, or connections were lost; see above"),
    ))
}

fn failure(error: LoadError) -> Failure {
    let exit = match &error {
        LoadError::Arguments(_) | LoadError::TooFewFiles { .. } => Exit::Usage,
        LoadError::System { .. } => Exit::Fault,
        LoadError::CannotJoin { .. }
        | LoadError::NotFilled { .. }
        | LoadError::WriterLost { .. }
        | LoadError::Clocks { .. } => Exit::Unavailable,
    };
    Failure::new(exit, error)
}
