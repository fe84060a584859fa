//! Thousands of tasks that ask an empty token cache, compared with as many that wait for the value on a channel.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::task::JoinSet;
use wxsub_core::token::{TokenCache, TokenSource};
use wxsub_core::transport::{HttpRequest, Transport};
use wxsub_hyper::HyperTransport;
use wxsub_tls::Roots;

use crate::measured::Measured;
use crate::{proc_fs, subject};

pub(super) fn cache(server: &str, tasks: usize) -> Measured {
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    let wire = Arc::new(HyperTransport::builder().roots(Roots::Bundled).build().unwrap());
    let transport = move |request: HttpRequest| {
        counted.fetch_add(1, Ordering::Relaxed);
        let wire = Arc::clone(&wire);
        async move { wire.execute(request).await }
    };
    let cache = TokenCache::builder(subject::app(), subject::secret(), Arc::new(transport))
        .api_base(format!("http://{server}").parse().unwrap())
        .build();
    let measured = on_tasks(tasks, || {
        let cache = cache.clone();
        async move { assert_eq!(cache.token().await.unwrap().token().expose_secret(), subject::TOKEN) }
    });
    Measured { count: requests.load(Ordering::Relaxed) as f64, ..measured }
}

pub(super) fn watch(tasks: usize) -> Measured {
    let (sender, receiver) = watch::channel(None);
    let first = AtomicUsize::new(0);
    let sender = Arc::new(sender);
    on_tasks(tasks, || {
        let mut receiver = receiver.clone();
        let sender = (first.fetch_add(1, Ordering::Relaxed) == tasks - 1).then(|| Arc::clone(&sender));
        async move {
            if let Some(sender) = sender {
                sender.send_replace(Some(Arc::new(subject::TOKEN)));
            }
            receiver.wait_for(Option::is_some).await.unwrap();
        }
    })
}

fn on_tasks<F: Future<Output = ()> + Send + 'static>(tasks: usize, task: impl Fn() -> F) -> Measured {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let before = proc_fs::cpu("self");
    runtime.block_on(async {
        let asking: JoinSet<()> = (0..tasks).map(|_| task()).collect();
        asking.join_all().await;
    });
    Measured {
        cpu: (proc_fs::cpu("self") - before).as_nanos() as f64 / tasks as f64,
        peak: proc_fs::peak("self").unwrap() as f64,
        ..Measured::default()
    }
}
