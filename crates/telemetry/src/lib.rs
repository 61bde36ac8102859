//! parlance telemetry.
