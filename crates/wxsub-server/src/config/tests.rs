use std::fs;

use tempfile::{NamedTempFile, TempPath};
use wxsub_proto::Language;

use super::file::read_regular_file;
use super::*;

const DIGEST: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// The path and the text. The Chinese text has no secret, and names the same path.
fn shown(diagnostic: &Diagnostic) -> String {
    let text = diagnostic.without_line();
    let chinese = text.in_language(Language::Chinese);
    assert!(chinese.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c)), "{chinese}");
    assert!(chinese.starts_with(diagnostic.path()) && !chinese.contains("PLANTED"), "{chinese}");
    text.to_string()
}

pub(crate) fn read(text: &str) -> Result<(Config, Vec<String>), Vec<String>> {
    let environment = |name: &str| (name == "SECRET").then(|| "PLANTED-secret".to_owned());
    match Config::read(text, environment) {
        Ok((config, warnings)) => Ok((config, warnings.iter().map(shown).collect())),
        Err(error) => Err(error.problems().map(shown).collect()),
    }
}

/// `more`, and an app.
pub(crate) fn with_app(more: &str) -> String {
    format!(
        "{more}\n[[apps]]\nappid = \"wx0000000000000001\"\nsecret_env = \"SECRET\"\ntoken_endpoint = \"token\"\n\
         api_base = \"http://127.0.0.1:1\"\n"
    )
}

fn client(more: &str) -> String {
    format!(
        "[[clients]]\nname = \"a\"\nkey_sha256 = \"{DIGEST}\"\napps = [\"wx0000000000000001\"]\nscopes = [\"token:read\"]\n{more}"
    )
}

/// A file with this content, for its owner only.
fn file(content: &str) -> TempPath {
    let path = NamedTempFile::new().unwrap().into_temp_path();
    fs::write(&path, content).unwrap();
    path
}

fn secret_of(config: &Config) -> &str {
    match &config.apps[0].tokens {
        TokenOrigin::Weixin { secret, .. } => secret.expose_secret(),
        TokenOrigin::Service(_) => panic!("a token service"),
    }
}

#[test]
fn minimal_configuration_gets_the_defaults() {
    let (config, warnings) = read(&with_app("")).unwrap();
    assert_eq!(warnings, [""; 0]);
    assert_eq!(config.start.listen.to_string(), "127.0.0.1:8460");
    assert_eq!((config.start.state_dir, config.start.audit.to), (None, AuditTo::Stderr));
    assert!(!config.start.audit.is_required);
    assert!(config.tls.is_none());
    let limits = config.limits;
    assert_eq!((limits.connections, limits.in_flight, limits.body), (4096, 1024, 65_536));
    assert_eq!((limits.connections_per_address, limits.in_flight_per_key), (1024, 512));
    assert_eq!((limits.header.as_secs(), limits.request.as_secs(), limits.drain.as_secs()), (10, 30, 30));
    assert_eq!(config.apps[0].tokens.as_str(), "token");
    assert!(!format!("{:?}", config.apps).contains("PLANTED"));
}

#[test]
fn full_configuration_is_read() {
    let secret = file("PLANTED-from-file\r\n");
    #[cfg(unix)]
    fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let text = format!(
        "listen = \"0.0.0.0:1\"\nplaintext = true\nmetrics_listen = \"127.0.0.1:2\"\nstate_dir = \"/s\"\naudit = \"/a\"\naudit_required = true\n\
         [[apps]]\nappid = \"wx0000000000000002\"\nsecret_file = {secret:?}\ntoken_endpoint = \"stable_token\"\n\
         api_base = \"http://10.0.0.1\"\nallow_http = true\nproxy = \"http://u:PLANTED@10.0.0.2:1\"\n{}allowed_networks = [\"10.0.0.0/8\"]\n\
         [limits]\nconnections = 1\nin_flight = 2\nheader_timeout_s = 3\nrequest_timeout_s = 4\nbody_bytes = 5000\n",
        client("").replace("wx0000000000000001", "*")
    );
    let (config, warnings) = read(&text).unwrap();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert_eq!(secret_of(&config), "PLANTED-from-file");
    assert_eq!(config.start.audit, AuditConfig { to: AuditTo::File("/a".into()), is_required: true });
    assert_eq!(config.clients[0].apps, AppAccess(None));
    assert_eq!((config.limits.connections, config.limits.body), (1, 5000));
    assert!(!format!("{config:?}").contains("PLANTED"));
}

