//! Files that somebody else may have put there.
//!
//! Hazard: a name in a directory that others can write may lead to a pipe that never answers, to a device, by a link to a
//! file of somebody else's, or to what a stranger wrote. So files are opened here: without waiting, only if they are plain
//! files ([`plain`]), and where what is in them is obeyed, only if nobody but those who are trusted could have put it there
//! ([`trust`]).

pub mod plain;
pub mod standing;
pub mod system;
pub mod trust;

pub use plain::{NotPlain, open_plain, read_plain, replace};
pub use standing::Doubt;
pub use trust::{Distrusted, Refusal, Trust};
