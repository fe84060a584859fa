use std::error::Error;
use std::io;

/// The error and everything below it, outermost first; also what an [`io::Error`] was made from, which it does not name
/// as its source.
///
/// HTTP libraries wrap errors several times; what an adapter must know (canceled? a certificate?) is somewhere in here.
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

/// What these errors say, one after the other, as the detail of a [`TransportError`](super::TransportError): nothing
/// twice, and nothing that looks as if it held a URL. What hyper-util calls `client error (…)` is left out too: it says
/// no more than its cause.
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
        let repeated = texts.iter().any(|said| said.contains(&text));
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
    fn a_chain_goes_down_to_the_last_cause() {
        let error = io::Error::other(io::Error::other(io::Error::from(io::ErrorKind::TimedOut)));
        assert_eq!(chain(&error).count(), 3);
        assert_eq!(chain(&std::fmt::Error).count(), 1);
    }

    #[test]
    fn causes_are_told_once_and_without_urls() {
        for (said, told) in [
            (["reset by peer", "os error 104"].as_slice(), "reset by peer: os error 104"),
            (&["broken: reset by peer", "reset by peer", "reset"], "broken: reset by peer"),
            (&["reset", "reset by peer"], "reset: reset by peer"),
            (&["client error (Connect)", "refused"], "refused"),
            (&["no reply from http://api.test/", "refused"], "refused"),
            (&["no reply to /cgi-bin/token?secret=S", "refused"], "refused"),
            (&["no reply from http://api.test/?secret=S"], "no cause was given"),
            (&[], "no cause was given"),
        ] {
            let errors: Vec<_> = said.iter().map(|text| io::Error::other(*text)).collect();
            assert_eq!(format_chain(errors.iter().map(|error| error as &dyn Error)), told);
        }
    }
}
