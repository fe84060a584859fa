use http::HeaderMap;
use http::header::DATE;

/// The `Date` header of a reply, for [`RawReply::dated`](wxsub_proto::codec::RawReply::dated).
#[must_use]
pub fn date_of(headers: &HeaderMap) -> Option<String> {
    headers.get(DATE)?.to_str().ok().map(str::to_owned)
}
