use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::arguments::Arguments;
use crate::measured::Measured;
use crate::process::Server;
use crate::row::{Goal, Row, Unit};
use crate::{proc_fs, subject};

const IN_FLIGHT: usize = 16;

/// `wxsub send --file`, compared with the library that it uses.
pub(super) fn print(arguments: &Arguments, server: &Server) {
    let Some(wxsub) = &arguments.wxsub else {
        eprintln!("without --wxsub PATH nothing is said about `wxsub send --file`");
        return;
    };
    let (short, long) = (arguments.amount(100_000), arguments.amount(1_000_000));
    let (short_file, long_file) = (Messages::written(short), Messages::written(long));
    let pairs: Vec<_> = (0..arguments.rounds)
        .map(|_| {
            let ours = send(wxsub, &short_file.0, server, short);
            (ours, server.measure("library", IN_FLIGHT, short))
        })
        .collect();
    let what = format!("`wxsub send --file`, {short} messages, beside the library alone: CPU per message");
    Row::ratio(what, Unit::Micros, &pairs, |m| m.cpu, &Goal::None).print();
    let what =
        format!("`wxsub send --file`, {short} messages, beside the library alone: messages per second");
    Row::ratio(what, Unit::PerSecond, &pairs, |m| m.rate, &Goal::None).print();

    let whole = (send(wxsub, &long_file.0, server, long), server.measure("library", IN_FLIGHT, long));
    let what = format!("the same, {long} messages, one run");
    Row::ratio(what, Unit::PerSecond, &[whole], |m| m.rate, &Goal::None).print();
    let lengths: Vec<_> = pairs.iter().map(|(short, _)| (whole.0, *short)).collect();
    let what = format!("peak memory of `wxsub send --file`, {long} messages, beside {short}");
    Row::difference(what, Unit::MiB, &lengths, |m| m.peak, &Goal::AtMost(64.0 * 1024.0)).print();
}

/// A file of messages. It is deleted at the end.
struct Messages(PathBuf);

impl Messages {
    fn written(amount: usize) -> Self {
        let path = std::env::temp_dir().join(format!("wxsub-{amount}-{}.jsonl", std::process::id()));
        let mut file = BufWriter::new(File::create(&path).unwrap());
        // Each line is for another user, because a second message to the same one would be a duplicate.
        let line = String::from_utf8(subject::message().to_json()).unwrap();
        let (before, after) = line.split_once("\"touser\":\"").unwrap();
        for number in 0..amount {
            writeln!(file, "{before}\"touser\":\"u{number}{after}").unwrap();
        }
        file.flush().unwrap();
        Self(path)
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        // It may not exist any more.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn send(wxsub: &Path, file: &Path, server: &Server, messages: usize) -> Measured {
    let began = Instant::now();
    let mut running = Command::new(wxsub)
        .args(["send", "--concurrency", &IN_FLIGHT.to_string(), "--file"])
        .arg(file)
        .env_clear()
        .env("WXSUB_APPID", subject::app().as_str())
        .env("WXSUB_SECRET", subject::secret().expose_secret())
        .env("WXSUB_API_BASE", format!("http://{}", server.address))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let process = running.id().to_string();
    let (mut cpu, mut peak) = (Duration::ZERO, 0);
    // CPU time after the last sample is lost: up to 20 ms.
    let ended = loop {
        if let Some(ended) = running.try_wait().unwrap() {
            break ended;
        }
        cpu = cpu.max(proc_fs::cpu(&process));
        peak = proc_fs::peak(&process).unwrap_or(0).max(peak);
        sleep(Duration::from_millis(20));
    };
    assert!(ended.success(), "wxsub send: {ended}");
    Measured {
        cpu: cpu.as_nanos() as f64 / messages as f64,
        rate: messages as f64 / began.elapsed().as_secs_f64(),
        resident: peak as f64,
        peak: peak as f64,
        count: messages as f64,
    }
}
