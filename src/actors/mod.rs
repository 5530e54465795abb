//! The actors: each turns messages into calls of the pipeline, and what came of them into events.
//!
//! Hazard: state that lives in an actor is lost when it is restarted. Actors hold none that matters: each time they
//! are woken they look at what is true (catalogue, clock, settings), so a lost or repeated message costs time only.

pub mod service;
