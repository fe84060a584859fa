//! `wxsub serve` and `wxsub key`.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::Value;
use wxsub_test_support::wait_for;

use super::interrupt::signal;
use super::served::{
    ALL, KEY, Served, app, ask, client, config, head, read_during, token_path, wait_for_responses,
};
use super::weixin::{APPID, CLASSIC_TOKEN, Gate, SECRET, UNUSED_BASE, Weixin, allow, line, read_message};
use super::wxsub::{append, file, folder, replace, wxsub};

#[test]
fn restart_costs_no_fetch_and_second_server_is_rejected() {
    let weixin = Weixin::start();
    let state = folder();
    let folder = state.path().display();
    let path = config("restart.toml", &weixin.base, &format!("state_dir = \"{folder}\"\n"));
    let server = Served::start(&path);
    let before = server.token(KEY);
    let second = wxsub(&["serve", "--config", &path]).env("APP_SECRET", SECRET).run();
    second.said(1, "state_dir: another server uses it");
    assert_eq!(server.stop("KILL"), None);
    let server = Served::start(&path);
    let after = server.token(KEY);
    assert_eq!(["access_token", "generation"].map(|name| before[name] == after[name]), [true; 2]);
    assert_eq!(weixin.seen(CLASSIC_TOKEN), 1);
    let names: Vec<_> = fs::read_dir(state.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let secrets = [SECRET, before["access_token"].as_str().unwrap()];
    assert!(names.iter().all(|name| !secrets.iter().any(|secret| name.contains(secret))), "{names:?}");
    // An unreadable file is moved aside and reported.
    server.stop("KILL");
    fs::write(format!("{folder}/{APPID}.json"), "{").unwrap();
    let server = Served::start(&path);
    server.token(KEY);
    let shown: Value = serde_json::from_str(&server.get("/v1/apps", KEY).1).unwrap();
    assert_eq!(shown["apps"][0]["state_file_broken"], true);
    assert!(fs::exists(format!("{folder}/{APPID}.broken")).unwrap());
}

/// A file adds an app and a client, a broken one changes nothing, and the check names its line.
#[test]
fn included_files_apply_at_the_next_reload() {
    let weixin = Weixin::start();
    let (added, added_lines) = client("added", ALL);
    let folder = folder();
    let apps = folder.path().join("apps.d");
    fs::create_dir(&apps).unwrap();
    let main_file = config("included.toml", &weixin.base, "include = \"apps.d/*.toml\"\n");
    let path = folder.path().join("wxsub.toml").to_str().unwrap().to_owned();
    fs::rename(main_file, &path).unwrap();
    let server = Served::start(&path);
    let token = server.token(KEY);
    let app = |appid| app(appid, &weixin.base);
    weixin.sandbox.add_app("wx2".parse().unwrap(), SECRET.parse().unwrap(), []);
    fs::write(apps.join("added.toml"), app("wx2") + &added_lines).unwrap();
    assert_eq!(server.get("/v1/apps/wx2/access_token", &added).0, 401, "before the reload");
    server.reload();
    assert_eq!(server.get("/v1/apps/wx2/access_token", &added).0, 200);
    assert_eq!(server.token(KEY)["access_token"], token["access_token"]);
    fs::write(apps.join("broken.toml"), app("wx3") + "tokn = 1\n" + &app(APPID)).unwrap();
    let check = || wxsub(&["serve", "--check", "--config", &path]).env("APP_SECRET", SECRET).run();
    check().assert_wrong(&[
        "apps.d/broken.toml:6: apps[0].tokn: is an unknown key",
        &format!("apps.d/broken.toml:7: apps[1]: appid {APPID} is used twice, first in {path}:"),
    ]);
    server.hang_up("apps.d/broken.toml:6: apps[0].tokn");
    server.wait_until_it_says("the previous one stays in use");
    assert_eq!(server.get("/v1/apps/wx2/access_token", &added).0, 200);
    fs::remove_file(apps.join("broken.toml")).unwrap();
    fs::remove_file(apps.join("added.toml")).unwrap();
    assert_eq!(check().code, 0);
    server.reload();
    assert_eq!(server.get("/v1/apps/wx2/access_token", &added).0, 401);
    assert_eq!(server.token(KEY)["access_token"], token["access_token"]);
}

/// Sends a message to the gate on a new connection.
fn held(server: &Served) -> thread::JoinHandle<Option<(u16, String)>> {
    let address = server.address().to_owned();
    let (path, body) = (format!("/v1/apps/{APPID}/messages"), line("oUser", 1, "hold"));
    thread::spawn(move || ask(&address, "POST", &path, KEY, body.as_bytes()))
}

#[test]
fn signal_finishes_requests_and_second_signal_ends_them() {
    let gate = Gate::start();
    let path = config("drain.toml", &gate.base, "");
    let mut server = Served::start(&path);
    allow(&gate.sandbox, "oUser", 1);
    let sending = held(&server);
    gate.wait_for(1);
    signal(&server.child, "TERM");
    server.wait_until_it_says("finishing requests in progress");
    gate.open();
    let (status, body) = sending.join().unwrap().unwrap();
    assert_eq!(status, 200, "{body}");
    assert_eq!(server.child.wait().unwrap().code(), Some(0));

    let gate = Gate::start();
    let path = config("drain_twice.toml", &gate.base, "");
    let server = Served::start(&path);
    let sending = held(&server);
    gate.wait_for(1);
    signal(&server.child, "TERM");
    server.wait_until_it_says("finishing requests in progress");
    assert_eq!(server.stop("TERM"), Some(5));
    let (status, body) = sending.join().unwrap().unwrap();
    assert!(status == 504 && body.contains("\"maybe_sent\""), "{status} {body}");
}

#[test]
fn check_names_all_problems() {
    let good = config("good.toml", "http://127.0.0.1:1", "");
    let checked = wxsub(&["serve", "--check", "--config", &good]).env("APP_SECRET", SECRET).run();
    assert_eq!((checked.code, checked.out.as_str()), (0, ""));
    wxsub(&["serve", "--check", "--config", &good])
        .run()
        .assert_wrong(&["apps[0].secret_env: names a variable"]);
    let bad = file("bad.toml", "listen = 1\nzzz = 1\n[limits]\nheader_timeout_s = 0\n");
    wxsub(&["serve", "--check", "--config", &bad]).run().assert_wrong(&[
        "bad.toml:1: listen: ",
        "bad.toml:2: zzz: ",
        "bad.toml:4: limits.header_timeout_s: ",
        "apps: ",
    ]);
    wxsub(&["serve", "--config", "/nowhere"]).run().assert_wrong(&["/nowhere: cannot be read"]);
    for wrong in [["serve", "--check"], ["serve", "--listen"]] {
        assert_eq!(wxsub(&wrong).run().code, 2);
    }
}

/// Rotates a secret, adds an app and revokes a key during reads.
#[test]
fn reload_under_load_fails_no_request() {
    let weixin = Weixin::start();
    let (revoked, lines) = client("revoked", ALL);
    let secret = file("rotated.secret", SECRET);
    let path = config("load.toml", &weixin.base, &lines);
    let secret_file = format!("secret_file = {secret:?}");
    replace(&path, "secret_env = \"APP_SECRET\"", &secret_file);
    let server = Served::start(&path);
    let before = server.token(KEY);
    let address = server.address().to_owned();
    read_during(&address, KEY, |count| {
        wait_for_responses(count, 4);
        weixin.sandbox.add_app("wx2".parse().unwrap(), "new-secret".parse().unwrap(), []);
        weixin.sandbox.add_app(APPID.parse().unwrap(), "new-secret".parse().unwrap(), []);
        fs::write(&secret, "new-secret\n").unwrap();
        config("load.toml", &weixin.base, &app("wx2", &weixin.base));
        replace(&path, "secret_env = \"APP_SECRET\"", &secret_file);
        server.reload();
        assert_eq!(server.get(&token_path(), &revoked).0, 401);
        assert_eq!(server.get("/v1/apps/wx2/access_token", KEY).0, 200);
    });
    assert_eq!(server.token(KEY)["access_token"], before["access_token"]);
    assert_eq!(weixin.seen(CLASSIC_TOKEN), 2);
}

/// A keep-alive connection.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(address: &str) -> Option<Self> {
        TcpStream::connect(address).ok().map(|stream| Self(BufReader::new(stream)))
    }

    fn request(&mut self, key: &str) {
        let head = head("GET", &token_path(), key, 0).replace("Connection: close\r\n", "");
        // The response shows whether it arrived.
        let _ = self.0.get_mut().write_all(head.as_bytes());
    }

    /// The head of a complete response. Nothing if it is incomplete.
    fn read_head(&mut self) -> Option<String> {
        read_message(&mut self.0).map(|(head, _)| head)
    }
}

