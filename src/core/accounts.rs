//! Users and groups, as passwd(5) and group(5) list them.
//!
//! Hazard: a group that is taken for one user's own, and has somebody else in it. A member that cannot be looked up counts
//! as somebody else, and so do those of a group that may be listed elsewhere.

use super::printable::plain;

/// What the system knows of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The name.
    pub name: String,
    /// The group that it logs in with.
    pub gid: u32,
    /// Every group it is in.
    pub groups: Vec<u32>,
    /// The home directory.
    pub home: String,
}

/// Who is in a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Members {
    /// These users, and nobody else.
    Only(Vec<u32>),
    /// No account: a process is in it only if whoever started it put it there, as containers do.
    NoAccount,
    /// That cannot be told.
    Unknown,
}

/// The texts of the system's files.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    /// `/etc/passwd`.
    pub passwd: String,
    /// `/etc/group`.
    pub group: String,
    /// `/etc/nsswitch.conf`, which says where else users and groups are listed.
    pub nsswitch: String,
}

/// Sources of nsswitch.conf(5) that add nobody who could log in besides those in the files.
const LOCAL_SOURCES: [&str; 4] = ["files", "compat", "systemd", "altfiles"];

impl Accounts {
    /// The account with this number.
    pub fn account(&self, uid: u32) -> Option<Account> {
        let (name, gid, home) = self.passwd.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, number, gid, _, home, ..] = fields[..] else { return None };
            (number.parse() == Ok(uid)).then_some((name, gid.parse::<u32>().ok()?, home))
        })?;
        let member_of = self.groups().filter(|group| group.members.contains(&name));
        let mut groups: Vec<u32> = [gid].into_iter().chain(member_of.map(|group| group.gid)).collect();
        groups.sort_unstable();
        groups.dedup();
        Some(Account { name: name.to_owned(), gid, groups, home: home.to_owned() })
    }

    /// The number of the user with this name.
    pub fn number(&self, name: &str) -> Option<u32> {
        self.users().find(|user| user.name == name).map(|user| user.uid)
    }

    /// The name of the user with this number.
    pub fn user_name(&self, uid: u32) -> Option<&str> {
        self.users().find(|user| user.uid == uid).map(|user| user.name)
    }

    /// The name of the group with this number.
    pub fn group_name(&self, gid: u32) -> Option<&str> {
        self.groups().find(|group| group.gid == gid).map(|group| group.name)
    }

    /// `app (uid 1001)`, or the number alone.
    pub fn user(&self, uid: u32) -> String {
        match self.user_name(uid) {
            Some(name) => format!("{} (uid {uid})", plain(name)),
            None => format!("uid {uid}"),
        }
    }

    /// `staff (gid 50)`, or the number alone.
    pub fn group(&self, gid: u32) -> String {
        match self.group_name(gid) {
            Some(name) => format!("{} (gid {gid})", plain(name)),
            None => format!("gid {gid}"),
        }
    }

    /// Who is in the group with this number, whether as a member or because it is the one that they log in with.
    pub fn members(&self, gid: u32) -> Members {
        let mut members: Vec<u32> = self.users().filter(|user| user.gid == gid).map(|user| user.uid).collect();
        let mut is_listed = !members.is_empty();
        for group in self.groups().filter(|group| group.gid == gid) {
            is_listed = true;
            for name in group.members {
                let Some(user) = self.users().find(|user| user.name == name) else { return Members::Unknown };
                members.push(user.uid);
            }
        }
        members.sort_unstable();
        members.dedup();
        match is_listed {
            true => Members::Only(members),
            false if self.has_other_sources() => Members::Unknown,
            false => Members::NoAccount,
        }
    }

    fn users(&self) -> impl Iterator<Item = User<'_>> {
        self.passwd.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, uid, gid, ..] = fields[..] else { return None };
            Some(User { name, uid: uid.parse().ok()?, gid: gid.parse().ok()? })
        })
    }

    fn groups(&self) -> impl Iterator<Item = Group<'_>> {
        self.group.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, gid, members] = fields[..] else { return None };
            let members = members.split(',').map(str::trim).filter(|name| !name.is_empty());
            Some(Group { name, gid: gid.parse().ok()?, members: members.collect() })
        })
    }

    fn has_other_sources(&self) -> bool {
        let lines = self.nsswitch.lines().filter_map(|line| line.split('#').next()?.split_once(':'));
        let mut lists = lines.filter(|(list, _)| matches!(list.trim(), "passwd" | "group" | "initgroups"));
        lists.any(|(_, sources)| {
            let mut words = sources.split_whitespace().filter(|word| !word.starts_with('[') && !word.ends_with(']'));
            words.any(|source| !LOCAL_SOURCES.contains(&source))
        })
    }
}

