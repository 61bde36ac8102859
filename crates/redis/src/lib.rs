//! Redis as the log, the bus and the memory that several gateways share.

pub mod topology;
