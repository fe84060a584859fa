use std::thread::scope;
use std::time::Duration;

use wxsub_sandbox::Fault;

use crate::arguments::Arguments;
use crate::cluster::{Cluster, wait};
use crate::folder::Folder;
use crate::redis::Redis;
use crate::row::{Goal, Row, Unit};
use crate::served::Served;
use crate::weixin::TOKEN;

/// How many clusters run at the same time. They mostly wait.
const AT_A_TIME: usize = 10;

/// Times after the kill.
#[derive(Clone, Copy)]
struct Took {
    /// Until one peer holds a new token.
    one: Duration,
    /// Until both peers do.
    both: Duration,
}

/// A server is killed during its fetch, as soon as its request has reached Weixin: then most of its lease is still to
/// come.
pub(super) fn print(arguments: &Arguments, folder: &Folder) {
    let redis = Redis::start();
    let runs = arguments.amount(20, 6);
    let mut took = Vec::new();
    while took.len() < runs {
        let batch = took.len()..runs.min(took.len() + AT_A_TIME);
        scope(|scope| {
            let running: Vec<_> = batch
                .map(|run| {
                    let name = format!("takeover-{run}");
                    let cluster = Cluster::new(arguments, folder, &redis, name, 1);
                    let kill = if run % 2 == 0 { kill_during_refresh } else { kill_at_start };
                    scope.spawn(move || kill(&cluster))
                })
                .collect();
            took.extend(running.into_iter().map(|run| run.join().unwrap()));
        });
    }
    for (first, what) in [(0, "after a report, the token before it served meanwhile"), (1, "at a cold start")]
    {
        let row = |who: &str, value: fn(&Took) -> Duration| {
            let seconds: Vec<f64> =
                took.iter().skip(first).step_by(2).map(|took| value(took).as_secs_f64()).collect();
            let runs = seconds.len();
            let what = format!("`kill -9` during a fetch {what}, {runs} runs: until {who} a new token");
            Row::worst(what, Unit::Seconds, &seconds, &Goal::AtMost(32.0)).print();
        };
        row("another server holds", |took| took.one);
        row("both others hold", |took| took.both);
    }
}

/// All servers have a token. One gets a report that it is invalid, and is killed while it fetches another.
fn kill_during_refresh(cluster: &Cluster<'_>) -> Took {
    let [mut first, second, third] = cluster.three();
    let (fetches, before) = (cluster.weixin.fetches(), first.generation(0));
    cluster.weixin.sandbox.add_fault(TOKEN, 1, Fault::Hang);
    let _heard = first.report(0);
    wait(|| cluster.weixin.fetches() > fetches);
    let _heard = [second.report(0), third.report(0)];
    first.process.kill();
    until_held(&second, &third, |server| server.generation(0) > before)
}

/// No server has a token yet. The first is killed while it fetches one, and its peers have started meanwhile.
fn kill_at_start(cluster: &Cluster<'_>) -> Took {
    cluster.weixin.sandbox.add_fault(TOKEN, 1, Fault::Hang);
    let mut first = cluster.start();
    wait(|| cluster.weixin.fetches() > 0);
    let (second, third) = (cluster.start(), cluster.start());
    first.process.kill();
    // A read would wait for a token.
    until_held(&second, &third, |server| server.holding() > 0)
}

fn until_held(second: &Served, third: &Served, holds: impl Fn(&Served) -> bool) -> Took {
    let one = wait(|| holds(second) || holds(third));
    Took { one, both: one + wait(|| holds(second) && holds(third)) }
}
