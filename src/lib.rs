//! Keeps an application's configuration and audit logs recoverable, and proves it.
//!
//! A guided tour, in the order in which data flows:
//!
//! 1. [`settings`] says which files, how often, and for how long: layers of them become one checked value.
//! 2. [`core`] decides: when a set is due, what retention gives up, what the mode is, whether an actor is restarted.
//!    It is pure; everything else asks it.
//! 3. [`pipeline`] does the work, as plain functions that block: capture files, archive them, read them back, restore
//!    them, sweep. [`repository`] keeps manifests and objects in their format; [`storage`] makes bytes durable.
//! 4. [`actors`] turn messages into calls of the pipeline, and what came of them into events; a supervisor restarts
//!    them and holds the mode. [`telemetry`] tells each event to the audit log ([`audit`]), the console and Prometheus.
//! 5. [`http`] and [`cli`] are the two front doors. Both lead to [`actors::service::Service`], and speak in the
//!    documents of [`api`].
//! 6. [`daemon`] puts it together, and is the one file that sees everything; [`clock`] is where time is read.
//!
//! # Invariants
//!
//! - A backup exists exactly when its manifest does; what a manifest needs was durable before it.
//! - A backup is acknowledged only after it was read back from the repository.
//! - A live file is replaced only after everything that replaces it was read and checked, and the live files were
//!   backed up.
//! - Nothing is deleted in recovery mode; never the newest good backup, the newest good copy of a file, or a pinned one.
//! - What is deleted on purpose is recorded first, so that a loss is never taken for a deletion.
//! - Order is the sequence, never the clock.
//! - No state in memory matters: an actor that is restarted looks at what is true and goes on.

pub mod actors;
pub mod api;
pub mod audit;
pub mod cli;
pub mod clock;
pub mod core;
pub mod daemon;
pub mod files;
pub mod http;
pub mod keys;
pub mod pipeline;
pub mod private_file;
pub mod repository;
pub mod settings;
pub mod source_path;
pub mod storage;
pub mod telemetry;
pub mod tokens;
