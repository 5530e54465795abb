//! What to do about a repository that cannot be opened.
//!
//! Hazard: a repository that was lost and is begun anew hides the loss. What is left, what the audit log knows and what
//! replicas there are decide; nothing here looks at anything.

use std::path::PathBuf;

use super::Need;
use super::known::Known;

/// What there is in the place of a repository that cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// Nothing of it.
    Nothing,
    /// Backups, or the damaged file that makes them a repository: what is wrong.
    Headless(String),
}

/// What to do about a repository that cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Begin one: there never was any.
    Begin,
    /// Make it one again, under this id if it is known, and bring back from these replicas what it lacks.
    FoundAgain {
        /// The id that it had.
        id: Option<String>,
        /// The directories of replicas.
        replicas: Vec<PathBuf>,
    },
    /// Begin nothing: come up without one, which had this id if that is known.
    Wait {
        /// The id that it had.
        id: Option<String>,
    },
}

/// What to do. `replicas` are those that can be opened, in the order of the settings, each with its id; the audit log's
/// word on the id stands above theirs. A repository that is gone altogether is founded again only in an emergency, when
/// somebody asked for it: its disk may only have to be mounted. A replica tells of it where the audit log was lost, too.
///
/// A place that somebody named, where none was ever known while one is known in another place, is one to begin in: whoever
/// named it said so. What replicas of the old one there are stay that one's.
pub fn remedy(
    need: Need,
    left: &Left,
    known: &Known,
    is_another_place: bool,
    replicas: &[(PathBuf, String)],
) -> Remedy {
    let told = if let Known::As(id) = known { id.clone() } else { None };
    let id = told.or_else(|| replicas.first().map(|(_, id)| id.clone()));
    let ours = replicas.iter().filter(|(_, theirs)| id.as_ref() == Some(theirs));
    let replicas: Vec<PathBuf> = ours.map(|(path, _)| path.clone()).collect();
    match (left, known) {
        (Left::Nothing, Known::Never) if need == Need::Ordinary && is_another_place => Remedy::Begin,
        (Left::Nothing, Known::Never) if need == Need::Ordinary && replicas.is_empty() => Remedy::Begin,
        (Left::Nothing, _) if replicas.is_empty() || need == Need::Ordinary => Remedy::Wait { id },
        (Left::Nothing | Left::Headless(_), _) => Remedy::FoundAgain { id, replicas },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDS: [Need; 2] = [Need::Ordinary, Need::Emergency];

    fn replica(path: &str, id: &str) -> (PathBuf, String) {
        (path.into(), id.to_owned())
    }

    fn found_again(id: Option<&str>, replicas: &[&str]) -> Remedy {
        Remedy::FoundAgain { id: id.map(str::to_owned), replicas: replicas.iter().map(PathBuf::from).collect() }
    }

    fn wait(id: Option<&str>) -> Remedy {
        Remedy::Wait { id: id.map(str::to_owned) }
    }

    fn known_as(id: &str) -> Known {
        Known::As(Some(id.to_owned()))
    }

    #[test]
    fn a_repository_is_begun_only_by_a_normal_start_where_none_was_known() {
        let replicas = [vec![], vec![replica("/a", "a")], vec![replica("/b", "b")]];
        let known = [Known::Never, known_as("a"), Known::As(None), Known::Unreadable];
        let left = [Left::Nothing, Left::Headless("damaged".into())];
        for (need, left) in left.iter().flat_map(|left| NEEDS.map(|need| (need, left))) {
            for (known, replicas) in known.iter().flat_map(|known| replicas.iter().map(move |some| (known, some))) {
                let begun = remedy(need, left, known, false, replicas) == Remedy::Begin;
                let never = *left == Left::Nothing && *known == Known::Never && replicas.is_empty();
                assert_eq!(begun, never && need == Need::Ordinary, "{need:?} {left:?} {known:?} {replicas:?}");
            }
        }
    }

    #[test]
    fn another_place_that_somebody_named_is_begun_in_whatever_replicas_of_the_old_one_there_are() {
        let replicas = [replica("/a", "a")];
        let of = |need, known: Known| remedy(need, &Left::Nothing, &known, true, &replicas);
        assert_eq!(of(Need::Ordinary, Known::Never), Remedy::Begin);
        assert_eq!(of(Need::Ordinary, known_as("a")), wait(Some("a")), "the same place found empty");
        assert_eq!(of(Need::Ordinary, Known::Unreadable), wait(Some("a")));
        assert_eq!(of(Need::Emergency, Known::Never), found_again(Some("a"), &["/a"]));
    }

    #[test]
    fn one_that_is_gone_comes_back_from_its_own_replicas_and_only_when_that_was_asked_for() {
        let (a, b) = (replica("/a", "a"), replica("/b", "b"));
        assert_eq!(
            remedy(Need::Ordinary, &Left::Nothing, &known_as("a"), false, std::slice::from_ref(&a)),
            wait(Some("a"))
        );
        assert_eq!(
            remedy(Need::Emergency, &Left::Nothing, &known_as("a"), false, &[a, b.clone()]),
            found_again(Some("a"), &["/a"])
        );
        assert_eq!(
            remedy(Need::Emergency, &Left::Nothing, &known_as("a"), false, std::slice::from_ref(&b)),
            wait(Some("a"))
        );
        assert_eq!(
            remedy(Need::Emergency, &Left::Nothing, &Known::Never, false, std::slice::from_ref(&b)),
            found_again(Some("b"), &["/b"])
        );
        assert_eq!(remedy(Need::Emergency, &Left::Nothing, &Known::Never, false, &[]), wait(None));
    }

    #[test]
    fn what_is_left_gets_the_id_that_it_had_and_what_replicas_of_it_have() {
        let headless = Left::Headless("damaged".into());
        let replicas = [replica("/b", "b"), replica("/a", "a"), replica("/a2", "a")];
        for need in NEEDS {
            let remedy = |known: &Known, replicas: &[_]| remedy(need, &headless, known, false, replicas);
            assert_eq!(remedy(&known_as("a"), &replicas), found_again(Some("a"), &["/a", "/a2"]));
            assert_eq!(remedy(&Known::Unreadable, &[]), found_again(None, &[]));
            assert_eq!(remedy(&Known::Never, &[]), found_again(None, &[]));
        }
    }
}
