use http::HeaderMap;
use http::header::DATE;

/// The `Date` header of a reply, for [`RawReply::dated`](wxsub_proto::codec::RawReply::dated).
#[must_use]
pub fn date_of(headers: &HeaderMap) -> Option<String> {
    headers.get(DATE)?.to_str().ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_comes_as_it_was_written() {
        let date = "Tue, 24 Nov 2026 04:19:43 GMT";
        assert_eq!(date_of(&HeaderMap::from_iter([(DATE, date.parse().unwrap())])).as_deref(), Some(date));
        assert_eq!(date_of(&HeaderMap::new()), None);
    }
}
