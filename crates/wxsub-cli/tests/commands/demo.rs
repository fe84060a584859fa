//! `wxsub demo`.

use super::wxsub::wxsub;

const STEPS: [&str; 12] = [
    "sandbox",
    "consent_url",
    "consent",
    "forged_callback",
    "grant",
    "token",
    "send",
    "mailbox",
    "second_message",
    "invalidated",
    "refreshed",
    "summary",
];

#[test]
fn every_step_succeeds() {
    let ended = wxsub(["demo", "--json"]).run();
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{ended:?}");
    for (index, (output, name)) in ended.json().iter().zip(STEPS).enumerate() {
        assert_eq!(output["step"], index + 1);
        assert_eq!((&output["name"], &output["ok"]), (&name.into(), &true.into()));
        assert!(!output["detail"].as_str().unwrap().is_empty());
    }
    assert_eq!(ended.out.lines().count(), STEPS.len());
}

#[test]
fn text_output_has_one_line_per_step() {
    let ended = wxsub(["demo"]).run();
    assert_eq!(ended.code, 0);
    for (output, name) in ended.out.lines().zip(STEPS) {
        assert!(output.starts_with('✓') && output.contains(name), "{output}");
    }
    assert_eq!(ended.out.lines().count(), STEPS.len());
    assert!(ended.err.contains("ONE message"));
}
