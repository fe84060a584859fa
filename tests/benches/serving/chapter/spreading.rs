use std::thread::scope;

use crate::arguments::Arguments;
use crate::ask::heard;
use crate::cluster::{Cluster, wait};
use crate::folder::Folder;
use crate::redis::Redis;
use crate::row::{Goal, Row, Unit};
use crate::served::Served;

/// How many refreshes are measured at the same time.
const AT_A_TIME: usize = 10;

/// Measures how long it takes until all servers hold a new token.
pub(super) fn print(arguments: &Arguments, folder: &Folder) {
    let (redis, apps) = (Redis::start(), arguments.amount(100, 20));
    let cluster = Cluster::new(arguments, folder, &redis, "spreading".to_owned(), apps);
    let servers = cluster.three();
    let apps: Vec<usize> = (0..apps).collect();
    let mut took = Vec::new();
    // One report per app and server stays below the rate limit.
    for turn in 0..3 {
        for some in apps.chunks(AT_A_TIME) {
            scope(|scope| {
                let servers = &servers;
                let watched: Vec<_> =
                    some.iter().map(|app| scope.spawn(move || refresh(servers, turn, *app))).collect();
                took.extend(watched.into_iter().map(|watched| watched.join().unwrap()));
            });
        }
    }
    took.sort_by(f64::total_cmp);
    let what = format!(
        "from the answer to a report until all three servers hold that token, {} refreshes",
        took.len()
    );
    Row::alone(what, Unit::Millis, &took, &Goal::None).print();
    let p99 = took[(took.len() * 99).div_ceil(100) - 1];
    Row::alone("the same, 99 of 100 within", Unit::Millis, &[p99], &Goal::None).print();
}

/// In nanoseconds.
fn refresh(servers: &[Served; 3], turn: usize, app: usize) -> f64 {
    let answer = heard(servers[turn].report(app));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let generation = answer.member("generation").as_u64().unwrap();
    wait(|| servers.iter().all(|server| server.generation(app) >= generation)).as_nanos() as f64
}
