//! A real filesystem of a few MiB, for a test that fills it.
//!
//! Hazard: filling a disk that somebody else uses, or leaving a mount behind. The test runs itself again in a mount
//! namespace of its own, where a tmpfs is mounted that nobody else sees and that goes with the process.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;

const INSIDE: &str = "FIOVANA_TEST_SMALL_DISK";

/// Runs the body of the test called `name` on an empty disk of `mib` MiB.
pub fn on_a_small_disk(name: &str, mib: u32, body: impl Fn(&Path)) {
    if let Some(disk) = std::env::var_os(INSIDE) {
        let disk = Path::new(&disk);
        let options = format!("size={mib}m,mode=0700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(disk).status();
        assert!(mounted.is_ok_and(|status| status.success()), "mount a tmpfs in a namespace of our own");
        return body(disk);
    }
    let place = tempfile::tempdir().expect("a scratch directory");
    let test = std::env::current_exe().expect("this program");
    // Anybody may have a user namespace, unless the machine forbids it; root needs none.
    let namespaces: [&[&str]; 2] = [&["--user", "--map-root-user", "--mount"], &["--mount"]];
    let possible = |namespace: &&&[&str]| {
        let mut tried = Command::new("unshare");
        tried.args(**namespace).args(["mount", "-t", "tmpfs", "tmpfs"]).arg(place.path());
        tried.output().is_ok_and(|output| output.status.success())
    };
    let Some(namespace) = namespaces.iter().find(possible) else {
        panic!(
            "a filesystem of {mib} MiB cannot be mounted here: allow user namespaces \
             (sysctl kernel.unprivileged_userns_clone=1, or user.max_user_namespaces above 0), or run as root"
        );
    };
    let mut inside = Command::new("unshare");
    inside.args(*namespace).arg(test).args(["--exact", name, "--nocapture"]).env(INSIDE, place.path());
    let output = inside.output().expect("run this test again, inside");
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success() && said.contains("1 passed"), "inside the namespace:\n{said}");
}

/// Writes into a file until not one byte more fits on its disk.
pub fn fill(path: &Path) {
    let mut file = File::create(path).expect("create");
    for block in [1 << 20, 4096, 1] {
        let bytes = vec![1; block];
        while file.write_all(&bytes).is_ok() {}
    }
}
