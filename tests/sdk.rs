//! SDKs of other projects against the control server, as docs/moving-sdks.md describes. Tests that run an SDK are ignored by
//! default, because they need Python, Node and the SDKs. `scripts/test --all` installs these and runs the tests.

#![cfg(test)]

mod sdk {
    mod bodies;
    mod scenarios;
    mod service;
    mod setup;
}
