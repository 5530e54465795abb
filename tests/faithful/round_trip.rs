//! Random trees come back equal by every way there is, judged by rsync.
//!
//! Hazard: a comparison of our own that overlooks what the capture overlooks finds every restore right. So a tree of all
//! kinds of entries is brought back by `restore --to`, in place, by `export` and by the lines of RESTORE.txt, plain and
//! encrypted, as root and as an ordinary user, and another program says what differs.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{self, UNPRIVILEGED, files, repository};
use crate::instructions;
use crate::place::{DONE, Place};
use fastrand::Rng;

const CHUNK_BYTES: usize = 1 << 20;

/// Where names may go wrong: options, spaces, line breaks, quotes, escapes, bytes that are no text, names like ours.
const NAMES: [&[u8]; 12] = [
    b"plain",
    b"-rf",
    b" ",
    b"two words",
    b"line\nbreak\n",
    b"tab\tbed",
    b"quote'\"$x`y`",
    b"back\\slash\\0101",
    b"\xff\xfe",
    "\u{fc}ml\u{e4}ut \u{6587}".as_bytes(),
    b"..data",
    b"log.json.gz",
];

fn run(program: &str, arguments: &[&OsStr]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A random tree below `root`; its entries belong to `owner`, or, of root's, to several.
fn grow(root: &Path, random: &mut Rng, owner: Option<u32>) {
    let mut directories = vec![root.to_owned()];
    let mut plain: Vec<PathBuf> = Vec::new();
    let mut made: Vec<PathBuf> = Vec::new();
    for number in 0..random.usize(20..40) {
        let directory = random.choice(&directories).unwrap().clone();
        let mut name = random.choice(NAMES).unwrap().to_vec();
        name.extend(number.to_string().bytes());
        let path = directory.join(OsStr::from_bytes(&name));
        match random.u8(..10) {
            0..2 => {
                fs::create_dir(&path).unwrap();
                directories.push(path.clone());
            }
            2 => symlink(OsStr::from_bytes(random.choice(NAMES).unwrap()), &path).unwrap(),
            3 if !plain.is_empty() => {
                fs::hard_link(random.choice(&plain).unwrap(), &path).unwrap();
                continue;
            }
            4 => {
                // A hole before, between and after what is there.
                let file = fs::File::create(&path).unwrap();
                file.write_all_at(b"in the middle", 3 << 20).unwrap();
                file.set_len(random.u64(4 << 20..9 << 20)).unwrap();
                plain.push(path.clone());
            }
            _ => {
                let length = *random.choice(&[0, 1, 17, 5000, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1]).unwrap();
                let mut content: Vec<u8> = (0..length).map(|_| random.u8(..)).collect();
                if random.bool() && length > 0 {
                    content[length - 1] = b'\n';
                }
                files::write(&path, content);
                plain.push(path.clone());
            }
        }
        made.push(path);
    }
    made.iter().for_each(|path| dress(path, random, owner));
    // Directories last, from the deepest: what is made in one changes its time.
    for directory in directories.iter().rev() {
        touch(directory, random);
    }
}

/// Gives an entry owners, attributes, a mode and a time.
fn dress(path: &Path, random: &mut Rng, owner: Option<u32>) {
    let kind = path.symlink_metadata().unwrap().file_type();
    let owner = owner.unwrap_or_else(|| *random.choice(&[0, 1, UNPRIVILEGED]).unwrap());
    if is_root() {
        lchown(path, Some(owner), Some(owner)).unwrap();
    }
    if !kind.is_symlink() {
        if random.u8(..3) == 0 {
            let value = OsStr::new("0x00ff0a");
            run("setfattr", &[OsStr::new("-n"), OsStr::new("user.note"), OsStr::new("-v"), value, path.as_os_str()]);
        }
        if random.u8(..3) == 0 {
            run("setfacl", &[OsStr::new("-m"), OsStr::new("u:1:rw"), path.as_os_str()]);
        }
        let modes: &[u32] = if kind.is_dir() { &[0o755, 0o700, 0o2750] } else { &[0o644, 0o600, 0o440, 0o755] };
        fs::set_permissions(path, fs::Permissions::from_mode(*random.choice(modes).unwrap())).unwrap();
    }
    touch(path, random);
}

fn touch(path: &Path, random: &mut Rng) {
    let times = ["@1", "@1000000000.123456789", "@1764547200.5", "@4102444800.000000001", "@-86400.25"];
    let time = OsStr::new(random.choice(times).unwrap());
    run("touch", &[OsStr::new("-h"), OsStr::new("-d"), time, path.as_os_str()]);
}

/// What rsync would change to make one tree the other: nothing, if they are equal in content, kinds, links, modes, owners,
/// times to the nanosecond, ACLs and attributes.
fn assert_equal(context: &str, one: &Path, other: &Path) {
    assert_equal_in("-naciAXH", context, one, other);
}

/// The same in what these options of rsync compare.
fn assert_equal_in(compared: &str, context: &str, one: &Path, other: &Path) {
    for (from, to) in [(one, other), (other, one)] {
        let slashed = |path: &Path| [path.as_os_str().as_bytes(), b"/"].concat();
        let options = [compared, "--numeric-ids", "--delete", "--modify-window=-1"];
        let mut arguments: Vec<&OsStr> = options.iter().map(OsStr::new).collect();
        let (from, to) = (slashed(from), slashed(to));
        arguments.extend([OsStr::from_bytes(&from), OsStr::from_bytes(&to)]);
        let differences = run("rsync", &arguments);
        assert_eq!(differences, "", "{context}: rsync would change");
    }
}

/// The installation of one case, with a tree in its source.
fn site(is_encrypted: bool, is_ordinary: bool, random: &mut Rng) -> Place {
    let place = if is_ordinary { Place::unprivileged(r#""**""#) } else { Place::new(r#""**""#, "") };
    if is_encrypted {
        let settings = place.0.path("config/fiovana.toml");
        let text = fs::read_to_string(&settings).unwrap();
        files::write(&settings, format!("{text}[backup]\nencryption_enabled = true\n"));
        place.run(&["key", "init"], DONE);
    }
    grow(&place.source(""), random, is_ordinary.then_some(UNPRIVILEGED));
    place
}

fn seeds() -> Vec<u64> {
    let given = std::env::var("FIOVANA_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    given.map_or_else(|| (1..=if common::long() { 50 } else { 2 }).collect(), |seed| vec![seed])
}

#[test]
fn a_random_tree_comes_back_equal_by_every_way_there_is() {
    for (seed, is_encrypted, is_ordinary) in
        seeds().into_iter().flat_map(|seed| [(false, false), (false, true), (true, false)].map(|(e, o)| (seed, e, o)))
    {
        if is_ordinary && !is_root() {
            continue;
        }
        let context = format!("FIOVANA_TEST_SEED={seed}, encrypted {is_encrypted}, as an ordinary user {is_ordinary}");
        let mut random = Rng::with_seed(seed);
        let place = site(is_encrypted, is_ordinary, &mut random);
        let source = place.source("");
        let original = place.0.path("original");
        run("cp", &[OsStr::new("-a"), source.as_os_str(), original.as_os_str()]);
        assert_equal(&format!("{context}: cp -a"), &original, &source);
        let backup = place.back_up(DONE);
        let id = backup["id"].as_str().unwrap();

        let elsewhere = place.0.path("elsewhere");
        place.run(&["restore", "t", id, "--to", elsewhere.to_str().unwrap()], DONE);
        assert_equal(&format!("{context}: restore --to"), &original, &elsewhere);

        let archive = place.0.path("out.tar.zst");
        place.run(&["export", id, archive.to_str().unwrap()], DONE);
        let unpacked = place.0.path("unpacked");
        fs::create_dir(&unpacked).unwrap();
        let options = ["--zstd", "-xpf"].map(OsStr::new);
        let more = ["--numeric-owner", "--same-owner", "--xattrs", "--xattrs-include=*", "-C"].map(OsStr::new);
        let arguments = [&options[..], &[archive.as_os_str()], &more, &[unpacked.as_os_str()]].concat();
        run("tar", &arguments);
        assert_equal(&format!("{context}: export"), &original, &unpacked);

        by_hand(&place, id, is_encrypted, &original, &context);
        by_another_reader(&place, id, is_encrypted, &original, &context);

        for entry in fs::read_dir(&source).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => fs::remove_dir_all(entry.path()).unwrap(),
                false => fs::remove_file(entry.path()).unwrap(),
            }
        }
        place.run(&["restore", "t", id], DONE);
        // The directory itself was there, and is as what was done in it left it.
        run("touch", &[OsStr::new("-r"), original.as_os_str(), source.as_os_str()]);
        assert_equal(&format!("{context}: restore in place"), &original, &source);
    }
}

/// By the lines of RESTORE.txt.
fn by_hand(place: &Place, id: &str, is_encrypted: bool, original: &Path, context: &str) {
    let (backups, to) = (place.0.path("backups"), place.0.path("by-hand"));
    let text = String::from_utf8(files::read(&backups.join("RESTORE.txt"))).unwrap();
    let steps: [String; 9] = instructions::steps(&text).try_into().unwrap();
    let [_, _, _, _, functions, list, bring_back, _, attributes] = steps;
    let key = if is_encrypted { format!("{:?}", place.0.path("fiovana-app.key")) } else { String::new() };
    let manifest = repository::manifest_path(Path::new(""), "t", id);
    let script = format!("KEY={key}\n{functions}\n{list}\n{bring_back}\n{attributes}");
    instructions::run(&script, &backups, manifest.to_str().unwrap(), &to);
    assert_equal(&format!("{context}: RESTORE.txt"), original, &to);
}

/// By a reader that was written from FORMAT.md alone: content and kinds.
fn by_another_reader(place: &Place, id: &str, is_encrypted: bool, original: &Path, context: &str) {
    let (backups, to, key) = (place.0.path("backups"), place.0.path("read"), place.0.path("fiovana-app.key"));
    let reader = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/independent_reader.py");
    let mut arguments = vec![reader.as_os_str(), backups.as_os_str()];
    if is_encrypted {
        arguments.extend([OsStr::new("--key"), key.as_os_str()]);
    }
    arguments.extend([OsStr::new("restore"), OsStr::new("t"), OsStr::new(id), to.as_os_str()]);
    run("python3", &arguments);
    assert_equal_in("-nrlciH", &format!("{context}: the independent reader"), original, &to);
}
