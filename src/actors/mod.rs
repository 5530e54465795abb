//! The actors: a message comes in, a pipeline call is made, an event goes out.
//!
//! Hazard: an actor that decides, or blocks, or remembers what the disk knows better. Actors here are thin: the
//! decisions are in `core`, the work in `pipeline`, the truth in the repository.

pub mod service;
pub mod supervision;
