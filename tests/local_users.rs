//! Other users of the same machine, and the service on its loopback port.
//!
//! Hazard: to every user of a machine its loopback is as near as to root, and a restore is a powerful call. Who is at the
//! other end is told by the kernel, as long as the connection is open; every way to leave it early is tried here, by
//! sockets that really are another user's. Only root can be somebody else: run by anybody else, these tests say so.

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use common::audit::chained_records;
use common::{Daemon, Installation, code, files};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};
use rustix::process::{Gid, Resource, Rlimit, Signal, Uid, getrlimit, setrlimit};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use serde_json::Value;

/// A user who has nothing here, and one who runs the service.
const STRANGER: u32 = 65_533;
const OWNER: u32 = 65_532;
/// Who stands for users that have no number.
const NOBODY: u32 = 65_534;

/// Longer than anything takes; only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

const ENTER: &str = "POST /api/recovery/enter HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";

/// Whether this is root; says what to do if it is not.
fn can_be_somebody_else() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        // Past the test runner's capture: nothing was tested.
        let skipped = b"skipped: run by root it tests other users: sudo -E cargo test --test local_users\n";
        std::io::stderr().write_all(skipped).unwrap();
    }
    is_root
}

/// Does something in a thread that is another user: its sockets are that user's.
fn as_user<T: Send>(user: u32, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let done = scope.spawn(|| {
            let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(user));
            set_thread_groups(&[gid]).unwrap();
            set_thread_res_gid(gid, gid, gid).unwrap();
            set_thread_res_uid(uid, uid, uid).unwrap();
            work()
        });
        done.join().unwrap()
    })
}

/// What curl gets as this user: the status, and the body.
fn curl(user: u32, arguments: &str) -> (u16, String) {
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={user}"), format!("--regid={user}"), "--clear-groups".to_owned()]);
    command.args(["--", "curl", "-sS", "-m", "60", "--noproxy", "*", "-w", "\n%{http_code}"]);
    command.args(arguments.split(' ')).current_dir("/");
    common::clear_environment(&mut command);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    let (body, status) = said.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), body.to_owned())
}

fn detail(body: &str) -> String {
    let problem: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"));
    problem["detail"].as_str().unwrap().to_owned()
}

fn address(daemon: &Daemon) -> SocketAddr {
    daemon.authority().parse().unwrap()
}

/// Everything that the audit log says somebody with this name did.
fn done_by(installation: &Installation, principal: &str) -> Vec<String> {
    let records = chained_records(&installation.path("logs/security_audit.log"));
    let theirs = records.into_iter().filter(|record| record["principal"] == principal);
    theirs.map(|record| record["event"].as_str().unwrap().to_owned()).collect()
}

/// The calls of the procedures, with the id of a backup.
fn documented(url: &str, id: &str) -> Vec<String> {
    ["backup/security", "backup/application", "backup/logs"]
        .map(|path| format!("-X POST {url}/api/{path}"))
        .into_iter()
        .chain(["backup/list", &format!("backup/{id}")].map(|path| format!("{url}/api/{path}")))
        .chain(["security", "application"].map(|set| format!("-X POST {url}/api/recovery/{set}/{id}")))
        .collect()
}

