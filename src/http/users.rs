//! Users of this machine, and which of them the service knows.
//!
//! Hazard: a number that stands for somebody else. 65534 and the kernel's overflow id stand for every user that has no
//! number here (user namespaces, NFS), so nobody is known by them, not even this service's own user.

use std::collections::BTreeSet;

/// The number that stands for nobody in particular on nearly every system.
const NOBODY: u32 = 65_534;

/// The users of this machine that need no token for the documented calls: root, this service's own, and those that the
/// settings trust.
#[derive(Clone, Debug)]
pub struct LocalUsers {
    own: u32,
    name: String,
    trusted: BTreeSet<u32>,
    overflow: u32,
}

impl LocalUsers {
    /// Root and the user of a service that runs as `own`, which sudo calls `name`, on a machine whose overflow id is
    /// `overflow`.
    pub fn new(own: u32, name: impl Into<String>, overflow: u32) -> Self {
        Self { own, name: name.into(), trusted: BTreeSet::new(), overflow }
    }

    /// These, and `trusted`.
    pub fn trusting(self, trusted: impl IntoIterator<Item = u32>) -> Self {
        Self { trusted: trusted.into_iter().collect(), ..self }
    }

    /// Whether the user with this number is one of them.
    pub fn include(&self, uid: u32) -> bool {
        self.is_operator(uid) || self.is_somebody(uid) && self.trusted.contains(&uid)
    }

    /// Whether that is root or this service's own user, who have places that others cannot take.
    pub fn is_operator(&self, uid: u32) -> bool {
        self.is_somebody(uid) && (uid == 0 || uid == self.own)
    }

    /// Whether a number stands for one user alone.
    pub fn is_somebody(&self, uid: u32) -> bool {
        ![NOBODY, self.overflow, u32::MAX].contains(&uid)
    }

    /// What `sudo -u` calls this service's own user.
    pub fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_the_own_user_and_trusted_ones_are_known_and_nobody_is_by_an_overflow_id() {
        let users = LocalUsers::new(998, "fiovana", 65_000).trusting([1000, 65_534, 65_000]);
        for (uid, known, operator) in [
            (0, true, true),
            (998, true, true),
            (1000, true, false),
            (1001, false, false),
            (65_534, false, false),
            (65_000, false, false),
            (u32::MAX, false, false),
        ] {
            assert_eq!((users.include(uid), users.is_operator(uid)), (known, operator), "{uid}");
        }
        let nobody = LocalUsers::new(65_534, "nobody", 65_534);
        assert!(!nobody.include(65_534) && nobody.include(0));
    }
}
