//! The client against services that answer well, badly and not at all.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use super::*;
use crate::actors::problems::chain;
use crate::api::{Problem, ProblemKind};
use crate::cli::samples;
use crate::cli::test_service::{TestService, answer, refusal};

#[test]
fn a_backup_is_asked_for_as_the_procedures_write_it() {
    let service = TestService::start(|_| answer(201, &samples::details()));
    let backup = service.remote().backup(&"security".parse().unwrap(), &Progress::default()).unwrap();
    assert_eq!(backup, samples::details());
    assert_eq!(service.requests(), [("POST /api/backup/security".into(), String::new())]);
}

#[test]
fn a_list_is_asked_for_with_what_was_typed_and_no_more() {
    let service = TestService::start(|_| answer(200, &BackupList { backups: vec![], next: None }));
    let remote = service.remote();
    remote.list(&ListQuery::default()).unwrap();
    remote.list(&ListQuery { set: Some("logs".into()), limit: Some(5), after: Some("2026".into()) }).unwrap();
    let asked: Vec<String> = service.requests().into_iter().map(|(request, _)| request).collect();
    assert_eq!(asked, ["GET /api/backup/list", "GET /api/backup/list?set=logs&limit=5&after=2026"]);
}

#[test]
fn a_restore_sends_how_it_is_to_be_done() {
    let service = TestService::start(|_| answer(200, &samples::restored()));
    let options = RestoreOptions { file: Some("ä b.json".into()), replace_logs: true, ..RestoreOptions::default() };
    let outcome = service
        .remote()
        .restore(&"security".parse().unwrap(), &BackupRef::Latest, &options, &Progress::default())
        .unwrap();
    assert_eq!(outcome, samples::restored());
    let (request, body) = service.requests().remove(0);
    assert_eq!(request, "POST /api/recovery/security/latest");
    assert_eq!(serde_json::from_str::<RestoreOptions>(&body).unwrap(), options);
}

#[test]
fn losses_are_acknowledged_in_the_body() {
    let service = TestService::start(|_| answer(200, &samples::mode()));
    service.remote().exit_recovery(&["logs/error.log".into()]).unwrap();
    let (request, body) = service.requests().remove(0);
    assert_eq!(request, "POST /api/recovery/exit");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body, serde_json::json!({ "acknowledge": ["logs/error.log"] }));
}

#[test]
fn a_problem_comes_back_as_it_was_said() {
    let service = TestService::start(|_| refusal(&Problem::new(ProblemKind::Busy, "security is being backed up")));
    let Err(Refusal::Problem(problem)) = service.remote().backup(&"security".parse().unwrap(), &Progress::default())
    else {
        panic!("no problem")
    };
    assert_eq!(problem, Problem::new(ProblemKind::Busy, "security is being backed up"));
}

#[test]
fn a_service_that_dies_meanwhile_leaves_it_open_what_was_done() {
    let service = TestService::start(|_| None);
    let Err(Refusal::Remote(error @ RemoteError::Lost { .. })) = service.remote().enter_recovery() else {
        panic!("an answer")
    };
    assert!(error.to_string().contains("may have been done or not"), "{error}");
}

#[test]
fn an_answer_of_another_kind_is_no_result() {
    for script in [|_: &str| Some((200, "<html>".into())), |_: &str| Some((500, "oops".into()))] {
        let service = TestService::start(script);
        let refusal = service.remote().status().unwrap_err();
        assert!(
            matches!(refusal, Refusal::Remote(RemoteError::Foreign { peer: trouble::Peer::Process(4711), .. })),
            "{refusal}"
        );
    }
}

#[test]
fn a_service_that_hangs_is_named_with_what_to_do() {
    // Connections are accepted by the kernel; nobody reads them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let api = silent.local_addr().unwrap().to_string();
    let holder = Holder { pid: 4711, host: "here".into(), api: Some(api.clone()) };
    let error = Remote::reach(Path::new("/backups"), holder, Duration::from_millis(50)).unwrap_err();
    assert!(matches!(error, RemoteError::Silent { .. }));
    let text = chain(&error);
    for part in ["process 4711 on here holds /backups", &api, "50ms", "kill 4711"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn a_holder_without_an_api_is_named_with_what_to_do() {
    let holder = Holder { pid: 4711, host: "here".into(), api: None };
    let error = Remote::reach(Path::new("/backups"), holder, PATIENCE).unwrap_err();
    let expected = "/backups is in use by process 4711 on here, which has no API: \
                    wait until it is done, or stop it: kill 4711";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn an_address_is_asked_with_the_token_and_named_in_what_goes_wrong() {
    let service = TestService::start(|_| Some((200, "<html>".into())));
    let url: ServiceUrl = format!("http://{}", service.holder().api.unwrap()).parse().unwrap();
    let remote = Remote::at(&url, PATIENCE).unwrap().with_token(Some("t".repeat(32)));
    let Err(Refusal::Remote(error)) = remote.status() else { panic!("an answer") };
    assert!(
        error.to_string().starts_with(&format!("the service at {url} answered 200 with something else")),
        "{error}"
    );
}

#[test]
fn an_address_where_nobody_or_a_stranger_answers_is_no_service() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = Remote::at(&format!("http://{free}").parse().unwrap(), PATIENCE).unwrap_err();
    assert!(
        chain(&nobody).contains("nothing answers at http://127.0.0.1:") && chain(&nobody).contains("refused"),
        "{nobody}"
    );

    let service = TestService::start(|_| Some((404, "<html>".into())));
    let url: ServiceUrl = format!("http://{}/elsewhere", service.holder().api.unwrap()).parse().unwrap();
    let stranger = Remote::at(&url, PATIENCE).unwrap_err();
    assert!(stranger.to_string().contains("is no fiovana-app (GET /healthz: 404)"), "{stranger}");
}

#[test]
fn a_refused_token_is_advised_on_in_the_words_of_a_command_line() {
    let service = TestService::start(|_| refusal(&Problem::new(ProblemKind::Unauthorized, "send a header")));
    let url: ServiceUrl = format!("http://{}", service.holder().api.unwrap()).parse().unwrap();
    let none = Remote::at(&url, PATIENCE).unwrap().status().unwrap_err();
    assert!(none.to_string().contains("wants a token") && none.to_string().contains("--token-file"), "{none}");
    let wrong = Remote::at(&url, PATIENCE).unwrap().with_token(Some("t".repeat(32))).status().unwrap_err();
    assert!(wrong.to_string().contains("does not know the token"), "{wrong}");
}

#[test]
fn a_socket_where_nobody_lets_anybody_in_is_not_waited_at_for_ever() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("api.sock");
    let listener = UnixListener::bind(&path).unwrap();
    // One is kept that was not let in yet, and no more.
    rustix::net::listen(&listener, 0).unwrap();
    let url: ServiceUrl = format!("unix:{}", path.display()).parse().unwrap();
    let reach = || Remote::at(&url, Duration::from_millis(50)).unwrap_err();
    for place in ["kept", "outside"] {
        let said = chain(&reach());
        assert!(said.contains(&format!("nothing answers at {url}")) && said.contains("timeout"), "{place}: {said}");
    }
}