#[test]
fn proxy_of_the_environment_is_a_warning() {
    let app = |more: &str| {
        format!(
            "[[apps]]\nappid = \"wx0000000000000001\"\nsecret_env = \"SECRET\"\ntoken_endpoint = \"token\"\n\
         {more}"
        )
    };
    let warnings = |text: &str, no_proxy: &str| {
        let environment = |name: &str| match name {
            "SECRET" => Some("PLANTED-secret".to_owned()),
            "HTTPS_PROXY" => Some("http://u:PLANTED@10.0.0.2:1".to_owned()),
            "NO_PROXY" => Some(no_proxy.to_owned()),
            _ => None,
        };
        let (_, warnings) = Config::read(text, environment).unwrap();
        warnings.iter().map(shown).collect::<Vec<_>>()
    };
    assert_eq!(
        warnings(&app(""), ""),
        [
            "apps[0].proxy: is absent, and the server does not use the proxy that HTTPS_PROXY names; set proxy to go \
             through it, or add api.weixin.qq.com to NO_PROXY"
        ]
    );
    assert_eq!(warnings(&app(""), "qq.com"), [""; 0]);
    assert_eq!(warnings(&app("proxy = \"http://10.0.0.2:1\"\n"), ""), [""; 0]);
    assert_eq!(warnings(&app("api_base = \"http://127.0.0.1:1\"\n"), ""), [""; 0]);
}

#[test]
fn byte_order_mark_is_removed_from_a_secret() {
    let secret = file("\u{feff}PLANTED-from-file\r\n");
    let text = with_app("").replace("secret_env = \"SECRET\"", &format!("secret_file = {secret:?}"));
    assert_eq!(secret_of(&read(&text).unwrap().0), "PLANTED-from-file");
}

#[test]
fn quoted_secret_and_api_base_with_a_path_are_problems() {
    let quoted = file("\"PLANTED\"\n");
    let text = with_app("")
        .replace("secret_env = \"SECRET\"", &format!("secret_file = {quoted:?}"))
        .replace("127.0.0.1:1", "127.0.0.1:1/cgi-bin");
    let problems = read(&text).unwrap_err();
    assert_eq!(
        problems[..2],
        [
            "apps[0].secret_file: names a secret that must be given without quotes around it; remove them",
            "apps[0].api_base: must be the part before /cgi-bin, which wxsub adds itself; remove the rest",
        ]
    );
}

