use std::time::Duration;

/// The limits of one exchange. Adapters enforce them with the timers of their HTTP library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransportLimits {
    /// Timeout of DNS, connect and TLS together. Default: 3 s.
    pub connect: Duration,
    /// Timeout of the whole exchange, to the last byte of the body. Default: 15 s.
    pub request_timeout: Duration,
    /// Maximum length of a body in bytes. A longer one is an error. Default: 64 KiB.
    pub body_bytes: usize,
    /// How long an unused connection is kept. Default: 15 s. With a longer time, more responses are lost on
    /// connections that the server has just closed.
    pub pool_idle_timeout: Duration,
}

impl Default for TransportLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            request_timeout: Duration::from_secs(15),
            body_bytes: 64 * 1024,
            pool_idle_timeout: Duration::from_secs(15),
        }
    }
}

impl TransportLimits {
    /// Sets the timeout of DNS, connect and TLS.
    #[must_use]
    pub fn connect(mut self, connect: Duration) -> Self {
        self.connect = connect;
        self
    }

    /// Sets the timeout of the whole exchange.
    #[must_use]
    pub fn request_timeout(mut self, request_timeout: Duration) -> Self {
        self.request_timeout = request_timeout;
        self
    }

    /// Sets the maximum length of a body in bytes.
    #[must_use]
    pub fn body_bytes(mut self, body_bytes: usize) -> Self {
        self.body_bytes = body_bytes;
        self
    }

    /// Sets how long an unused connection is kept.
    #[must_use]
    pub fn pool_idle_timeout(mut self, pool_idle_timeout: Duration) -> Self {
        self.pool_idle_timeout = pool_idle_timeout;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_is_set_alone() {
        let (limits, second) = (TransportLimits::default(), Duration::from_secs(1));
        assert_eq!(limits.connect(second), TransportLimits { connect: second, ..limits });
        assert_eq!(limits.request_timeout(second), TransportLimits { request_timeout: second, ..limits });
        assert_eq!(limits.body_bytes(1), TransportLimits { body_bytes: 1, ..limits });
        assert_eq!(limits.pool_idle_timeout(second), TransportLimits { pool_idle_timeout: second, ..limits });
    }
}