/// Sends requests until the connection is refused. Returns whether every request got a response.
fn request_until_refused(address: &str, key: &str, responses: &AtomicUsize) -> bool {
    while let Some(mut connection) = Connection::open(address) {
        loop {
            connection.request(key);
            let Some(head) = connection.read_head() else { return false };
            responses.fetch_add(1, Ordering::Relaxed);
            if head.contains("connection: close") {
                break;
            }
        }
    }
    true
}

#[test]
fn shutdown_under_load_loses_no_request() {
    let (_weixin, mut server, key) = Served::before_sandbox("drain_load", "");
    let (address, responses) = (server.address().to_owned(), AtomicUsize::new(0));
    let all_responded = thread::scope(|scope| {
        let threads: Vec<_> =
            (0..8).map(|_| scope.spawn(|| request_until_refused(&address, &key, &responses))).collect();
        wait_for("load", || responses.load(Ordering::Relaxed) >= 400);
        signal(&server.child, "TERM");
        threads.into_iter().all(|one| one.join().unwrap())
    });
    assert!(all_responded, "after {responses:?} responses");
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}

/// A request that reached the machine before the signal gets a response, even if the server has not read it yet.
#[test]
fn request_before_the_signal_gets_a_response() {
    let (_weixin, mut server, key) = Served::before_sandbox("drain_stopped", "");
    let open = || Connection::open(server.address()).unwrap();
    let mut all: Vec<_> = (0..5).map(|_| open()).collect();
    for connection in &mut all {
        connection.request(&key);
        assert!(connection.read_head().is_some());
    }
    signal(&server.child, "STOP");
    all.extend((0..5).map(|_| open()));
    all.iter_mut().for_each(|connection| connection.request(&key));
    signal(&server.child, "TERM");
    signal(&server.child, "CONT");
    for (index, connection) in all.iter_mut().enumerate() {
        assert!(connection.read_head().is_some(), "{index}");
    }
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}