#[test]
fn each_problem_has_its_path() {
    for (text, problem) in
        [("", "apps: is missing"), ("x = ", "is not TOML"), ("\na = 1\na = 2", "is not TOML")]
    {
        assert_problem(text, problem);
    }
    for (text, problem) in [
        ("audti = \"off\"", "audti: is an unknown key"),
        ("listen = 8460", "listen: must be text in quotes"),
        ("listen = \"localhost\"", "listen: must be an address and a port"),
        ("listen = \"0.0.0.0:1\"", "listen: is reachable from other machines"),
        ("plaintext = \"yes\"", "plaintext: must be true or false"),
        ("tls_cert_file = \"c\"", "tls_key_file: is missing"),
        ("tls_key_file = \"k\"", "tls_cert_file: is missing"),
        ("tls_cert_file = \"/nowhere\"\ntls_key_file = \"/nowhere\"", "tls_cert_file: names a file"),
        ("audit = \"\"", "audit: must be"),
        ("trusted_proxies = [\"10.0.0.1/8\"]", "trusted_proxies[0]: has bits set after the first 8"),
        ("trusted_proxies = [\"::/0\"]", "trusted_proxies[0]: trusts every address"),
        (
            "metrics_listen = \"127.0.0.1:8460\"",
            "metrics_listen: listens on 127.0.0.1:8460, where listen listens already; choose another port",
        ),
        ("metrics_listen = \"0.0.0.0:8460\"", "metrics_listen: listens on 0.0.0.0:8460"),
        (
            "metrics_listen = \"[::1]:1\"\n[console]\nlisten = \"[::1]:1\"\n[[console.users]]\nname = \"a\"\n\
             password_hash = \"$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g\"\n\
             role = \"viewer\"",
            "console: listens on [::1]:1, where metrics_listen listens already",
        ),
        ("audit_required = true", "audit_required: needs a file"),
        ("audit = \"off\"\naudit_required = true", "audit_required: needs a file"),
        ("state_dir = \"\"", "state_dir: is empty"),
        ("[limits]\nheader_timeout_s = 0", "limits.header_timeout_s: must be a whole number from 1 to 600"),
        ("[limits]\nbody = 1", "limits.body: is an unknown key"),
        ("limits = 1", "limits: must be a table"),
        ("[store]\nprefix = \"p\"", "store.redis: is missing"),
        ("[store]\nredis = \"h:6379\"", "store.redis: the address of Redis is invalid"),
        ("[store]\nredis = \"redis://h\"", "store.redis: the connection to Redis would not be encrypted"),
        ("[store]\nredis = \"redis://localhost\"\nprefix = \"{\"", "store.prefix: the prefix must be"),
        (
            "[store]\nredis = \"redis://localhost\"\nencryption_key_file = \"/nowhere\"",
            "store.encryption_key_file: names a file that cannot be read",
        ),
        ("[store]\nredis = \"redis://localhost\"\npassword = \"x\"", "store.password: is an unknown key"),
    ] {
        assert_problem(&with_app(text), problem);
    }
    assert!(read(&with_app("[store]\nredis = \"redis://:SESAME@localhost/0\"")).is_ok());
}

#[test]
fn each_problem_of_an_app_has_its_path() {
    let in_app = |more: &str| format!("{}{more}", with_app(""));
    let endpoint = |line: &str| with_app("").replace("token_endpoint = \"token\"", line);
    let empty = file("\n");
    for (text, problem) in [
        (in_app("tokn = 1"), "apps[0].tokn: is an unknown key; remove it or correct its spelling"),
        (
            in_app("cafile = \"x\""),
            "apps[0].cafile: is an unknown key; remove it or correct its spelling; the right name may be ca_file",
        ),
        (
            endpoint("token_endpoint = \"x\""),
            "apps[0].token_endpoint: must be \"stable_token\" or \"token\". Write",
        ),
        (endpoint("token_endpoint = 1"), "apps[0].token_endpoint: must be text"),
        (endpoint(""), "apps[0].token_endpoint: must be \"stable_token\" or \"token\". Write"),
        (in_app("proxy = \"x\""), "apps[0].proxy: "),
        (in_app("ca_file = \"/nowhere\""), "apps[0].ca_file: names a file that cannot be read"),
        (
            in_app("ca_file = \"no.pem\""),
            "apps[0].ca_file: names a file that cannot be read: No such file or directory (os error 2); the server looked for /",
        ),
        (in_app("secret_file = \"/nowhere\""), "apps[0].secret_env: is set together with secret_file"),
        (with_app("").replace("SECRET", "OTHER"), "apps[0].secret_env: names a variable that is not set"),
        (with_app("").replace("secret_env = \"SECRET\"", ""), "apps[0].secret_file: is missing"),
        (
            with_app("").replace("secret_env = \"SECRET\"", "secret_file = \"/nowhere\""),
            "apps[0].secret_file: names a file",
        ),
        (
            with_app("").replace("secret_env = \"SECRET\"", &format!("secret_file = {empty:?}")),
            "apps[0].secret_file: names a secret that is empty",
        ),
        (with_app("").replace("wx0000000000000001", "w x"), "apps[0].appid: has a character"),
        (with_app("").replace("appid = \"wx0000000000000001\"", ""), "apps[0].appid: is missing"),
        (with_app("").replace("127.0.0.1", "10.0.0.1"), "apps[0].api_base: uses http://"),
        (
            with_app(&with_app("")),
            "apps[1]: appid wx0000000000000001 is used twice, first in line 2; make it unique",
        ),
    ] {
        assert_problem(&text, problem);
    }
}

