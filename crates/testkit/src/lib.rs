//! parlance testkit.
