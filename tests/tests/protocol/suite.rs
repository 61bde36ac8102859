//! The files of the suite, once for every form of server. The crate's root says how a server is
//! made.

mod closing;
mod connecting;
mod editing;
mod extended;
mod golden;
mod history;
mod limits;
mod presence;
mod reading;
mod receipts;
mod resuming;
mod sending;
mod support;
mod tokens;
mod typing;
