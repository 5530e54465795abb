//! Keeps an application's configuration and audit logs recoverable, and proves it.

pub mod audit;
pub mod core;
pub mod storage;
