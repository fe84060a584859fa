//! A browser without scripts, for the console: it keeps cookies and posts forms.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use argon2::password_hash::PasswordHasher;
use argon2::{Algorithm, Argon2, Params, Version};
use axum::Router;
use axum::body::Body;
use axum::http::Request;

use super::setup::{Setup, TestResponse, call};

/// The password of all users.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// The hash of [`PASSWORD`], at the lowest cost.
pub(crate) fn password_hash() -> &'static str {
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| {
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(8, 1, 1, None).unwrap());
        argon2.hash_password_with_salt(PASSWORD.as_bytes(), b"a salt of a test").unwrap().to_string()
    })
}

/// A console with the operators `ops` and `ann`, and the viewer `eve`.
pub(crate) fn console_config(more: &str) -> String {
    let user = |name: &str, role: &str| {
        let hash = password_hash();
        format!("[[console.users]]\nname = \"{name}\"\npassword_hash = \"{hash}\"\nrole = \"{role}\"\n")
    };
    let users = user("ops", "operator") + &user("ann", "operator") + &user("eve", "viewer");
    format!("[console]\nlisten = \"127.0.0.1:8462\"\n{more}\n{users}")
}

pub(crate) struct Browser {
    pub(crate) router: Router,
    pub(crate) address: [u8; 4],
    pub(crate) cookies: BTreeMap<String, String>,
    /// Headers of each request.
    pub(crate) headers: Vec<(&'static str, &'static str)>,
}

impl Browser {
    pub(crate) fn new(setup: &Setup) -> Self {
        let router = setup.server.console_router().unwrap();
        let headers = vec![("Sec-Fetch-Site", "same-origin"), ("Accept-Language", "en")];
        Self { router, address: [10, 1, 2, 3], cookies: BTreeMap::new(), headers }
    }

    /// A browser in which this user is logged in.
    pub(crate) async fn logged_in(setup: &Setup, name: &str) -> Self {
        let mut browser = Self::new(setup);
        let response = browser.log_in(name, PASSWORD).await;
        assert_eq!(response.status, 303, "{response:?}");
        browser
    }

    pub(crate) async fn log_in(&mut self, name: &str, password: &str) -> TestResponse {
        let page = self.get("/login").await;
        let token = form_token(&page);
        self.post("/login", &[("token", &token), ("name", name), ("password", password)]).await
    }

    pub(crate) async fn get(&mut self, target: &str) -> TestResponse {
        self.send("GET", target, Body::empty()).await
    }

    pub(crate) async fn post(&mut self, target: &str, fields: &[(&str, &str)]) -> TestResponse {
        let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
        let fields: Vec<_> =
            fields.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        self.send("POST", target, Body::from(fields.join("&"))).await
    }

    /// Posts a form with the token of the page that has it.
    pub(crate) async fn submit(&mut self, page: &str, target: &str, fields: &[(&str, &str)]) -> TestResponse {
        let token = form_token(&self.get(page).await);
        let fields: Vec<_> = [("token", token.as_str())].into_iter().chain(fields.iter().copied()).collect();
        self.post(target, &fields).await
    }

    async fn send(&mut self, method: &str, target: &str, body: Body) -> TestResponse {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = Request::builder().method(method).uri(target).header("Cookie", cookies.join("; "));
        let request = request.header("Content-Type", "application/x-www-form-urlencoded");
        let request =
            self.headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let response = call(self.router.clone(), request.body(body).unwrap(), self.address).await;
        assert!(!response.text.contains(PASSWORD) && !response.text.contains("argon2"));
        for line in response.headers.get_all("set-cookie") {
            let (cookie, attributes) = line.to_str().unwrap().split_once(';').unwrap();
            let (name, value) = cookie.split_once('=').unwrap();
            match attributes.contains("Max-Age=0") {
                true => self.cookies.remove(name),
                false => self.cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
        response
    }
}

/// The token of the first form that has one.
pub(crate) fn form_token(page: &TestResponse) -> String {
    let (_, rest) = page.text.split_once("name=\"token\" value=\"").unwrap_or_else(|| panic!("{page:?}"));
    rest.split_once('"').unwrap().0.to_owned()
}

impl TestResponse {
    /// Checks that the page has these texts.
    #[track_caller]
    pub(crate) fn shows(&self, texts: &[&str]) {
        for text in texts {
            assert!(self.text.contains(text), "{text}: {self:?}");
        }
    }

    pub(crate) fn location(&self) -> &str {
        assert_eq!(self.status, 303, "{self:?}");
        self.headers["location"].to_str().unwrap()
    }
}
