//! The use cases, as plain functions that block: what the actors and the command line both do.
//!
//! Hazard: work that reads a global clock, or an actor's state, cannot be tested or resumed. Each function takes what
//! it needs, the time included, and returns what happened; who asked, and who is told, is not its business.

pub mod archive;
pub mod assess;
pub mod audit_trust;
pub mod capture;
pub mod compare;
pub mod content;
pub mod drill;
pub mod export;
pub mod fetch;
pub mod fewer;
pub mod forget;
pub mod heal;
pub mod history;
pub mod lineage;
mod parallel;
pub mod program;
mod progress;
pub mod refill;
pub mod relief;
pub mod replicate;
pub mod restore;
pub mod scrub;
pub mod seen;
pub mod source;
mod stage;
pub mod survey;
pub mod sweep;
pub mod verify;

pub use progress::{Cancelled, Progress};
