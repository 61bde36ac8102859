//! The verifier from outside: real keys, whole tokens.

#![expect(clippy::unwrap_used, reason = "the helpers are tests, too")]

mod arbitrary;
mod confusion;
mod forge;
mod keyring;
mod reload;
mod verdicts;
