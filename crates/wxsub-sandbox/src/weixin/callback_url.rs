//! The URL that takes the user back to the app.

use percent_encoding::{CONTROLS, utf8_percent_encode};
use wxsub_proto::{ConsentCallback, HttpUrl};

/// The redirect URL with the callback in its query.
///
/// The callback follows an existing query and precedes the fragment. Characters outside ASCII are percent-encoded, as a
/// header requires.
pub(super) fn callback_url(redirect_url: &HttpUrl, callback: &ConsentCallback) -> String {
    let url = redirect_url.as_str();
    let (url, fragment) = url.split_at(url.find('#').unwrap_or(url.len()));
    let separator = match url.find('?') {
        None => "?",
        Some(_) if url.ends_with(['?', '&']) => "",
        Some(_) => "&",
    };
    let with_callback = format!("{url}{separator}{}{fragment}", callback.to_query());
    utf8_percent_encode(&with_callback, CONTROLS).to_string()
}

#[cfg(test)]
mod tests {
    use wxsub_proto::{ConsentAction, ConsentCallback, Scene};

    use super::callback_url;

    #[test]
    fn existing_query_and_fragment_keep_their_place() {
        let callback =
            ConsentCallback::new(ConsentAction::Cancel, "T".parse().unwrap(), Scene::new(7).unwrap(), None);
        for (url, expected) in [
            ("https://a.example", "https://a.example?template_id=T&action=cancel&scene=7"),
            ("https://a.example/b?x=1", "https://a.example/b?x=1&template_id=T&action=cancel&scene=7"),
            (
                "https://a.example/b?x=1&#/route?y=2",
                "https://a.example/b?x=1&template_id=T&action=cancel&scene=7#/route?y=2",
            ),
            ("https://a.example/b?#end", "https://a.example/b?template_id=T&action=cancel&scene=7#end"),
            ("https://a.example/路#", "https://a.example/%E8%B7%AF?template_id=T&action=cancel&scene=7#"),
        ] {
            assert_eq!(callback_url(&url.parse().unwrap(), &callback), expected);
        }
    }
}
