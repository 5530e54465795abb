//! Keeps an application's configuration and audit logs recoverable, and proves it.

pub mod actors;
pub mod core;
pub mod storage;
