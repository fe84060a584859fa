use crate::arguments::Arguments;
use crate::folder::Folder;
use crate::load::{Load, Loaded};
use crate::process::Running;
use crate::row::{Goal, Row, Unit};
use crate::served::Setup;
use crate::subject;

/// Sends through the server, and compares with forwarding a body.
pub(super) fn print(arguments: &Arguments, folder: &Folder) {
    let upstream = Running::upstream();
    let constant = format!("http://{}", upstream.said);
    let start = |name, audit: &str| {
        let top = format!("audit = \"{audit}\"");
        Setup { name, weixin: &constant, apps: 1, top, sections: String::new() }.ready(arguments, folder)
    };
    let (plain, audited) = (start("sending", "off"), start("audited", &folder.path("sent")));
    let hops = Running::in_role(&["forwarder", &constant]);
    let message = String::from_utf8(subject::message().to_json()).unwrap();
    let seconds = arguments.amount(3, 1);
    let rounds: Vec<[Loaded; 3]> = (0..arguments.amount(11, 5))
        .map(|_| {
            let passed_on =
                Load { url: hops.said.clone(), key: "not looked at", body: Some(&message), seconds };
            [
                plain.load("messages", Some(&message), seconds),
                passed_on.on(&hops),
                audited.load("messages", Some(&message), seconds),
            ]
        })
        .collect();
    for (place, what) in [(0, "without an audit"), (2, "with an audit file")] {
        let pairs: Vec<_> = rounds.iter().map(|round| (round[place], round[1])).collect();
        let cpu = format!("CPU per message sent through the server, {what}, beside two plain hyper hops");
        Row::ratio(cpu, Unit::Micros, &pairs, |m| m.cpu, &Goal::AtMost(1.3)).print();
        Row::ratio("messages per second of the same", Unit::PerSecond, &pairs, |m| m.rate, &Goal::None)
            .print();
    }
}