#[test]
fn misspelt_key_is_one_problem() {
    for text in [
        with_app(&client("").replace("scopes", "scope")),
        with_app(&client("").replace("key_sha256", "key_sha25")),
        with_app("").replace("token_endpoint", "token_endpoints"),
        with_app("").replace("appid", "app_id"),
    ] {
        let problems = read(&text).unwrap_err();
        assert!(matches!(&problems[..], [one] if one.contains("the right name may be")), "{problems:?}");
    }
}

#[test]
fn each_problem_of_a_client_has_its_path() {
    let keys =
        |keys: &str| client("").replace(&format!("key_sha256 = \"{DIGEST}\""), &format!("keys = [{keys}]"));
    let key = format!("{{ sha256 = \"{DIGEST}\", expires = 2027-01-31 }}");
    for (text, problem) in [
        (client("").repeat(2), "clients[1]: name a is used twice, first in line 1"),
        (client("").repeat(2), &format!("clients[1]: key_sha256 {DIGEST} is used twice")),
        ("[[clients]]".to_owned(), "clients[0].scopes: is missing"),
        (client("").replace("01234", "01234A"), "clients[0].key_sha256: must be 64"),
        (client("").replace("\"a\"", "\"a b\""), "clients[0].name: must be 1 to 64"),
        (client("").replace("token:read", "all"), "clients[0].scopes[0]: must be one of token:read"),
        (
            client("").replace("\"wx0000000000000001\"", "\"*\", \"wx0000000000000001\""),
            "clients[0].apps: has \"*\" and AppIDs",
        ),
        (
            client("").replace("[\"wx0000000000000001\"]", "\"wx0000000000000001\""),
            "clients[0].apps: must be a list",
        ),
        (client("allowed_networks = []"), "clients[0].allowed_networks: is empty"),
        (client("allowed_networks = [1]"), "clients[0].allowed_networks[0]: must be text"),
        (
            client("allowed_networks = [\"10.0.0.0/99\"]"),
            "clients[0].allowed_networks[0]: must be an address or a network",
        ),
        (
            client("allowed_networks = [\"10.0.0.1/8\"]"),
            "clients[0].allowed_networks[0]: has bits set after the first 8; write 10.0.0.0/8",
        ),
        (client("keys = []"), "clients[0].key_sha256: is set together with keys"),
        (keys(""), "clients[0].keys: is empty"),
        (keys("{ expires = 2027-01-31 }"), "clients[0].keys[0].sha256: is missing"),
        (keys("{ sha256 = \"x\" }"), "clients[0].keys[0].sha256: must be 64"),
        (keys("\"x\""), "clients[0].keys[0]: must be a table"),
        (keys(&format!("{key}, {key}")), &format!("clients[0]: key_sha256 {DIGEST} is used twice")),
        (keys(&key.replace("2027-01-31", "\"2027-01-31\"")), "clients[0].keys[0].expires: must be a date"),
        (
            keys(&key.replace("2027-01-31", "2027-01-31T12:00:00")),
            "clients[0].keys[0].expires: must be a date",
        ),
        (keys(&key.replace("expires", "expire")), "clients[0].keys[0].expire: is an unknown key"),
    ] {
        assert_problem(&with_app(&text), problem);
    }
}

/// `api_base` is one text, or a list of one to eight.
#[test]
fn each_host_has_its_path() {
    let hosts = |hosts: &str| with_app("").replace("\"http://127.0.0.1:1\"", hosts);
    let nine: Vec<_> = (1..=9).map(|port| format!("\"https://a:{port}\"")).collect();
    let (config, _) = read(&hosts("[\"https://a\", \"https://b\"]")).unwrap();
    assert_eq!(config.apps[0].bases.to_string(), "https://a, https://b");
    for (text, problem) in [
        (hosts("[]"), "apps[0].api_base: is empty"),
        (hosts("1"), "apps[0].api_base: must be text in quotes, or a list"),
        (hosts("[\"https://a\", 1]"), "apps[0].api_base[1]: must be text in quotes"),
        (hosts("[\"https://a\", \"ftp://b\"]"), "apps[0].api_base[1]: must be"),
        (hosts("[\"https://a\", \"http://10.0.0.1\"]"), "apps[0].api_base[1]: uses http://"),
        (hosts("[\"https://a\", \"https://a/\"]"), "apps[0].api_base: is given more than once"),
        (hosts(&format!("[{}]", nine.join(","))), "apps[0].api_base: must be at most 8"),
    ] {
        assert_problem(&text, problem);
    }
}