#[test]
fn the_owner_and_root_need_no_token_and_another_user_may_only_look_at_status_and_list() {
    if !can_be_somebody_else() {
        return;
    }
    let installation = Installation::new().given_to(OWNER);
    let daemon = installation.start();
    daemon.settle();
    let url = format!("http://localhost:{}", daemon.port());
    let id = daemon.list("security")[0]["id"].as_str().unwrap().to_owned();
    let live = files::snapshot(&installation.path("config"));

    for stranger in [STRANGER, NOBODY] {
        for path in ["api/status", "api/backup/list", "metrics", "healthz"] {
            assert_eq!(curl(stranger, &format!("{url}/{path}")).0, 200, "{path}");
        }
        let attacks = [
            "-X POST /api/backup/security",
            "-X POST /api/prune",
            "-X POST /api/recovery/enter",
            "-X POST /api/recovery/exit",
            "-X POST /api/recovery/plan",
            "-X POST /api/clock/accept",
            "-X POST /api/audit/accept",
            &format!("-X POST /api/recovery/security/{id}"),
            &format!("-X POST /api/backup/{id}/verify"),
            &format!("-X PUT /api/backup/{id}/pin"),
            "-X POST /api/drill/security",
            &format!("/api/backup/{id}"),
            &format!("/api/backup/{id}/files/security_config.json"),
            &format!("/api/backup/{id}/diff"),
            "/api/audit",
            "/api/events",
            "/api/jobs",
        ];
        for attack in attacks {
            let (status, body) = curl(stranger, &attack.replace("/api", &format!("{url}/api")));
            assert_eq!(status, 401, "{attack}: {body}");
            let tokens = installation.path("backups/state/api-tokens").display().to_string();
            let detail = detail(&body);
            assert!(detail.contains("sudo -u '#65532' curl") && detail.contains(&tokens), "{attack}: {detail}");
        }
        for way in ["%66iles/security_config.json", "d%69ff", "files/security%5fconfig.json"] {
            for user in [stranger, OWNER, 0] {
                assert_eq!(curl(user, &format!("{url}/api/backup/{id}/{way}")).0, 400, "{way}");
            }
        }
    }
    assert_eq!(files::snapshot(&installation.path("config")), live);
    assert_eq!(daemon.status()["mode"]["name"], "normal");

    for user in [OWNER, 0] {
        for call in documented(&url, &id) {
            let (status, body) = curl(user, &call);
            // A backup of one set is not the other's, and that is all there is against it.
            let is_of_the_other =
                call.contains("recovery/application") && status == 409 && body.contains("set-mismatch");
            assert!(status < 300 || is_of_the_other, "{user}: {call}: {status} {body}");
        }
        assert_eq!(curl(user, &format!("{url}/api/backup/{id}/files/security_config.json")).0, 401);
    }
    assert_eq!(code(daemon.terminate()), 0);
    for stranger in [STRANGER, NOBODY] {
        assert_eq!(done_by(&installation, &format!("uid:{stranger}")), ["AuthRejected"; 10]);
    }
    for user in [OWNER, 0] {
        let done = done_by(&installation, &format!("uid:{user}"));
        assert!(done.iter().any(|event| event == "RestoreCompleted"), "{done:?}");
    }
}

#[test]
fn users_in_the_settings_are_trusted_by_name_or_number_and_others_may_be_kept_from_looking() {
    if !can_be_somebody_else() {
        return;
    }
    // Somebody whom every Debian system has; the number is looked up where the program looks.
    let passwd = String::from_utf8(files::read("/etc/passwd".as_ref())).unwrap();
    let line = passwd.lines().find(|line| line.starts_with("daemon:")).unwrap();
    let daemon_user: u32 = line.split(':').nth(2).unwrap().parse().unwrap();
    let settings = "[http]\ntrusted_users = [\"daemon\", 65531]\nopen_reading = false\n";
    let installation = Installation::with_settings(settings);
    let daemon = installation.start();
    daemon.settle();
    let url = format!("http://localhost:{}", daemon.port());
    for trusted in [daemon_user, 65_531] {
        assert_eq!(curl(trusted, &format!("-X POST {url}/api/backup/security")).0, 201);
        assert_eq!(curl(trusted, &format!("{url}/api/status")).0, 200);
    }
    for path in ["api/status", "api/backup/list", "metrics"] {
        let (status, body) = curl(STRANGER, &format!("{url}/{path}"));
        assert_eq!(status, 401, "{path}: {body}");
        assert!(detail(&body).contains("[http].trusted_users"), "{body}");
    }
    assert_eq!(curl(STRANGER, &format!("{url}/healthz")).0, 200);
    assert_eq!(code(daemon.terminate()), 0);
    let done = done_by(&installation, &format!("uid:{daemon_user}"));
    assert!(done.iter().any(|event| event == "BackupCompleted" || event == "BackupUnchanged"), "{done:?}");
}