struct User<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: Vec<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        Accounts {
            passwd: "root:x:0:0:root:/root:/bin/sh\ntorn\nfiovana:x:998:997::/var/lib/fiovana:/usr/sbin/nologin\n\
                     ada:x:1000:1000::/home/ada:/bin/sh\nbob:x:1001:1000::/home/bob:/bin/sh\n"
                .into(),
            group: "root:x:0:\nadm:x:4:syslog,fiovana\nfiovana:x:997:\nshared:x:50:fiovana,ada\nsudo:x:27:fiovana2\n\
                    torn:x\nempty:x:60:\n"
                .into(),
            nsswitch: "passwd: files systemd # users\ngroup: files [SUCCESS=merge] systemd\nhosts: dns\n".into(),
        }
    }

    #[test]
    fn an_account_has_its_name_its_home_and_every_group() {
        let known = accounts().account(998).unwrap();
        let home = "/var/lib/fiovana".to_owned();
        assert_eq!(known, Account { name: "fiovana".into(), gid: 997, groups: vec![4, 50, 997], home });
        assert_eq!(accounts().account(0).unwrap().groups, [0]);
        assert_eq!(accounts().account(5), None);
    }

    #[test]
    fn a_user_is_found_by_name() {
        let accounts = accounts();
        assert_eq!((accounts.number("fiovana"), accounts.number("root")), (Some(998), Some(0)));
        assert_eq!((accounts.number("fio"), accounts.number("torn"), accounts.number("")), (None, None, None));
    }

    #[test]
    fn members_are_those_listed_and_those_who_log_in_with_the_group() {
        let accounts = accounts();
        for (gid, expected) in [
            (0, Members::Only(vec![0])),
            (997, Members::Only(vec![998])),
            (1000, Members::Only(vec![1000, 1001])),
            (50, Members::Only(vec![998, 1000])),
            (60, Members::Only(vec![])),
            (2000, Members::NoAccount),
        ] {
            assert_eq!(accounts.members(gid), expected, "{gid}");
        }
    }

    #[test]
    fn a_member_that_is_no_user_here_is_somebody() {
        assert_eq!(accounts().members(4), Members::Unknown);
        assert_eq!(accounts().members(27), Members::Unknown);
    }

    #[test]
    fn a_group_that_may_be_listed_elsewhere_is_somebodys() {
        for nsswitch in ["group: files sss", "passwd:\tfiles ldap\n", "initgroups: winbind"] {
            let accounts = Accounts { nsswitch: nsswitch.into(), ..accounts() };
            assert_eq!(accounts.members(2000), Members::Unknown, "{nsswitch}");
            assert_eq!(accounts.members(997), Members::Only(vec![998]), "{nsswitch}");
        }
    }

    #[test]
    fn users_and_groups_are_named_where_they_have_names() {
        let accounts = accounts();
        assert_eq!((accounts.user(1000), accounts.user(5)), ("ada (uid 1000)".into(), "uid 5".into()));
        assert_eq!((accounts.group(50), accounts.group(5)), ("shared (gid 50)".into(), "gid 5".into()));
        let hostile = Accounts { passwd: "a\u{1b}[31m:x:7:7:::\n".into(), ..Accounts::default() };
        assert_eq!(hostile.user(7), "a\\u{1b}[31m (uid 7)");
    }
}
