use std::time::Duration;

/// What one exchange may cost. Adapters keep these with the timers of their HTTP library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransportLimits {
    /// For DNS, connect and TLS together. 3 s unless told otherwise.
    pub connect: Duration,
    /// For the whole exchange, from start to the last byte of the body. 15 s unless told otherwise.
    pub total: Duration,
    /// The most bytes of a body; a longer one is an error. 64 KiB unless told otherwise.
    pub body_bytes: usize,
    /// How long an unused connection is kept. 15 s unless told otherwise: a longer time means more replies lost on
    /// connections the other side has just closed.
    pub idle: Duration,
}

impl Default for TransportLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            total: Duration::from_secs(15),
            body_bytes: 64 * 1024,
            idle: Duration::from_secs(15),
        }
    }
}

impl TransportLimits {
    /// With this long for DNS, connect and TLS.
    #[must_use]
    pub fn connect(mut self, connect: Duration) -> Self {
        self.connect = connect;
        self
    }

    /// With this long for the whole exchange.
    #[must_use]
    pub fn request_timeout(mut self, total: Duration) -> Self {
        self.total = total;
        self
    }

    /// With bodies of at most this many bytes.
    #[must_use]
    pub fn body_bytes(mut self, body_bytes: usize) -> Self {
        self.body_bytes = body_bytes;
        self
    }

    /// With unused connections kept this long.
    #[must_use]
    pub fn pool_idle_timeout(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_is_set_by_itself() {
        let (limits, second) = (TransportLimits::default(), Duration::from_secs(1));
        assert_eq!(limits.connect(second), TransportLimits { connect: second, ..limits });
        assert_eq!(limits.request_timeout(second), TransportLimits { total: second, ..limits });
        assert_eq!(limits.body_bytes(1), TransportLimits { body_bytes: 1, ..limits });
        assert_eq!(limits.pool_idle_timeout(second), TransportLimits { idle: second, ..limits });
    }
}
