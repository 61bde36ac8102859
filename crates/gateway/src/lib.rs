//! parlance gateway.
