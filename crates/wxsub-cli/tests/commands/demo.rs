//! `wxsub demo`.

use super::wxsub::wxsub;

const STEPS: [&str; 12] = [
    "sandbox", "link", "consent", "forgery", "grant", "token", "send", "mailbox", "spent", "theft", "heal",
    "summary",
];

#[test]
fn every_step_holds() {
    let ended = wxsub(["demo", "--json"]).run();
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{ended:?}");
    for (index, (told, name)) in ended.json().iter().zip(STEPS).enumerate() {
        assert_eq!(told["step"], index + 1);
        assert_eq!((&told["name"], &told["ok"]), (&name.into(), &true.into()));
        assert!(!told["detail"].as_str().unwrap().is_empty());
    }
    assert_eq!(ended.out.lines().count(), STEPS.len());
}

#[test]
fn people_get_one_line_a_step() {
    let ended = wxsub(["demo"]).run();
    assert_eq!(ended.code, 0);
    for (told, name) in ended.out.lines().zip(STEPS) {
        assert!(told.starts_with('✓') && told.contains(name), "{told}");
    }
    assert_eq!(ended.out.lines().count(), STEPS.len());
    assert!(ended.err.contains("ONE message"));
}
