//! Chooses the host of Weixin's API to call.

use std::time::Duration;

use parking_lot::Mutex;
use wxsub_proto::{BaseUrl, BaseUrls};

use crate::clock::MonotonicInstant;

/// Time after a failure of the first host until it is tried again.
const FIRST_HOST_RETRY_INTERVAL: Duration = Duration::from_secs(300);

/// The hosts in order of preference, and the one to call now.
///
/// After a failure the next host is called. Five minutes after the first host failed, it is called again.
#[derive(Debug)]
pub(crate) struct Hosts {
    bases: BaseUrls,
    preferred: Mutex<Preferred>,
}

#[derive(Debug, Default)]
struct Preferred {
    index: usize,
    /// When the first host failed.
    first_failed: MonotonicInstant,
}

impl Hosts {
    pub(crate) fn new(bases: BaseUrls) -> Self {
        Self { bases, preferred: Mutex::default() }
    }

    pub(crate) fn bases(&self) -> &BaseUrls {
        &self.bases
    }

    /// Returns the host to call now.
    pub(crate) fn preferred(&self, now: MonotonicInstant) -> &BaseUrl {
        let mut preferred = self.preferred.lock();
        if now.duration_since(preferred.first_failed) >= FIRST_HOST_RETRY_INTERVAL {
            preferred.index = 0;
        }
        self.bases.iter().nth(preferred.index).unwrap_or(self.bases.first())
    }

    /// Records that a call to this host got no response of Weixin's. Calls then go to the next host. A failure of a
    /// host that is no longer preferred changes nothing.
    pub(crate) fn failed(&self, base: &BaseUrl, now: MonotonicInstant) {
        let mut preferred = self.preferred.lock();
        if self.bases.iter().nth(preferred.index) != Some(base) {
            return;
        }
        if preferred.index == 0 {
            preferred.first_failed = now;
        }
        preferred.index = (preferred.index + 1) % self.bases.count();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_fails_is_left_and_the_first_tried_again_later() {
        let bases = ["https://a", "https://b", "https://c"].map(|base| base.parse::<BaseUrl>().unwrap());
        let hosts = Hosts::new(BaseUrls::new(bases.clone()).unwrap());
        let at = |seconds| MonotonicInstant::from_origin(Duration::from_secs(10_000_u64 + seconds));
        let [a, b, c] = &bases;
        assert_eq!(hosts.preferred(at(0)), a);
        // Calls that fail at the same time move on by one host only.
        (0..3).for_each(|_| hosts.failed(a, at(0)));
        assert_eq!(hosts.preferred(at(200)), b);
        hosts.failed(b, at(200));
        assert_eq!((hosts.preferred(at(200)), hosts.preferred(at(299))), (c, c));
        assert_eq!(hosts.preferred(at(300)), a);
        hosts.failed(a, at(300));
        assert_eq!(hosts.preferred(at(301)), b);
        hosts.failed(b, at(301));
        hosts.failed(c, at(302));
        assert_eq!(hosts.preferred(at(302)), a);
    }
}
