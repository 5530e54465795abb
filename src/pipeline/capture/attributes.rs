//! What is kept of an entry beside its content.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;

use crate::core::entry_path::escape;
use crate::pipeline::source::Look;
use crate::pipeline::stage::is_privileged;
use crate::repository::wire::Attributes;

/// The attributes of what looked like this.
pub(super) fn attributes_of(look: &Look, xattrs: BTreeMap<String, String>) -> Attributes {
    Attributes {
        mode: look.mode,
        uid: look.uid,
        gid: look.gid,
        user: None,
        group: None,
        modified: look.identity.modified,
        xattrs,
    }
}

/// Extended attributes, values in hexadecimal. A filesystem without any has none.
pub(super) fn read_xattrs(file: &File) -> io::Result<BTreeMap<String, String>> {
    const MAX_LIST_BYTES: usize = 64 << 10;
    let mut names = vec![0; MAX_LIST_BYTES];
    let length = match rustix::fs::flistxattr(file, &mut names[..]) {
        Ok(length) => length,
        Err(rustix::io::Errno::NOTSUP) => 0,
        Err(error) => return Err(error.into()),
    };
    let mut xattrs = BTreeMap::new();
    let mut value = vec![0; MAX_LIST_BYTES];
    for name in names[..length].split(|byte| *byte == 0) {
        // What only root can set, only root keeps.
        if name.is_empty() || is_privileged(name) && !rustix::process::geteuid().is_root() {
            continue;
        }
        match rustix::fs::fgetxattr(file, name, &mut value[..]) {
            Ok(length) => drop(xattrs.insert(escape(name), base16ct::lower::encode_string(&value[..length]))),
            Err(rustix::io::Errno::NODATA) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(xattrs)
}
