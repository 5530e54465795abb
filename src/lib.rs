//! Keeps an application's configuration and audit logs recoverable, and proves it.

pub mod actors;
pub mod api;
pub mod audit;
pub mod cli;
pub mod clock;
pub mod core;
pub mod daemon;
pub mod http;
pub mod pipeline;
pub mod repository;
pub mod settings;
pub mod storage;
pub mod telemetry;