#[test]
fn new_key_is_printed_with_its_digest() {
    let made = wxsub(&["key", "new", "--name", "orders"]).run();
    let key = made.out.trim_end();
    assert!(
        made.code == 0 && key.len() == 43 && key.bytes().all(|byte| byte.is_ascii_alphanumeric()),
        "{made:?}"
    );
    assert!(made.err.contains("\nname = \"orders\"\nkey_sha256 = \"") && !made.err.contains(key));
    let json = wxsub(&["key", "new", "--name", "orders", "--json"]).run().json().remove(0);
    assert_eq!(json["name"], "orders");
    assert_ne!(json["key"], key);
    let digest = json["key_sha256"].as_str().unwrap();
    assert!(digest.len() == 64 && digest.bytes().all(|byte| b"0123456789abcdef".contains(&byte)));
}

#[test]
fn wrong_name_of_a_key() {
    for name in ["", "a b", "a\nb", &"a".repeat(65)] {
        wxsub(&["key", "new", "--name", name]).run().assert_wrong(&["--name: must be 1 to 64 letters"]);
    }
}

#[test]
fn password_from_standard_input_is_hashed() {
    let call = |password: &str| wxsub(&["console", "password"]).input(password).run();
    let made = call("correct horse battery\n");
    assert_eq!(made.code, 0, "{made:?}");
    assert!(made.out.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{made:?}");
    assert!(made.err.contains(&format!("password_hash = \"{}\"", made.out.trim_end())), "{made:?}");
    for password in ["", "too short", &"x".repeat(1025)] {
        call(password).assert_wrong(&["password: must have at least 12 characters and at most 1024 bytes"]);
    }
    call("correct horse\nbattery staple").assert_wrong(&["password: must be one line"]);
}

/// As `Type=notify-reload` of systemd expects.
#[cfg(unix)]
#[test]
fn service_manager_learns_of_start_reload_and_stop() {
    use std::os::unix::net::UnixDatagram;
    let weixin = Weixin::start();
    // The path of a socket may have about 100 characters, so it is not below the target folder.
    let folder = wxsub_test_support::memory_folder();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let received = || {
        let mut bytes = [0; 256];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    let config = config("notify.toml", &weixin.base, "");
    let call = wxsub(&["serve", "--config", &config]).env("NOTIFY_SOCKET", path.to_str().unwrap());
    let server = Served::start_as(call);
    assert_eq!(received(), "READY=1\n");
    for (more, status) in
        [("", "was reloaded"), ("nonsense", "was not reloaded; the previous one stays in use")]
    {
        append(&config, more);
        signal(&server.child, "HUP");
        let begun = received();
        let time = begun.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap_or_else(|| panic!("{begun}"));
        assert!(time.trim_end().parse::<u64>().unwrap() > 0, "{begun}");
        let ended = received();
        assert!(ended.starts_with(&format!("READY=1\nSTATUS=the configuration {status}")), "{ended}");
    }
    assert_eq!(server.stop("TERM"), Some(0));
    assert_eq!(received(), "STOPPING=1\n");
}

/// The exit codes of the start and of the check, and what both say.
#[test]
fn exit_code_tells_why_the_server_did_not_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().map(|address| (taken, address.to_string())).unwrap();
    let (off, no_state) = ("audit = \"off\"", "audit = \"off\"\nstate_dir = \"/dev/null/state\"");
    for (from, to, (code, said), (checked, found)) in [
        ("127.0.0.1:0", taken.1.as_str(), (1, "listen: "), (0, "is in use")),
        (off, "audit = \"/nowhere/audit.log\"", (1, "audit: "), (1, "audit: ")),
        (off, no_state, (1, "state_dir: "), (1, "state_dir: ")),
        (off, "audit = 1", (2, "audit: "), (2, "audit: ")),
    ] {
        let path = config("no_start.toml", UNUSED_BASE, "");
        replace(&path, from, to);
        let serve = || wxsub(&["serve", "--config", &path]).env("APP_SECRET", SECRET);
        serve().run().said(code, said);
        serve().args(&["--check"]).run().said(checked, found);
    }
}

/// A volume of Kubernetes with `fsGroup` is writable by its group.
#[cfg(unix)]
#[test]
fn state_folder_that_others_can_write_is_used_with_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let weixin = Weixin::start();
    for (mode, warns) in [(0o2775, true), (0o700, false)] {
        let state = folder();
        fs::set_permissions(state.path(), fs::Permissions::from_mode(mode)).unwrap();
        let top = format!("state_dir = \"{}\"\n", state.path().display());
        let server = Served::start(&config("group.toml", &weixin.base, &top));
        server.token(KEY);
        assert!(state.path().join(format!("{APPID}.json")).exists());
        let (code, said) = server.stop_and_read("TERM");
        let warning = format!(
            "other users can write to state_dir and replace access tokens; unless that is intended, run chmod go-w on it path={} mode={mode:04o}",
            state.path().display()
        );
        assert_eq!((code, said.contains(&warning)), (Some(0), warns), "{said}");
    }
}

