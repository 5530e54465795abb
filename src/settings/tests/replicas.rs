//! Which sets are kept in which replica, and where a replica may not be.
//!
//! Hazard: a replica in the wrong place goes with what it was to protect.

use super::*;

fn line(toml: &str) -> String {
    let refusals = House::with(toml).refusals();
    assert_eq!(refusals.len(), 1, "{toml}\n{refusals:?}");
    refusals[0].clone()
}

fn sets(settings: &Settings, name: &str) -> Vec<String> {
    let replica = settings.replicas.iter().find(|replica| replica.name.as_str() == name).unwrap();
    replica.sets.iter().map(ToString::to_string).collect()
}

#[test]
fn unless_any_is_said_critical_and_high_sets_are_kept_beside_the_backups() {
    let house = House::empty();
    let settings = house.load();
    let [replica] = settings.replicas.as_slice() else { panic!("{:?}", settings.replicas) };
    assert_eq!((replica.path.clone(), replica.is_built_in_place), (house.at("backups/replica"), true));
    assert_eq!(sets(&settings, "local"), ["security", "application", "service"]);
    let elsewhere = House::empty().variable("FIOVANA_BACKUP_DIRECTORY", "/srv/b").load();
    assert_eq!(elsewhere.replicas[0].path, PathBuf::from("/srv/b/replica"));
}

#[test]
fn replicas_can_be_turned_off_and_one_that_is_said_takes_the_place_of_the_built_in_one() {
    assert_eq!(House::with("replicas = []").load().replicas, []);
    let settings = House::with("[[replicas]]\nname = 'usb'\npath = '/mnt/r'\nmax_backups = 3").load();
    let [usb] = settings.replicas.as_slice() else { panic!("{:?}", settings.replicas) };
    assert_eq!((usb.name.as_str(), usb.is_built_in_place, usb.max_backups), ("usb", false, Some(3)));
}

#[test]
fn what_a_set_says_of_itself_beats_its_priority() {
    let toml = "[sets.security]\nreplicate = false\n[sets.logs]\nreplicate = true";
    assert_eq!(sets(&House::with(toml).load(), "local"), ["application", "service", "logs"]);
    let said = "[[replicas]]\nname = 'usb'\npath = '/mnt/r'\n";
    assert_eq!(sets(&House::with(&format!("{said}sets = ['logs', 'security']")).load(), "usb"), ["security", "logs"]);
    assert_eq!(sets(&House::with(&format!("{said}priorities = ['medium']")).load(), "usb"), ["logs"]);
}

#[test]
fn a_replica_is_apart_from_the_backups_the_sources_and_other_replicas() {
    let at = |path: &str| line(&format!("[[replicas]]\nname = 'usb'\npath = '{path}'"));
    for path in ["backups", "backups/other", "backups/replica/deeper", ".", "/"] {
        assert!(at(path).contains("the backup directory"), "{path}: {}", at(path));
    }
    let held = "[sets.docs]\nsource = 'docs'\nfiles = ['**']\n[[replicas]]\nname = 'usb'\npath = 'docs/r'";
    assert!(line(held).contains("apart from the files of the set docs"), "{}", line(held));
    let two = |name: &str, path: &str| {
        line(&format!("[[replicas]]\nname = 'usb'\npath = '/mnt/r'\n[[replicas]]\nname = '{name}'\npath = '{path}'"))
    };
    assert!(two("usb", "/mnt/s").contains("another replica has this name"));
    assert!(two("b", "/mnt/r").contains("apart from that of the replica usb"));
    assert!(two("b", "/mnt/r/deeper").contains("apart from that of the replica usb"));
}

#[test]
fn a_replica_that_says_something_impossible_is_refused() {
    let refused = |rest: &str| line(&format!("[[replicas]]\nname = 'usb'\npath = '/mnt/r'\n{rest}"));
    assert!(refused("sets = ['nothing']").contains("there is no set nothing"));
    assert!(refused("sets = []").contains("give a list of sets"));
    assert!(refused("sets = ['security']\npriorities = ['high']").contains("not both"));
    assert!(refused("sets = ['logs']\n[sets.logs]\nreplicate = false").contains("say one or the other"));
    assert!(refused("retention = 3").contains("did you mean") || refused("retention = 3").contains("known here are"));
    assert!(line("[[replicas]]\npath = '/mnt/r'").contains("replicas.1.name: nothing"));
    assert!(line("[[replicas]]\nname = 'usb'").contains("replicas.usb.path: nothing"));
    assert!(line("replicas = 'none'").contains("[[replicas]]"));
}
