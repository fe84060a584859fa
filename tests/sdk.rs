//! SDKs that others wrote, moved over to the control server as docs/moving-sdks.md says. Those that run are ignored unless
//! asked for, because Python, Node and the SDKs have to be there; `scripts/test` installs them and asks.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]

mod sdk {
    mod bodies;
    mod scenarios;
    mod service;
    mod setup;
}
