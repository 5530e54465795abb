//! Disks that refuse: an error at every operation, and a real filesystem filled to the last byte.
//!
//! Hazard: a backup that fails half way and leaves something that looks like one, or that cannot be made any more once
//! the cause is gone.

#[path = "repository/mod.rs"]
mod repository;

use repository::stories;
use repository::sweep::Story;
use rustix::io::Errno;

fn check(story: &Story) {
    story.fail_everywhere(Errno::IO);
    story.fail_everywhere(Errno::NOSPC);
}

#[test]
fn a_first_backup_that_fails_anywhere_says_so_and_leaves_nothing() {
    stories::first_backup(check);
}

#[test]
fn a_later_backup_that_fails_anywhere_says_so_and_leaves_nothing() {
    stories::later_backup(check);
}

#[test]
fn a_deletion_that_fails_anywhere_says_so_and_loses_nothing_else() {
    stories::deletion(check);
}

#[test]
fn a_state_file_that_cannot_be_replaced_stays_as_it_was() {
    stories::state(check);
}

#[test]
fn a_pin_that_cannot_be_set_says_so() {
    stories::pin(check);
}
