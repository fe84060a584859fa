//! Query strings, in both directions.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, percent_decode_str, utf8_percent_encode};

/// All but the unreserved characters of RFC 3986.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A query string whose percent-encoding is not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the query string is not percent-encoded UTF-8")]
pub struct QueryDecodeError;

/// Encodes one value of a query string, exactly once.
#[must_use]
pub fn percent_encode(value: &str) -> PercentEncode<'_> {
    utf8_percent_encode(value, COMPONENT)
}

/// Appends one value of a query string, encoded. Most of them are tokens and ids, with nothing in them to encode.
pub(crate) fn percent_encode_into(url: &mut String, value: &str) {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() | matches!(byte, b'-' | b'.' | b'_' | b'~');
    // Looking at every byte, without a way out, is what compilers do sixteen at a time.
    if value.bytes().fold(true, |all, byte| all & plain(byte)) {
        url.push_str(value);
    } else {
        url.extend(percent_encode(value));
    }
}

/// Decodes a query string into names and values, in order. `+` is a space, as in forms.
///
/// # Errors
/// [`QueryDecodeError`] if a name or value does not decode to UTF-8.
pub fn decode_query(query: &str) -> Result<Vec<(String, String)>, QueryDecodeError> {
    let decode = |part: &str| {
        let part = part.replace('+', " ");
        percent_decode_str(&part).decode_utf8().map(|text| text.into_owned()).map_err(|_| QueryDecodeError)
    };
    query
        .trim_start_matches('?')
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn what_is_encoded_decodes_to_itself(value in ".*") {
            let mut appended = String::new();
            percent_encode_into(&mut appended, &value);
            assert_eq!(appended, percent_encode(&value).to_string());
            let pairs = decode_query(&format!("v={appended}")).unwrap();
            assert_eq!(pairs, [("v".to_owned(), value)]);
        }

        #[test]
        fn any_text_is_decoded_or_refused_without_panic(text in ".*") {
            let _pairs = decode_query(&text);
        }
    }
}