#[test]
fn a_trusted_user_who_is_none_stops_a_start_and_does_not_stop_an_emergency() {
    for (users, said) in [
        ("\"nobody-here-7\"", "there is no user nobody-here-7 in /etc/passwd"),
        ("65534", "65534 stands for users that have no number of their own"),
        ("4294967295", "4294967295 stands for users that have no number of their own"),
    ] {
        let installation = Installation::with_settings(&format!("[http]\ntrusted_users = [{users}]\n"));
        for arguments in [&[][..], &["config", "check"]] {
            let refused = installation.run(arguments);
            let line = String::from_utf8(refused.stderr).unwrap();
            assert!(matches!(code(refused.status), 1 | 2), "{line}");
            assert!(line.contains(said) && line.trim().lines().count() == 1, "{line}");
        }
        let daemon = installation.start_with(&[("FIOVANA_RECOVERY_MODE", "true")]);
        assert!(daemon.said().contains(said), "{}", daemon.said());
    }
}

/// Leaves a connection on which something was sent.
type Leave = fn(TcpStream) -> Option<TcpStream>;

/// Every way to do that. Who leaves by half keeps the other half.
const WAYS: [(&str, Leave); 4] = [
    ("closes", |_| None),
    ("resets", |stream| {
        sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
        None
    }),
    ("sends no more", |stream| {
        stream.shutdown(Shutdown::Write).unwrap();
        Some(stream)
    }),
    ("hears no more", |stream| {
        stream.shutdown(Shutdown::Both).unwrap();
        Some(stream)
    }),
];

/// The sockets of this machine that are connected to this address: state, user and inode of each.
fn connected_to(address: SocketAddr) -> Vec<(String, String, String)> {
    let table = String::from_utf8(files::read("/proc/self/net/tcp".as_ref())).unwrap();
    let port = format!(":{:04X}", address.port());
    let lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let theirs = lines.filter(|fields| fields[2].ends_with(&port));
    theirs.map(|fields| (fields[3].to_owned(), fields[7].to_owned(), fields[9].to_owned())).collect()
}

#[test]
fn a_thousand_times_nobody_is_taken_for_root_who_leaves_before_the_answer() {
    if !can_be_somebody_else() {
        return;
    }
    let installation = Installation::new();
    let daemon = installation.start();
    daemon.settle();
    let address = address(&daemon);
    let send_and = |leave: Leave| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(ENTER.as_bytes()).unwrap();
        leave(stream)
    };
    for (way, leave) in WAYS {
        as_user(STRANGER, || (0..125).for_each(|_| drop(send_and(leave))));
        assert_eq!(daemon.status()["mode"]["name"], "normal", "who {way}");
        // At its slowest: whoever came is looked up only after the kernel has let go of their sockets.
        daemon.signal(Signal::STOP);
        let kept: Vec<_> = as_user(STRANGER, || (0..125).filter_map(|_| send_and(leave)).collect());
        if way == "closes" {
            common::wait_for(
                || format!("the kernel to take them for root's: {:?}", connected_to(address)),
                || {
                    let sockets = connected_to(address);
                    let orphans = sockets.iter().filter(|(_, user, inode)| user == "0" && inode == "0").count();
                    (orphans >= 125).then_some(())
                },
            );
        }
        daemon.signal(Signal::CONT);
        assert_eq!(daemon.status()["mode"]["name"], "normal", "who {way}");
        drop(kept);
    }
    assert_eq!(code(daemon.terminate()), 0);
    assert_eq!(done_by(&installation, "uid:0"), [""; 0]);
    let records = chained_records(&installation.path("logs/security_audit.log"));
    assert!(!records.iter().any(|record| record["details"]["to"] == "recovery"), "{records:?}");
}

