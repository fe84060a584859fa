//! The limits of one exchange, and a body that is read within them.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::TRANSFER_ENCODING;

use super::error::{TransportError, TransportErrorKind};

/// The limits of one exchange. Adapters enforce them with the timers of their HTTP library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, derive_setters::Setters)]
#[non_exhaustive]
pub struct TransportLimits {
    /// Timeout of DNS, connect and TLS together. Default: 3 s.
    pub connect: Duration,
    /// Timeout of the whole exchange, to the last byte of the body. Default: 15 s.
    pub request_timeout: Duration,
    /// Maximum length of a body in bytes, unless the [request](crate::transport::HttpRequest::max_response_bytes) sets another. A longer
    /// one is an error. Default: 64 KiB.
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

/// The body of a response while it is read. It is bounded by [`TransportLimits`], and its end must be marked.
///
/// ```
/// use bytes::Bytes;
/// use http::HeaderMap;
/// use wxsub_core::transport::{LimitedBody, TransportErrorKind, TransportLimits};
///
/// let limits = TransportLimits::default().body_bytes(3);
/// let mut body = LimitedBody::new(&limits, Some(3), &HeaderMap::new())?;
/// body.push(Bytes::from_static(b"{"))?;
/// body.push(Bytes::from_static(b"}"))?;
/// let error = body.push(Bytes::from_static(b"  ")).unwrap_err();
/// assert_eq!(error.kind(), TransportErrorKind::TooLarge);
/// assert_eq!(body.finish(), "{}");
/// # Ok::<(), wxsub_core::transport::TransportError>(())
/// ```
#[derive(Debug)]
pub struct LimitedBody {
    allowed: usize,
    // Most bodies are one piece, which needs no copy.
    first: Bytes,
    joined: BytesMut,
}

impl LimitedBody {
    /// Starts a body of this length, or of unknown length, with these headers.
    ///
    /// # Errors
    /// [`TransportErrorKind::TooLarge`] if the length is above the limit. [`TransportErrorKind::Broken`] if the
    /// body has neither a length nor chunks, because a truncated body would look complete.
    pub fn new(
        limits: &TransportLimits,
        length: Option<u64>,
        headers: &HeaderMap,
    ) -> Result<Self, TransportError> {
        let body = Self { allowed: limits.body_bytes, first: Bytes::new(), joined: BytesMut::new() };
        match length {
            Some(length) if usize::try_from(length).is_ok_and(|length| length <= body.allowed) => Ok(body),
            Some(_) => Err(body.too_large()),
            None if is_chunked(headers) => Ok(body),
            None => Err(TransportError::maybe_sent(
                TransportErrorKind::Broken,
                "the response has neither a length nor chunks, so it may be incomplete",
            )),
        }
    }

    /// Appends the next piece.
    ///
    /// # Errors
    /// [`TransportErrorKind::TooLarge`] if the body is then above the limit. The piece is dropped.
    pub fn push(&mut self, piece: Bytes) -> Result<(), TransportError> {
        if piece.len() > self.allowed.saturating_sub(self.first.len().max(self.joined.len())) {
            return Err(self.too_large());
        }
        if self.joined.is_empty() && self.first.is_empty() {
            self.first = piece;
            return Ok(());
        }
        if self.joined.is_empty() {
            self.joined.extend_from_slice(&self.first);
        }
        self.joined.extend_from_slice(&piece);
        Ok(())
    }

    /// Returns the whole body.
    pub fn finish(self) -> Bytes {
        if self.joined.is_empty() { self.first } else { self.joined.freeze() }
    }

    fn too_large(&self) -> TransportError {
        let detail = format!("at most {} bytes are allowed", self.allowed);
        TransportError::maybe_sent(TransportErrorKind::TooLarge, detail)
    }
}

/// Returns whether `chunked` is the last coding, which marks the end of the body.
fn is_chunked(headers: &HeaderMap) -> bool {
    let codings = headers.get_all(TRANSFER_ENCODING);
    let last = codings.iter().next_back().and_then(|value| value.to_str().ok()?.rsplit(',').next());
    last.is_some_and(|last| last.trim().eq_ignore_ascii_case("chunked"))
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

    fn body(length: Option<u64>, codings: &[&'static str]) -> Result<LimitedBody, TransportErrorKind> {
        let codings = codings.iter().map(|coding| (TRANSFER_ENCODING, coding.parse().unwrap()));
        let limits = TransportLimits::default().body_bytes(3);
        LimitedBody::new(&limits, length, &codings.collect()).map_err(|error| error.kind())
    }

    #[test]
    fn body_has_a_marked_end_within_the_limit() {
        use TransportErrorKind::{Broken, TooLarge};
        for (length, codings, expected) in [
            (Some(3), [].as_slice(), Ok(())),
            (Some(4), &[], Err(TooLarge)),
            (Some(u64::MAX), &["chunked"], Err(TooLarge)),
            (None, &[], Err(Broken)),
            (None, &["Chunked"], Ok(())),
            (None, &["gzip, chunked"], Ok(())),
            (None, &["gzip", "chunked"], Ok(())),
            (None, &["chunked, gzip"], Err(Broken)),
            (None, &["chunked", "gzip"], Err(Broken)),
        ] {
            assert_eq!(body(length, codings).map(drop), expected, "{length:?} {codings:?}");
        }
    }

    #[test]
    fn pieces_are_joined_up_to_the_limit() {
        for (pieces, whole, fits) in [
            ([].as_slice(), "", true),
            (&["abc"], "abc", true),
            (&["a", "b", "c"], "abc", true),
            (&["", "ab", "", "c"], "abc", true),
            (&["abcd"], "", false),
            (&["ab", "cd"], "ab", false),
            (&["a", "b", "cd"], "ab", false),
        ] {
            let mut body = body(None, &["chunked"]).unwrap();
            let taken = pieces.iter().try_for_each(|piece| body.push(Bytes::from_static(piece.as_bytes())));
            assert_eq!(
                taken.map_err(|error| error.kind()),
                if fits { Ok(()) } else { Err(TransportErrorKind::TooLarge) }
            );
            assert_eq!(body.finish(), whole, "{pieces:?}");
        }
    }
}
