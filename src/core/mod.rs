//! The pure heart: words and decisions.
//!
//! Hazard: a decision that reads the clock, the disk or a global can neither be rehearsed nor proven. Everything
//! here is a function of its arguments; nothing here imports anything else of this crate, nor tokio, actix, tracing
//! or prometheus.

pub mod accounts;
pub mod backup;
pub mod backup_id;
pub mod claim;
pub mod clock_sanity;
pub mod content;
pub mod diff;
pub mod digest;
pub mod drill;
pub mod entry_path;
pub mod garbage;
pub mod mode;
pub mod notices;
pub mod owner;
pub mod printable;
pub mod priority;
pub mod recovery_plan;
pub mod repeated;
pub mod replication;
pub mod restart;
pub mod retention;
pub mod schedule;
pub mod scrub;
pub mod secrets;
pub mod set_name;
pub mod space;
pub mod timeline;
pub mod timestamp;
pub mod trust;

pub use backup::{BackupKind, BackupState, Position, Sequence, Timeline};
pub use backup_id::{BackupId, BackupRef};
pub use digest::{ChunkKey, Digest, Sha256};
pub use entry_path::EntryPath;
pub use priority::BackupPriority;
pub use replication::ReplicaName;
pub use set_name::SetName;
pub use timestamp::Timestamp;
