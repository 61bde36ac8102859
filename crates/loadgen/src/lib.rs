//! parlance loadgen.
