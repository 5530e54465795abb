//! Who may write to a replica.
//!
//! Hazard: a machine that was cloned has everything of the other one, its identity included, and both take the replica for
//! theirs. Nothing here tells; only the replica can. Who opens one claims it, with a word that nobody else has, and
//! remembers that; the next claim shows whether somebody else was there meanwhile.

/// A claim on a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Who made it: the random id of a writer.
    pub writer: String,
    /// Where that writer is: what its host calls itself, and the place of its repository there.
    pub place: (String, String),
    /// The word that nobody else has.
    pub word: String,
    /// Whether it only says that two dispute over the replica: then neither writes.
    pub disputed: bool,
}

/// The one who opens a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimant {
    /// The random id of the writer.
    pub writer: String,
    /// As in [`Claim`].
    pub place: (String, String),
    /// The word of its last claim on this replica, as it remembers it.
    pub word: Option<String>,
    /// Whether this process made that claim.
    pub is_fresh: bool,
    /// Whether the replica has backups that are newer than all that the claimant has.
    pub is_behind: bool,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The claim stands.
    Keep,
    /// Claim it.
    Claim,
    /// Another goes by the same identity, and does not know: become another writer, and leave word there. Nothing is written
    /// otherwise.
    Dispute,
    /// It is another's, or in dispute: nothing is written.
    Refuse,
}

/// What who opens a replica is to do about the newest claim there.
///
/// A claim by the same writer that is not remembered was made in the same place by a process that came to no end, or
/// before an older copy of everything was put back; in another place, or since this process claimed it, by a clone. So was
/// who remembers the claim, is in another place, and is behind: what came after it is the other's.
/// One who remembers nothing goes on in the same place, whoever it was there: the memory was lost with the disk.
pub fn judge(claimant: &Claimant, told: Option<&Claim>) -> Verdict {
    let Some(told) = told else { return Verdict::Claim };
    let is_own = claimant.word.as_ref() == Some(&told.word);
    let is_here = claimant.place == told.place;
    match (is_own, told.writer == claimant.writer) {
        // Made before the claimant was found to be cloned: it may be the other's as well.
        (true, false) => Verdict::Refuse,
        (true, _) if told.disputed => Verdict::Refuse,
        (true, _) if claimant.is_fresh => Verdict::Keep,
        (true, _) if claimant.is_behind && !is_here => Verdict::Dispute,
        (true, _) => Verdict::Claim,
        (false, true) if is_here && !claimant.is_fresh => Verdict::Claim,
        (false, true) => Verdict::Dispute,
        (false, false) if claimant.word.is_none() && is_here && !told.disputed => Verdict::Claim,
        (false, false) => Verdict::Refuse,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> (String, String) {
        ("host".to_owned(), name.to_owned())
    }

    fn claim(writer: &str, at: &str, word: &str) -> Claim {
        Claim { writer: writer.into(), place: place(at), word: word.into(), disputed: false }
    }

    fn claimant(writer: &str, at: &str, word: Option<&str>, is_fresh: bool) -> Claimant {
        Claimant { writer: writer.into(), place: place(at), word: word.map(str::to_owned), is_fresh, is_behind: false }
    }

    #[test]
    fn who_comes_back_claims_again_and_keeps_it_while_the_process_lives() {
        assert_eq!(judge(&claimant("a", "x", None, false), None), Verdict::Claim);
        let told = claim("a", "x", "1");
        assert_eq!(judge(&claimant("a", "x", Some("1"), true), Some(&told)), Verdict::Keep);
        assert_eq!(judge(&claimant("a", "x", Some("1"), false), Some(&told)), Verdict::Claim);
        assert_eq!(judge(&claimant("a", "moved", Some("1"), false), Some(&told)), Verdict::Claim);
    }

    #[test]
    fn who_forgot_a_claim_in_the_same_place_goes_on() {
        let told = claim("a", "x", "2");
        assert_eq!(judge(&claimant("a", "x", Some("1"), false), Some(&told)), Verdict::Claim, "put back, or died");
        assert_eq!(judge(&claimant("a", "x", None, false), Some(&told)), Verdict::Claim);
        assert_eq!(judge(&claimant("b", "x", None, false), Some(&told)), Verdict::Claim, "state/ was lost");
    }

    #[test]
    fn of_two_clones_both_are_refused_once_the_first_comes_upon_the_other() {
        let told = claim("a", "clone", "2");
        assert_eq!(judge(&claimant("a", "x", Some("1"), false), Some(&told)), Verdict::Dispute);
        assert_eq!(judge(&claimant("a", "x", Some("1"), true), Some(&told)), Verdict::Dispute);
        assert_eq!(judge(&claimant("a", "x", Some("1"), true), Some(&claim("a", "x", "2"))), Verdict::Dispute);
        let disputed = Claim { disputed: true, ..claim("b", "x", "3") };
        assert_eq!(judge(&claimant("b", "x", Some("3"), true), Some(&disputed)), Verdict::Refuse);
        assert_eq!(judge(&claimant("b", "x", Some("3"), false), Some(&disputed)), Verdict::Refuse);
        assert_eq!(judge(&claimant("a", "clone", Some("2"), true), Some(&disputed)), Verdict::Refuse);
        assert_eq!(judge(&claimant("c", "x", None, false), Some(&disputed)), Verdict::Refuse);
    }

    #[test]
    fn a_clone_of_who_went_on_writing_is_found_by_what_is_newer_there() {
        let told = claim("a", "x", "1");
        let behind = |at| Claimant { is_behind: true, ..claimant("a", at, Some("1"), false) };
        assert_eq!(judge(&behind("clone"), Some(&told)), Verdict::Dispute);
        assert_eq!(judge(&behind("x"), Some(&told)), Verdict::Claim, "an older copy was put back");
        let became_another = claimant("b", "clone", Some("1"), false);
        assert_eq!(judge(&became_another, Some(&told)), Verdict::Refuse, "found out on another replica");
    }

    #[test]
    fn another_writer_elsewhere_is_another_whatever_is_remembered() {
        let told = claim("b", "elsewhere", "9");
        assert_eq!(judge(&claimant("a", "x", None, false), Some(&told)), Verdict::Refuse);
        assert_eq!(judge(&claimant("a", "x", Some("1"), false), Some(&told)), Verdict::Refuse);
    }
}