/// A connection from a port of one's choice, which others may have had just before.
fn connect_from(port: u16, to: SocketAddr) -> std::io::Result<TcpStream> {
    // Programs that other tests start meanwhile are not to have it, or it stays open.
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &SocketAddr::from(([127, 0, 0, 1], port)))?;
    connect(&socket, &to)?;
    Ok(socket.into())
}

/// A free port that the system gives to nobody who does not ask for it.
fn port_of_nobody() -> u16 {
    let range = String::from_utf8(files::read("/proc/sys/net/ipv4/ip_local_port_range".as_ref())).unwrap();
    let first: u16 = range.split_whitespace().next().unwrap().parse().unwrap();
    let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (first / 2 + fastrand::u16(..first / 4)..first).find(free).unwrap()
}

#[test]
fn nobody_is_taken_for_root_who_has_a_port_that_root_gets_next() {
    if !can_be_somebody_else() {
        return;
    }
    let installation = Installation::new();
    let daemon = installation.start();
    daemon.settle();
    let address = address(&daemon);
    let port = port_of_nobody();
    let mut roots = 0;
    for round in 0..300 {
        // Every other time the service is too slow to see either before both have come.
        if round % 2 == 0 {
            daemon.signal(Signal::STOP);
        }
        as_user(STRANGER, || {
            let Ok(mut stream) = connect_from(port, address) else { return };
            stream.write_all(ENTER.as_bytes()).unwrap();
            // Gone at once, and the port with it.
            sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
        });
        let root = connect_from(port, address).inspect(|_| roots += 1);
        daemon.signal(Signal::CONT);
        if let Ok(root) = root {
            assert_eq!(daemon.get("/healthz").status, 200);
            sockopt::set_socket_linger(&root, Some(Duration::ZERO)).unwrap();
        }
    }
    assert!(roots > 100, "root had the port {roots} times");
    assert_eq!(daemon.status()["mode"]["name"], "normal");
    assert_eq!(code(daemon.terminate()), 0);
    assert_eq!(done_by(&installation, "uid:0"), [""; 0]);
}

