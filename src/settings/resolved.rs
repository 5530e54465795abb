//! Where a path really leads.
//!
//! Hazard: two paths that differ as text and name the same place, by way of a link. What is compared is compared as the
//! kernel would resolve it, as far as there is something to resolve yet.

use std::path::{Path, PathBuf};

/// The path with the links in it followed, as far as it exists; what does not exist yet is added as it is.
pub fn resolved(path: &Path) -> PathBuf {
    let existing = path.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)));
    let Some((above, real)) = existing else { return path.to_owned() };
    match path.strip_prefix(above) {
        Ok(rest) if !rest.as_os_str().is_empty() => real.join(rest),
        _ => real,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_as_far_as_there_are_any() {
        let scratch = tempfile::tempdir().unwrap();
        let real = scratch.path().canonicalize().unwrap();
        std::fs::create_dir(real.join("there")).unwrap();
        std::os::unix::fs::symlink("there", real.join("link")).unwrap();
        for (path, expected) in
            [("link", "there"), ("link/a/b", "there/a/b"), ("none/a", "none/a"), ("link/../there", "there")]
        {
            assert_eq!(resolved(&real.join(path)), real.join(expected), "{path}");
        }
        assert_eq!(resolved(Path::new("/")), Path::new("/"));
    }
}
