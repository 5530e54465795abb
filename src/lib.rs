//! Keeps an application's configuration and audit logs recoverable, and proves it.

pub mod core;
pub mod settings;
pub mod storage;
