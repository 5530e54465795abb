//! Who can change where a path leads, place by place.
//!
//! Hazard: a rule that refuses what is ordinary is switched off, and one that lets a stranger in is none.

use super::*;

const APP: u32 = 1001;
const FIOVANA: u32 = 998;
const MALLORY: u32 = 1666;

const PASSWD: &str = "\
root:x:0:0:root:/root:/bin/bash
broken
fiovana:x:998:998::/:/usr/sbin/nologin
app:x:1001:1001::/home/app:/bin/sh
mallory:x:1666:1666::/home/mallory:/bin/sh
";
const GROUP: &str = "\
root:x:0:
staff:x:50:
adm:x:4:mallory,app
web:x:33:app,fiovana
remote:x:70:app,of-a-directory-server
fiovana:x:998:
app:x:1001:
mallory:x:1666:
twice:x:80:app
twice:x:80:mallory
";

fn accounts() -> Accounts {
    Accounts { passwd: PASSWD.into(), group: GROUP.into(), nsswitch: String::new() }
}

fn directory(uid: u32, gid: u32, mode: u32) -> Directory {
    Directory { uid, gid, mode, ..Directory::default() }
}

/// What is wrong with a directory in which the next one is looked up, on the way to a source of `app`'s.
fn judged(directory: Directory, next: Option<u32>) -> Option<Fault> {
    let trusted = Trusted { service: Some(FIOVANA), owner: Some(APP) };
    first_fault(&[Step { directory, next }], trusted, &accounts()).map(|(_, fault)| fault)
}

#[test]
fn a_directory_is_root_s_the_service_s_or_the_owner_s_and_nobody_else_writes_there() {
    let group = |gid| Some(Fault::Writable(Writer::Group { gid, by_acl: false }));
    for (uid, gid, mode, expected) in [
        (0, 0, 0o755, None),
        (APP, APP, 0o700, None),
        (FIOVANA, FIOVANA, 0o750, None),
        (MALLORY, 0, 0o700, Some(Fault::Owned(MALLORY))),
        (65_534, 65_534, 0o755, Some(Fault::Owned(65_534))),
        // The group is the owner alone, or nobody at all, or several who are all trusted.
        (APP, APP, 0o775, None),
        (0, 50, 0o2775, None),
        (0, 33, 0o770, None),
        // Somebody else is in it; by the group file, by a second line of it, by the password file.
        (0, 4, 0o775, group(4)),
        (0, 80, 0o775, group(80)),
        (0, MALLORY, 0o775, group(MALLORY)),
        // Who is in it is not known.
        (0, 70, 0o775, group(70)),
        (0, 4711, 0o775, group(4711)),
        (0, 4711, 0o755, None),
        (0, 0, 0o757, Some(Fault::Writable(Writer::Everybody))),
        (APP, APP, 0o777, Some(Fault::Writable(Writer::Everybody))),
    ] {
        let context = format!("{uid}:{gid} {mode:o}");
        assert_eq!(judged(directory(uid, gid, mode), Some(APP)), expected, "{context}");
    }
}

#[test]
fn in_a_sticky_directory_what_is_next_is_root_s_or_the_service_s() {
    for (next, expected) in [
        (Some(0), None),
        (Some(FIOVANA), None),
        // Nothing is there: the service would make it.
        (None, None),
        // The owner of the source is whoever made it, and anybody could.
        (Some(APP), Some(Fault::Squattable(APP))),
        (Some(MALLORY), Some(Fault::Squattable(MALLORY))),
    ] {
        assert_eq!(judged(directory(0, 0, 0o1777), next), expected, "{next:?}");
        assert_eq!(judged(directory(0, 4, 0o1775), next), expected, "{next:?}");
    }
    // Its owner can move everything in it.
    assert_eq!(judged(directory(MALLORY, 0, 0o1777), Some(0)), Some(Fault::Owned(MALLORY)));
    // Where no stranger writes, it is a directory like any other.
    assert_eq!(judged(directory(0, 0, 0o1755), Some(APP)), None);
}

#[test]
fn the_root_directory_of_a_container_may_belong_to_nobody_in_it_and_is_not_open_for_that() {
    let outsiders = |mode| Directory { is_outsiders_root: true, ..directory(65_534, 65_534, mode) };
    assert_eq!(judged(outsiders(0o755), Some(APP)), None);
    assert!(judged(outsiders(0o775), Some(APP)).is_some() && judged(outsiders(0o757), Some(APP)).is_some());
}

#[test]
fn the_first_directory_that_is_not_safe_is_named() {
    let step = |mode| Step { directory: directory(0, 0, mode), next: Some(0) };
    let way = [step(0o755), step(0o757), step(0o777)];
    let trusted = Trusted { service: None, owner: None };
    assert_eq!(first_fault(&way, trusted, &accounts()), Some((1, Fault::Writable(Writer::Everybody))));
    assert_eq!(first_fault(&way[..1], trusted, &accounts()), None);
}

/// An ACL as the kernel gives it.
fn attribute(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let entry = |(tag, permissions, id): &(u16, u16, u32)| {
        [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    [2u32.to_le_bytes().to_vec(), entries.iter().flat_map(entry).collect()].concat()
}

#[test]
fn each_entry_of_an_acl_counts_for_itself_and_the_mask_for_all() {
    const NONE: u32 = u32::MAX;
    let (owner, other, mask) = ((0x01, 7, NONE), (0x20, 5, NONE), (0x10, 7, NONE));
    let user = |uid, permissions| (0x02, permissions, uid);
    let group = |gid, permissions| (0x08, permissions, gid);
    let own_group = |permissions| (0x04, permissions, NONE);
    let by_acl = |gid| Some(Fault::Writable(Writer::Group { gid, by_acl: true }));
    for (entries, expected) in [
        (vec![user(APP, 7), own_group(5), mask], None),
        (vec![user(MALLORY, 5), own_group(5), mask], None),
        (vec![user(MALLORY, 7), own_group(5), mask], Some(Fault::Writable(Writer::User(MALLORY)))),
        (vec![user(MALLORY, 7), own_group(5), (0x10, 5, NONE)], None),
        (vec![user(APP, 7), own_group(7), mask], Some(Fault::Writable(Writer::Group { gid: 4, by_acl: false }))),
        (vec![group(33, 7), own_group(5), mask], None),
        (vec![group(4, 6), own_group(5), mask], by_acl(4)),
        (vec![user(NONE, 7), own_group(5), mask], Some(Fault::Writable(Writer::User(NONE)))),
    ] {
        let all: Vec<_> = [owner].into_iter().chain(entries.clone()).chain([other]).collect();
        let acl = Acl::parse(&attribute(&all), 4);
        // With an ACL the group's bits are the mask.
        assert_eq!(judged(Directory { acl, ..directory(0, 4, 0o775) }, Some(APP)), expected, "{entries:?}");
    }
    let whole = attribute(&[owner, other]);
    for broken in [&whole[..0], &whole[..3], &whole[..whole.len() - 1], &[&[3, 0, 0, 0], &whole[4..]].concat()] {
        assert_eq!(Acl::parse(broken, 4), Acl::Unknown, "{broken:?}");
    }
    let unknown = Directory { acl: Acl::Unknown, ..directory(0, 0, 0o770) };
    assert_eq!(judged(unknown, Some(APP)), Some(Fault::Writable(Writer::Unknown)));
}