fn assert_problem(text: &str, problem: &str) {
    let problems = read(text).unwrap_err();
    assert!(problems.iter().any(|found| found.starts_with(problem)), "{problem}: {problems:?}");
    assert!(!format!("{problems:?}").contains("PLANTED"));
}

#[test]
fn all_problems_are_reported_at_once() {
    let text = "listen = 1\nzzz = 1\n[[apps]]\nappid = \"w x\"\n[[clients]]\nname = \"a\"\n[limits]\nheader_timeout_s = 0\n";
    let problems = read(text).unwrap_err();
    for path in [
        "listen",
        "zzz",
        "apps[0].appid",
        "apps[0].secret_file",
        "clients[0].key_sha256",
        "limits.header_timeout_s",
    ] {
        assert!(problems.iter().any(|found| found.starts_with(&format!("{path}: "))), "{path}: {problems:?}");
    }
}

#[test]
fn each_problem_has_its_line() {
    let lines = |text: &str| -> Vec<String> {
        let error = Config::read(text, |_| None).unwrap_err();
        error.problems().map(|problem| format!("{:?} {}", problem.line(), problem.path())).collect()
    };
    let text = "listen = 1\nzzz = 1\n\n[[apps]]\nappid = \"w x\"\n\n[[apps]]\nappid = \"wx0000000000000002\"\nsecret_env = \"S\"\n\
                api_base = [\n  \"https://a\",\n  \"ftp://b\",\n]\n\n[limits]\nheader_timeout_s = 0\nbody = 1\n";
    assert_eq!(
        lines(text),
        [
            "Some(1) listen",
            "Some(2) zzz",
            "Some(4) apps[0].secret_file",
            "Some(4) apps[0].token_endpoint",
            "Some(5) apps[0].appid",
            "Some(7) apps[1].token_endpoint",
            "Some(9) apps[1].secret_env",
            "Some(12) apps[1].api_base[1]",
            "Some(16) limits.header_timeout_s",
            "Some(17) limits.body",
        ]
    );
    assert_eq!(lines(""), ["None apps"]);
    // All syntax errors, and nothing about keys that could not be read.
    assert_eq!(lines("x = \ny = 1\ny = 2\n"), ["Some(1) ", "Some(3) "]);
}

#[test]
fn diagnostic_names_file_line_and_key() {
    let main = file("listen = 1\n");
    let error = Config::from_file(&main, |_| None).unwrap_err();
    let shown: Vec<_> = error.problems().map(|problem| problem.localized().to_string()).collect();
    assert_eq!(shown[0], format!("{}:1: listen: must be text in quotes", main.display()));
    assert!(shown[1].starts_with(&format!("{}: apps: is missing", main.display())), "{shown:?}");
    fs::remove_file(&main).unwrap();
    let error = Config::from_file(&main, |_| None).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}: cannot be read: ", main.display())), "{error}");
    let error = Config::read("listen = 1\n", |_| None).unwrap_err();
    assert!(
        error.to_string().starts_with("line 1: listen: must be text in quotes; apps: is missing"),
        "{error}"
    );
}

/// A date is the last day.
#[test]
fn key_expires_at_its_time_or_after_its_last_day() {
    for (expires, end) in [
        ("2027-01-31", "2027-02-01T00:00:00Z"),
        ("2027-01-31T12:00:00+08:00", "2027-01-31T04:00:00Z"),
        ("2027-01-31 12:00:00Z", "2027-01-31T12:00:00Z"),
    ] {
        let keys = format!("keys = [{{ sha256 = \"{DIGEST}\", expires = {expires} }}]");
        let text = client("").replace(&format!("key_sha256 = \"{DIGEST}\""), &keys);
        let config = read(&with_app(&text)).unwrap().0;
        assert_eq!(
            config.clients[0].keys[0].expires_at.map(wxsub_core::rfc3339::format).as_deref(),
            Some(end)
        );
    }
}