#[test]
fn who_is_connected_is_looked_up_over_ipv6_too() {
    if !can_be_somebody_else() || std::net::TcpListener::bind("[::1]:0").is_err() {
        return;
    }
    let installation = Installation::new();
    let daemon = installation.start_with(&[("FIOVANA_HTTP_BIND", "[::1]:0")]);
    daemon.settle();
    let backup = format!("-X POST http://[::1]:{}/api/backup/security", daemon.port());
    assert_eq!(curl(STRANGER, &backup).0, 401);
    assert_eq!(curl(0, &backup).0, 201);
    // An IPv6 socket on its way to an IPv4 address.
    let over_ipv4 = Installation::new();
    let daemon = over_ipv4.start();
    daemon.settle();
    let mapped = SocketAddr::from((std::net::Ipv4Addr::LOCALHOST.to_ipv6_mapped(), address(&daemon).port()));
    let ask = || {
        let mut stream = TcpStream::connect(mapped).unwrap();
        stream.write_all(b"GET /api/audit HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!((as_user(STRANGER, ask), ask()), ("401".to_owned(), "200".to_owned()));
}

#[test]
fn ten_thousand_connections_of_a_stranger_keep_root_waiting_for_nothing() {
    const CONNECTIONS: usize = 10_000;
    if !can_be_somebody_else() {
        return;
    }
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    let installation = Installation::new();
    let daemon = installation.start();
    daemon.settle();
    let address = address(&daemon);
    // Root's, which says nothing and has been there for longest.
    let mut roots = TcpStream::connect(address).unwrap();
    roots.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(daemon.get("/api/audit").status, 200);
    let mut crowd: Vec<TcpStream> = Vec::with_capacity(CONNECTIONS);
    while crowd.len() < CONNECTIONS {
        let thousand: Vec<TcpStream> =
            as_user(STRANGER, || (0..1000).map(|_| TcpStream::connect_timeout(&address, PATIENCE).unwrap()).collect());
        crowd.extend(thousand);
        let (seconds, status) = common::timed(|| daemon.get("/api/audit").status);
        println!("{} connections of a stranger: root was answered after {seconds:.3} s", crowd.len());
        assert_eq!(status, 200);
    }
    roots.write_all(b"GET /api/audit HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    roots.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "root's connection was closed for strangers: {answer}");
    println!("peak memory of the service: {} MiB", daemon.peak_memory_mib());
    drop(crowd);
    assert_eq!(code(daemon.terminate()), 0);
}

#[test]
fn a_service_that_runs_as_nobody_says_that_its_user_needs_a_token() {
    if !can_be_somebody_else() {
        return;
    }
    let installation = Installation::new().given_to(NOBODY);
    let daemon = installation.start();
    daemon.settle();
    assert!(daemon.said().contains("give the service a user of its own"), "{}", daemon.said());
    let backup = format!("-X POST http://localhost:{}/api/backup/security", daemon.port());
    assert_eq!((curl(NOBODY, &backup).0, curl(0, &backup).0), (401, 201));
    // Commands of that user have its token.
    let output = installation.command_as(NOBODY, &["backup", "security"]).output().unwrap();
    assert_eq!(code(output.status), 0, "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn an_installations_commands_find_their_way_whoever_runs_them() {
    if !can_be_somebody_else() {
        return;
    }
    let installation = Installation::new().given_to(OWNER);
    let daemon = installation.start();
    daemon.settle();
    for user in [OWNER, 0] {
        for arguments in [&["backup", "security"][..], &["status"], &["audit", "tail"], &["list"]] {
            let mut command = installation.command_as(user, arguments);
            command.gid(user);
            let output = command.output().unwrap();
            assert_eq!(code(output.status), 0, "{user} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
    assert_eq!(code(daemon.terminate()), 0);
}

/// Follows the events, as whoever this thread is: the connection, and the status of the answer.
fn follow(address: SocketAddr, token: Option<&str>) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    write!(stream, "GET /api/events HTTP/1.1\r\nHost: localhost\r\n{token}\r\n").unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    (stream, String::from_utf8_lossy(&status[9..]).into_owned())
}

#[test]
fn whoever_takes_all_they_can_leaves_a_place_to_others_and_to_root() {
    if !can_be_somebody_else() {
        return;
    }
    let installation = Installation::new();
    let daemon = installation.start();
    daemon.settle();
    let tokens = String::from_utf8(files::read(&installation.path("backups/state/api-tokens"))).unwrap();
    let token = |right: &str| {
        let line = tokens.lines().find(|line| line.contains(right) && !line.starts_with('#')).unwrap();
        line.split_whitespace().last().unwrap().to_owned()
    };
    let (operate, read, address) = (token("operate"), token("read"), address(&daemon));
    let taken = as_user(STRANGER, || (0..40).map(|_| follow(address, Some(&operate))).collect::<Vec<_>>());
    let admitted = taken.iter().filter(|(_, status)| status == "200").count();
    assert!((1..32).contains(&admitted), "{admitted} of 32 places for one token");
    assert!(taken.iter().all(|(_, status)| status == "200" || status == "503"), "{taken:?}");
    // Another token has a share of its own, and whatever others took, root has a place.
    let (_other, status) = as_user(STRANGER, || follow(address, Some(&read)));
    assert_eq!(status, "200");
    let more = as_user(STRANGER, || (0..40).map(|_| follow(address, Some(&read))).collect::<Vec<_>>());
    let (_root, status) = follow(address, None);
    assert_eq!(status, "200");
    drop((taken, more));
    daemon.wait("the places to be free again", |_| {
        as_user(STRANGER, || follow(address, Some(&operate)).1 == "200").then_some(())
    });
}
