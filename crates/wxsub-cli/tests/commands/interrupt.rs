//! Ctrl-C, SIGTERM and SIGHUP.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Child;

use wxsub_sandbox::Fault;
use wxsub_test_support::wait_for;

use super::weixin::{Gate, SEND, STABLE_TOKEN, TEMPLATE, Weixin, allow, line, pointed_at};
use super::wxsub::{Wxsub, ended, file, wxsub};

/// Sends a signal to the process only.
pub(crate) fn signal(child: &Child, name: &str) {
    wxsub_test_support::signal(child.id(), name);
}

/// Waits until the process prints that it is finishing.
pub(crate) fn wait_for_finishing(child: &mut Child) {
    let mut said = String::new();
    // One byte at a time, so that later output stays in the pipe.
    let mut unbuffered = BufReader::with_capacity(1, child.stderr.as_mut().unwrap());
    unbuffered.read_line(&mut said).unwrap();
    assert!(said.starts_with("finishing messages in flight"), "{said}");
}

fn five_lines(gate: &Gate, name: &str) -> Wxsub {
    let mut text = String::new();
    for scene in 1..=5 {
        allow(&gate.sandbox, "oUser", scene);
        text += &format!("{}\n", line("oUser", scene, "hold"));
    }
    let path = file(name, &text);
    pointed_at(&gate.base, wxsub(&["send", "--file", &path, "--concurrency", "2"]))
}

/// The first two lines, with this outcome.
fn first_two(outcome: &str) -> Vec<(u64, String)> {
    [1, 2].map(|line| (line, outcome.to_owned())).into()
}

#[test]
fn first_signal_finishes_messages_in_flight() {
    for (name, file) in [("INT", "first_int.jsonl"), ("TERM", "first_term.jsonl"), ("HUP", "first_hup.jsonl")]
    {
        let gate = Gate::start();
        let mut child = five_lines(&gate, file).start();
        gate.wait_for(2);
        signal(&child, name);
        wait_for_finishing(&mut child);
        gate.open();
        let ended = ended(child);
        assert_eq!((ended.code, ended.outcomes()), (4, first_two("sent")));
        let path = format!("{}/{file}", env!("CARGO_TARGET_TMPDIR"));
        let expected = format!(
            "2 sent, 0 refused, 0 invalid, 0 not sent, 0 maybe sent, 3 not tried\nstopped: stop signal received\n\
             go on with: wxsub send --file {path} --concurrency 2 --lines 3-\n"
        );
        assert_eq!(ended.err, expected);
        assert_eq!(gate.sandbox.mailbox(&"oUser".parse().unwrap()).len(), 2);
    }
}

/// Under nohup a closed terminal ends nothing.
#[test]
fn a_hangup_that_is_ignored_stays_ignored() {
    let gate = Gate::start();
    let mut call = five_lines(&gate, "nohup.jsonl").under_shell("trap '' HUP; exec \"$0\" \"$@\"");
    let child = call.start();
    gate.wait_for(2);
    signal(&child, "HUP");
    gate.open();
    let ended = ended(child);
    assert_eq!((ended.code, ended.outcomes().len()), (0, 5), "{ended:?}");
}

#[test]
fn second_signal_stops_at_once() {
    let gate = Gate::start();
    let mut child = five_lines(&gate, "second.jsonl").start();
    gate.wait_for(2);
    signal(&child, "INT");
    wait_for_finishing(&mut child);
    signal(&child, "INT");
    let ended = ended(child);
    assert_eq!((ended.code, ended.outcomes()), (5, first_two("maybe_sent")));
    assert!(
        ended.err.contains("0 not sent, 2 maybe sent, the rest not tried\n")
            && ended.err.ends_with(" --lines 3-\n"),
        "{}",
        ended.err
    );
}

#[test]
fn signal_ends_reading_of_endless_input() {
    let weixin = Weixin::start();
    let mut child = weixin.allow("oUser", 1).call(&["send", "--file", "-"]).start();
    let mut input = child.stdin.take().unwrap();
    writeln!(input, "{}", line("oUser", 1, "Hello")).unwrap();
    let mut output = [0];
    child.stdout.as_mut().unwrap().read_exact(&mut output).unwrap();
    signal(&child, "INT");
    let ended = ended(child);
    ended.said(4, ", the rest not tried\nstopped: stop signal received\n");
    assert!(ended.err.ends_with("go on with: wxsub send --file - --lines 2-\n"), "{}", ended.err);
}

#[test]
fn interrupted_message_is_finished_or_maybe_sent() {
    let gate = Gate::start();
    let call = |scene| {
        let call = wxsub(&["send", "--to", "oUser", "--template", TEMPLATE, "--scene", scene, "--json"]);
        pointed_at(&gate.base, call.args(&["--title", "Parcel", "--content", "hold"]))
    };
    let mut given_up = call("1").start();
    gate.wait_for(1);
    signal(&given_up, "INT");
    wait_for_finishing(&mut given_up);
    signal(&given_up, "TERM");
    let given_up = ended(given_up);
    assert_eq!(given_up.code, 5);
    assert_eq!(
        given_up.out.trim_end(),
        format!(
            r#"{{"outcome":"maybe_sent","touser":"oUser","template_id":"{TEMPLATE}","scene":"1","remedy":"investigate","stage":"send"}}"#
        )
    );
    assert!(given_up.err.starts_with("error: the message may have been sent"), "{}", given_up.err);

    allow(&gate.sandbox, "oUser", 2);
    let mut finished = call("2").start();
    gate.wait_for(1);
    signal(&finished, "INT");
    wait_for_finishing(&mut finished);
    gate.open();
    let finished = ended(finished);
    assert!(finished.code == 0 && finished.out.starts_with(r#"{"outcome":"sent""#), "{finished:?}");
}

#[test]
fn a_message_whose_token_call_is_interrupted_is_not_sent() {
    let weixin = Weixin::start();
    weixin.fault(STABLE_TOKEN, Fault::Hang);
    let mut child = weixin.send("oUser", "1").args(&["--json"]).start();
    wait_for("the token request", || weixin.seen(STABLE_TOKEN) > 0);
    signal(&child, "INT");
    wait_for_finishing(&mut child);
    signal(&child, "INT");
    let ended = ended(child);
    assert_eq!(
        (ended.code, ended.out.trim_end()),
        (
            4,
            format!(
                r#"{{"outcome":"not_sent","touser":"oUser","template_id":"{TEMPLATE}","scene":"1","remedy":"retry_later","stage":"token"}}"#
            )
            .as_str()
        )
    );
    assert!(ended.err.starts_with("error: the message was not sent: "), "{}", ended.err);
    assert_eq!(weixin.seen(SEND), 0);
}
