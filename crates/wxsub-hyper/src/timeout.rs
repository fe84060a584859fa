use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use hyper::rt::Timer;
use hyper_util::rt::TokioTimer;

/// The output of `work`, or `None` if it takes longer than `limit`.
///
/// Uses hyper's timer for tokio. `work` is borrowed, because moving a future into another doubles its size.
pub(crate) async fn timeout<T>(limit: Duration, mut work: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    let mut deadline = TokioTimer::new().sleep(limit);
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => deadline.as_mut().poll(context).map(|()| None),
    })
    .await
}
