//! `wxsub key`.

use super::wxsub::wxsub;

#[test]
fn new_key_is_printed_with_its_digest() {
    let made = wxsub(["key", "new", "--name", "orders"]).run();
    let key = made.out.trim_end();
    assert!(
        made.code == 0 && key.len() == 43 && key.bytes().all(|byte| byte.is_ascii_alphanumeric()),
        "{made:?}"
    );
    assert!(made.err.contains("\nname = \"orders\"\nkey_sha256 = \"") && !made.err.contains(key));
    let json = wxsub(["key", "new", "--name", "orders", "--json"]).run().json().remove(0);
    assert_eq!(json["name"], "orders");
    assert_ne!(json["key"], key);
    let digest = json["key_sha256"].as_str().unwrap();
    assert!(digest.len() == 64 && digest.bytes().all(|byte| b"0123456789abcdef".contains(&byte)));
}

#[test]
fn wrong_usage() {
    for name in ["", "a b", "a\nb", &"a".repeat(65)] {
        wxsub(["key", "new", "--name", name]).run().assert_wrong(&["--name: must be 1 to 64 letters"]);
    }
}