#[test]
fn unknown_app_or_none_of_a_webhook_and_of_an_inbox_is_a_warning() {
    let secret = file("whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=");
    let webhook = format!("[[webhooks]]\nurl = \"https://shop.example/h\"\nsecret_files = [{secret:?}]");
    let inbox = "[[inboxes]]\nurl = \"mysql://u@localhost/db\"";
    let unknown =
        "apps names the app wx0000000000000009, which is not configured; add the app or correct the AppID";
    for (section, apps, warning) in [
        (webhook.as_str(), "[\"wx0000000000000009\"]", format!("webhooks[0]: {unknown}")),
        (inbox, "[\"wx0000000000000009\"]", format!("inboxes[0]: {unknown}")),
        (&webhook, "[]", "webhooks[0].apps: is empty, so the endpoint gets nothing; add AppIDs".to_owned()),
        (inbox, "[]", "inboxes[0].apps: is empty, so each row gets an error; add AppIDs".to_owned()),
    ] {
        let ledger = format!("{}[ledger]\nurl = \"sqlite:/unused\"\n{section}\napps = {apps}\n", client(""));
        let (_, warnings) = read(&with_app(&ledger)).unwrap();
        assert!(warnings.iter().any(|text| text.starts_with(&warning)), "{warning}: {warnings:?}");
    }
}

#[test]
fn listeners_on_other_ports_or_addresses_are_allowed() {
    for metrics in ["127.0.0.1:8461", "127.0.0.2:8460", "[::]:8460"] {
        assert!(read(&with_app(&format!("metrics_listen = {metrics:?}"))).is_ok(), "{metrics}");
    }
    assert!(read(&with_app("listen = \"127.0.0.1:0\"\nmetrics_listen = \"127.0.0.1:0\"")).is_ok());
}

/// A reload reads the new password from the file that the server knows.
#[test]
fn another_password_file_of_the_store_needs_a_restart() {
    let (one, other) = (file("p"), file("p"));
    let start = |password: &TempPath| {
        let store = format!("[store]\nredis = \"redis://localhost\"\nredis_password_file = {password:?}");
        read(&with_app(&store)).unwrap().0.start
    };
    assert_eq!(start(&one).changed_keys(&start(&one)), [""; 0]);
    assert_eq!(start(&one).changed_keys(&start(&other)), ["store"]);
}

#[cfg(unix)]
#[test]
fn secret_readable_by_all_users_is_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let secret = file("s");
    let text = with_app("").replace("secret_env = \"SECRET\"", &format!("secret_file = {secret:?}"));
    for (mode, count) in [(0o600, 0), (0o640, 0), (0o644, 1)] {
        fs::set_permissions(&secret, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(read(&text).unwrap().1.len(), count, "{mode:o}");
    }
}

/// The configuration of the documentation, without the files of other machines.
#[test]
fn documented_configuration_is_valid() {
    let document = include_str!("../../../../docs/control-server.md");
    let text = document.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let secret = file("s");
    let text = text.replace("\"/run/secrets/wx.secret\"", &format!("{secret:?}"));
    let consent_key = file(&"k".repeat(32));
    let text = text.replace("\"/run/secrets/consent.key\"", &format!("{consent_key:?}"));
    let password = file("p");
    let text = text.replace("\"/run/secrets/shop\"", &format!("{password:?}"));
    let hook = file(&format!("whsec_{}", "A".repeat(32)));
    let text = text.replace("\"/run/secrets/hook\"", &format!("{hook:?}"));
    let text: String = text
        .lines()
        .filter(|line| !line.starts_with("ca_file") && !line.starts_with("include"))
        .map(|line| format!("{line}\n"))
        .collect();
    // Without certificate authorities on this machine, the apps have problems, and nothing else has.
    let limits = match read(&text) {
        Ok((config, _)) => config.limits,
        Err(problems) => {
            assert!(problems.iter().all(|problem| problem.starts_with("apps")), "{problems:?}");
            return;
        }
    };
    assert_eq!(limits, read(&with_app("")).unwrap().0.limits);
}

