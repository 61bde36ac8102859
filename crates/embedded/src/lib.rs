//! parlance embedded.
