//! parlance auth.