/// The signals that the process catches, as a mask.
#[cfg(target_os = "linux")]
fn caught_signals(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap()
}

/// A start with many apps takes a while. SIGHUP arrives as soon as the server handles SIGTERM.
#[cfg(target_os = "linux")]
#[test]
fn hangup_during_the_start_does_not_end_the_server() {
    let path = config("hangup.toml", UNUSED_BASE, "");
    let app = |number: u32| app(&format!("wx{number:016x}"), UNUSED_BASE);
    append(&path, &(1..300).map(app).collect::<String>());
    let mut child = wxsub(&["serve", "--config", &path]).env("APP_SECRET", SECRET).start();
    while caught_signals(&child) & (1 << 14) == 0 {
        assert!(child.try_wait().unwrap().is_none());
    }
    signal(&child, "HUP");
    let mut first = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut first).unwrap();
    assert!(first.starts_with("http://"), "{first}");
    let said = BufReader::new(child.stderr.as_mut().unwrap()).lines();
    assert!(said.map(Result::unwrap).any(|line| line.ends_with("Z  INFO the configuration was reloaded")));
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A file that cannot be read to its end stops neither requests nor signals.
#[cfg(unix)]
#[test]
fn fifo_in_the_configuration_fails_the_reload_only() {
    let weixin = Weixin::start();
    let path = config("fifo.toml", &weixin.base, "");
    let server = Served::start(&path);
    let folder = folder();
    let fifo = folder.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    replace(&path, "secret_env = \"APP_SECRET\"", &format!("secret_file = {fifo:?}"));
    server.hang_up("not a regular file");
    server.wait_until_it_says("the configuration was not reloaded");
    server.token(KEY);
    // The configuration itself.
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&fifo, &path).unwrap();
    server.hang_up("not a regular file");
    server.wait_until_it_says("the configuration was not reloaded");
    assert!(server.get("/metrics", "").1.contains("wxsub_config_last_reload_successful 0"));
    fs::remove_file(&path).unwrap();
    assert_eq!(server.stop("TERM"), Some(0));
}

/// Half of the configurations cannot be used, each for another reason in turn.
#[test]
fn hundred_reloads_under_load_fail_no_read() {
    let weixin = Weixin::start();
    let path = config("hundred.toml", &weixin.base, "");
    let server = Served::start(&path);
    let good = fs::read_to_string(&path).unwrap();
    let broken = [
        "listen = 1".to_owned(),
        good.chars().take(good.len() / 2).collect(),
        good.replace("APP_SECRET", "NOT_SET"),
        good.replace("127.0.0.1:0", "127.0.0.1:1"),
        String::new(),
    ];
    let address = server.address().to_owned();
    read_during(&address, KEY, |count| {
        for number in 0..100 {
            let (text, said) = match number % 2 {
                0 => (&broken[number / 2 % broken.len()], "the configuration was not reloaded"),
                _ => (&good, "the configuration was reloaded"),
            };
            fs::write(&path, text).unwrap();
            server.hang_up(said);
            wait_for_responses(count, 4);
        }
    });
    assert!(server.get("/metrics", "").1.contains("wxsub_config_last_reload_successful 1"));
    assert_eq!(weixin.seen(CLASSIC_TOKEN), 1);
    assert_eq!(server.stop("TERM"), Some(0));
}
