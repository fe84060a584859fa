//! Many messages: read line by line, sent a bounded number at a time, told in the order of the lines.

use std::future::ready;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use tokio::sync::mpsc;

use super::deliver::{Delivered, Sender, deliver};
use super::progress::Progress;
use super::tally::Tally;
use crate::exit::Exit;
use crate::input::{Input, unreadable};
use crate::interrupt::Interrupt;
use crate::lines::{Line, Lines};
use crate::output::Output;
use crate::talk;
use wxsub_server::result_line::ResultLine;

/// How many lines are read ahead of those under way.
const READ_AHEAD: usize = 64;

/// A file to be sent.
pub(super) struct Job {
    path: PathBuf,
    lines: mpsc::Receiver<io::Result<Line>>,
    length: Option<u64>,
    concurrency: usize,
    from_line: u64,
}

/// Where reading stands.
enum Reading {
    /// There may be more.
    On,
    /// This was all.
    AtEnd,
    /// There may be more, but the user or the reader of the results wants no more.
    Stopped,
    /// There may be more, but it cannot be read.
    Failed(io::Error),
}

impl Job {
    /// Starts to read.
    pub(super) fn new(path: &Path, input: Input, concurrency: u16, from_line: u64) -> Self {
        let Input { bytes, length } = input;
        let (sender, lines) = mpsc::channel(READ_AHEAD);
        // A thread of its own, so that a standard input that never ends keeps nobody from ending.
        std::thread::spawn(move || {
            for line in Lines::of(BufReader::new(bytes)) {
                let skipped = line.as_ref().is_ok_and(|line| line.number < from_line);
                if !skipped && sender.blocking_send(line).is_err() {
                    return;
                }
            }
        });
        Self { path: path.to_owned(), lines, length, concurrency: concurrency.into(), from_line }
    }

    /// Sends every line and prints what became of it.
    pub(super) async fn run(mut self, sender: &Sender, interrupt: Interrupt) -> Exit {
        let progress = Progress::over(self.length);
        let (mut output, mut tally, mut reading) = (Output::new(), Tally::default(), Reading::On);
        let mut under_way = FuturesOrdered::new();
        let mut next_line = self.from_line;
        loop {
            if output.is_broken() && matches!(reading, Reading::On) {
                reading = Reading::Stopped;
            }
            let more = matches!(reading, Reading::On);
            tokio::select! {
                biased;
                Some((delivered, read)) = under_way.next() => {
                    let delivered: Delivered = delivered;
                    output.json(&delivered.result);
                    tally.count(&delivered);
                    progress.show(read, &tally);
                }
                () = interrupt.asked(), if more => reading = Reading::Stopped,
                line = self.lines.recv(), if more && under_way.len() < self.concurrency => match line {
                    Some(Ok(line)) => {
                        next_line = line.number.saturating_add(1);
                        under_way.push_back(work_on(line, sender, &interrupt));
                    }
                    Some(Err(error)) => reading = Reading::Failed(error),
                    None => reading = Reading::AtEnd,
                },
                // Nothing else is ready: whoever reads the results sees those there are.
                () = ready(()), if output.is_unflushed() => output.flush(),
                else => break,
            }
        }
        drop(progress);
        output.end(self.conclude(&tally, &reading, next_line))
    }

    /// Tells people how it went.
    fn conclude(&self, tally: &Tally, reading: &Reading, next_line: u64) -> Exit {
        tally.reasons().for_each(talk::note);
        talk::note(tally);
        match reading {
            Reading::On | Reading::AtEnd => return tally.largest(),
            Reading::Stopped => {}
            Reading::Failed(error) => {
                let failure = unreadable(&self.path, error);
                if next_line == self.from_line {
                    return failure.report();
                }
                failure.report();
            }
        }
        talk::note(format_args!("stopped early; go on with --from-line {next_line}"));
        if tally.any_maybe_sent() { Exit::MaybeSent } else { Exit::NotSent }
    }
}

/// Sends the message on this line if there is one, and says how much of the file that was.
async fn work_on(line: Line, sender: &Sender, interrupt: &Interrupt) -> (Delivered, u64) {
    let draft = line.draft();
    let checked = match &draft {
        Ok(draft) => draft.check(),
        Err(invalid) => Err(invalid.clone().into()),
    };
    let Delivered { result, why } = match checked {
        Ok(message) => deliver(sender, &message, interrupt).await,
        Err(problems) => Delivered {
            result: ResultLine::invalid(&draft.unwrap_or_default(), &problems),
            why: Some(problems.to_string()),
        },
    };
    let why = why.map(|why| format!("line {}: {why}", line.number));
    (Delivered { result: result.at_line(line.number), why }, line.read)
}
