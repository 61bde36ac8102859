//! Restarts all gateways of a deployment under load, adds one, and writes a report.
//!
//! Ends with 1 when something is not as it must be. Ctrl-C ends it and all that it started.

use std::{
    io::{Write, stdout},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, bail};
use parlance_testkit::{
    rolling::{Ending, Plan, perform},
    server::Parlance,
};

const USAGE: &str = "usage: rolling CLIENTS RATE SECONDS DIRECTORY [kill]
Restarts three gateways behind HAProxy while CLIENTS talk at RATE messages a second, adds a fourth one and
watches it for SECONDS (0: adds none); report.json goes to DIRECTORY. With `kill` the gateways are killed
in place of being told to leave, which has to fail.
Example: rolling 10000 500 180 target/rolling";
const GATEWAYS: usize = 3;
/// Of a conversation: 500 messages a second are 5,000 deliveries.
const MEMBERS: usize = 10;
const CONNECTS_PER_SECOND: f64 = 300.0;
/// As a chart has it: longer than balancers need to notice.
const PRE_STOP: Duration = Duration::from_secs(2);

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [clients, rate, seconds, directory, ending @ ..] = arguments.as_slice() else {
        bail!(USAGE);
    };
    let clients: usize = parsed(clients, "CLIENTS")?;
    let plan = Plan {
        gateways: GATEWAYS,
        rooms: clients.div_ceil(MEMBERS),
        members: MEMBERS,
        connects_per_second: CONNECTS_PER_SECOND,
        sends_per_second: parsed(rate, "RATE")?,
        ending: match ending {
            [] => Ending::Terminated,
            [word] if word == "kill" => Ending::Killed,
            _ => bail!(USAGE),
        },
        pre_stop: PRE_STOP,
        watch: Duration::from_secs(parsed(seconds, "SECONDS")?),
        setup: Parlance::setup(),
    };
    let outcome = perform(&plan, &|line| say(line))?;
    let directory = PathBuf::from(directory);
    std::fs::create_dir_all(&directory)?;
    let report = directory.join("report.json");
    std::fs::write(&report, format!("{:#}\n", outcome.to_json()))?;
    say(&format!("\n{outcome}\nreport   {}", report.display()));
    for sentence in &outcome.stayed.told {
        say(sentence);
    }
    if !outcome.faults.is_empty() {
        bail!("not everything is as it must be; see above");
    }
    Ok(())
}

fn parsed<T: std::str::FromStr>(text: &str, name: &str) -> anyhow::Result<T> {
    let number = text.parse().ok();
    number.with_context(|| format!("{name} is {text:?}, which is no number\n{USAGE}"))
}

fn say(line: &str) {
    // A closed stdout has no reader.
    let _ = writeln!(stdout().lock(), "{line}");
}
