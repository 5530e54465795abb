//! What the file that a set names leads to.
//!
//! Hazard: a symlink leads anywhere. One that the set names is followed step by step, each step looked at beneath the source
//! without following a link, and never out of it: what is opened in the end is a path without any.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};

use super::{Found, SourceDirectory, what_is};
use crate::core::entry_path::{escape, path_of};

/// As many links as Linux follows.
const MAX_LINKS: usize = 40;

/// Where a path leads.
pub(super) struct Reached {
    /// A path without links on it.
    pub path: String,
    /// What is there: a plain file, nothing, or something that cannot be looked at.
    pub at: Found,
    /// The links on the way, by path.
    pub links: BTreeMap<String, Found>,
}

impl SourceDirectory {
    /// Follows a path to the plain file that it leads to, beneath the source; if it leads to none, what there is instead.
    pub(super) fn follow(&self, path: &str) -> Result<Reached, String> {
        let mut ahead: VecDeque<OsString> = names(&path_of(path)).ok_or("a path that leads out of the source")?.into();
        let (mut links, mut followed) = (BTreeMap::new(), 0);
        let mut reached = PathBuf::new();
        while let Some(name) = ahead.pop_front() {
            if name == ".." {
                if !reached.pop() {
                    return Err(outside(path, &links));
                }
                continue;
            }
            reached.push(name);
            let here = escape(reached.as_os_str().as_bytes());
            match self.look_at(&here) {
                Found::Symlink(look, target) => {
                    followed += 1;
                    if followed > MAX_LINKS {
                        return Err("a symlink, of a row without an end".into());
                    }
                    let leads_to = self.beneath(&path_of(&target));
                    links.insert(here, Found::Symlink(look, target));
                    reached.pop();
                    let (from_top, names) = leads_to.ok_or_else(|| outside(path, &links))?;
                    if from_top {
                        reached.clear();
                    }
                    names.into_iter().rev().for_each(|name| ahead.push_front(name));
                }
                // What is in it may be looked at.
                _ if !ahead.is_empty() && self.is_directory_at(&reached) => {}
                Found::File(_) if !ahead.is_empty() => return Err("inside something that is no directory".into()),
                Found::Missing if !links.is_empty() => {
                    return Err(format!("{}, which does not exist", symlink(path, &links)));
                }
                Found::NoContent(what) if !links.is_empty() => {
                    return Err(format!("{}, {what}", symlink(path, &links)));
                }
                Found::NoContent(what) => return Err(what),
                Found::Missing => return Ok(Reached { path: path.to_owned(), at: Found::Missing, links }),
                at => return Ok(Reached { path: here, at, links }),
            }
        }
        Err(what_is(FileType::Directory).into())
    }

    /// The names that a link's target consists of, and whether they begin at the source; `None` if it leads elsewhere.
    fn beneath(&self, target: &Path) -> Option<(bool, Vec<OsString>)> {
        let below = if target.is_absolute() { target.strip_prefix(&self.path).ok()? } else { target };
        Some((target.is_absolute(), names(below)?))
    }

    fn is_directory_at(&self, path: &Path) -> bool {
        self.beneath.open_at(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).is_ok()
    }
}

/// The names of a path, `..` among them; `None` if it is absolute.
fn names(path: &Path) -> Option<Vec<OsString>> {
    let names = path.components().filter(|component| *component != Component::CurDir);
    names
        .map(|component| match component {
            Component::Normal(_) | Component::ParentDir => Some(component.as_os_str().to_owned()),
            _ => None,
        })
        .collect()
}

fn outside(path: &str, links: &BTreeMap<String, Found>) -> String {
    format!(
        "{}, which is outside the source: name the file in a set of the directory that it is in",
        symlink(path, links)
    )
}

/// The symlink at a path, or on the way to it.
fn symlink(path: &str, links: &BTreeMap<String, Found>) -> String {
    let first = links.get(path).or_else(|| links.values().next());
    match first {
        Some(Found::Symlink(_, target)) => format!("a symlink to {target}"),
        _ => "a path".into(),
    }
}