/// The consent page of a sandbox. Only on this machine may it be without TLS.
#[test]
fn base_of_the_consent_page_is_checked() {
    let key = file(&"k".repeat(32));
    let config = |base: &str| with_app(&format!("[consent]\nkey_file = {key:?}\nmp_base = \"{base}\""));
    let page = |base: &str| read(&config(base)).unwrap().0.consent.unwrap().page.unwrap();
    assert_eq!(page("http://127.0.0.1:8459").as_str(), "http://127.0.0.1:8459");
    let problems = read(&config("http://10.0.0.1")).unwrap_err();
    assert!(problems[0].starts_with("consent.mp_base: uses http://"), "{problems:?}");
}

/// One mistake, one error.
#[test]
fn first_problem_causes_no_second_one() {
    let app = |line: &str, with: &str| with_app("").replace(line, with);
    for (text, key) in [
        ("apps = 1\n".to_owned(), "apps[0]"),
        (app("wx0000000000000001", "w x"), "apps[0].appid"),
        (with_app("tls_cert_file = \"\"\ntls_key_file = \"k\""), "tls_cert_file"),
        (with_app("listen = \"0.0.0.0:1\"\ntls_cert_file = \"c\""), "tls_key_file"),
        (with_app("audit = \"\"\naudit_required = true"), "audit"),
        (app("http://127.0.0.1:1", "ftp://h"), "apps[0].api_base"),
        (with_app(&client("allowed_networks = [\"x\"]")), "clients[0].allowed_networks[0]"),
        (with_app(&client("").replace("[\"wx0000000000000001\"]", "1")), "clients[0].apps"),
    ] {
        let problems = read(&text).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with(&format!("{key}: ")), "{key}: {problems:?}");
    }
}

#[test]
fn client_without_rights_and_odd_ids_are_warnings() {
    let found = |text: &str| read(text).unwrap().1;
    let right = with_app(&client(""));
    assert_eq!(found(&right), [""; 0]);
    for (from, to, warning) in [
        (
            "apps = [\"wx0000000000000001\"]",
            "apps = []",
            "clients[0].apps: is empty, so the client may use no app",
        ),
        ("[\"token:read\"]", "[]", "clients[0].scopes: is empty, so the client may do nothing"),
        (
            "token:read",
            "token:report",
            "clients[0].scopes: has token:report, which allows nothing without token:read; add token:read",
        ),
        (
            "apps = [\"wx0000000000000001\"]",
            "apps = [\"wx0000000000000009\"]",
            "clients[0]: a names the app wx0000000000000009, which is not configured; add the app or correct the AppID",
        ),
        (
            "apps = [\"wx0000000000000001\"]",
            "apps = [\"gh_1\"]",
            "clients[0]: a names gh_1, which cannot be an AppID",
        ),
        ("appid = \"wx0000000000000001\"", "appid = \"wx1\"", "apps[0].appid: wx1 cannot be an AppID"),
    ] {
        let warnings = found(&right.replace(from, to));
        assert!(warnings.iter().any(|found| found.starts_with(warning)), "{warning}: {warnings:?}");
    }
}

/// Reading a FIFO would wait for a writer, and /dev/zero never ends.
#[cfg(target_os = "linux")]
#[test]
fn only_regular_files_are_read() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    // A process that makes it would hold the locks of other tests until it runs its program.
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).unwrap();
    for path in [fifo.as_path(), "/dev/zero".as_ref()] {
        let secret = with_app("").replace("secret_env = \"SECRET\"", &format!("secret_file = {path:?}"));
        let files = [
            (secret, "apps[0].secret_file"),
            (with_app("") + &format!("ca_file = {path:?}"), "apps[0].ca_file"),
            (with_app(&format!("tls_cert_file = {path:?}\ntls_key_file = {path:?}")), "tls_cert_file"),
            (
                with_app(&format!("[store]\nredis = \"redis://localhost\"\nredis_ca_file = {path:?}")),
                "store.redis_ca_file",
            ),
        ];
        for (text, key) in files {
            let problems = read(&text).unwrap_err();
            let expected = |found: &String| found.starts_with(key) && found.contains("not a regular file");
            assert!(problems.iter().any(expected), "{key}: {problems:?}");
        }
    }
}

#[test]
fn large_file_is_refused() {
    let large = file(&"x".repeat(65));
    assert!(read_regular_file(&large, 65).is_ok());
    assert!(read_regular_file(&large, 64).unwrap_err().to_string().contains("larger than 64 bytes"));
}
