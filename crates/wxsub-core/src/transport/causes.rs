use std::error::Error;
use std::io;

/// Returns the error and all its causes, outermost first.
///
/// It includes the error inside an [`io::Error`], which is not its source. HTTP libraries wrap errors several
/// times, and adapters need the inner ones.
pub fn chain<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> + use<'a> {
    std::iter::successors(Some(error), |&error| {
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        }
    })
}

/// Joins the texts of these errors, as the detail of a [`TransportError`](super::TransportError).
///
/// It omits repeated texts and texts that look like they contain a URL. It also omits `client error (…)` of hyper-util,
/// which says no more than its cause.
///
/// ```
/// use std::io::Error;
/// use wxsub_core::transport::{chain, format_chain};
///
/// let error = Error::other(Error::other("reset by peer"));
/// assert_eq!(format_chain(chain(&error)), "reset by peer");
///
/// let with_url = Error::other("no response from https://api.test/?secret=S");
/// assert_eq!(format_chain(chain(&with_url)), "no cause was given");
/// ```
pub fn format_chain<'a>(errors: impl IntoIterator<Item = &'a (dyn Error + 'static)>) -> String {
    let mut texts: Vec<String> = Vec::new();
    for text in errors.into_iter().map(ToString::to_string) {
        let repeated = texts.iter().any(|earlier| earlier.contains(&text));
        let url = text.contains("://") || text.contains('?');
        if !repeated && !url && !text.starts_with("client error (") {
            texts.push(text);
        }
    }
    if texts.is_empty() {
        texts.push("no cause was given".to_owned());
    }
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_ends_at_the_last_cause() {
        let error = io::Error::other(io::Error::other(io::Error::from(io::ErrorKind::TimedOut)));
        assert_eq!(chain(&error).count(), 3);
        assert_eq!(chain(&std::fmt::Error).count(), 1);
    }

    #[test]
    fn texts_appear_once_and_without_urls() {
        for (texts, expected) in [
            (["reset by peer", "os error 104"].as_slice(), "reset by peer: os error 104"),
            (&["broken: reset by peer", "reset by peer", "reset"], "broken: reset by peer"),
            (&["reset", "reset by peer"], "reset: reset by peer"),
            (&["client error (Connect)", "refused"], "refused"),
            (&["no response from http://api.test/", "refused"], "refused"),
            (&["no response to /cgi-bin/token?secret=S", "refused"], "refused"),
            (&["no response from http://api.test/?secret=S"], "no cause was given"),
            (&[], "no cause was given"),
        ] {
            let errors: Vec<_> = texts.iter().map(|text| io::Error::other(*text)).collect();
            assert_eq!(format_chain(errors.iter().map(|error| error as &dyn Error)), expected);
        }
    }
}
