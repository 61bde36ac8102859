//! Prints `docs/metrics.md`.

use std::io::Write;

fn main() -> std::io::Result<()> {
    std::io::stdout().write_all(parlance_telemetry::reference().as_bytes())
}
