//! A minimal browser: one request per connection; it does not follow redirects.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A response.
pub(super) struct Page {
    /// The HTTP status.
    pub(super) status: u16,
    /// The `Location` header, if any.
    pub(super) location: Option<String>,
    /// The body.
    pub(super) body: String,
}

/// Maximum length of a response, in bytes. The rest is not read.
const MAX_RESPONSE_BYTES: u64 = 1024 * 1024;

/// Opens a URL.
pub(super) async fn get(url: &str) -> Result<Page, String> {
    exchange("GET", url, "").await
}

/// Submits a form.
pub(super) async fn post(url: &str, form: &str) -> Result<Page, String> {
    exchange("POST", url, form).await
}

async fn exchange(method: &str, url: &str, form: &str) -> Result<Page, String> {
    let url = url.split('#').next().unwrap_or_default();
    let rest = url.strip_prefix("http://").ok_or("the browser of the demo supports only http://")?;
    let (host, target) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    let mut response = Vec::new();
    let exchange = async {
        let mut stream = TcpStream::connect(host).await?;
        stream.write_all(request.as_bytes()).await?;
        stream.take(MAX_RESPONSE_BYTES).read_to_end(&mut response).await
    };
    exchange.await.map_err(|error| format!("cannot open the page: {error}"))?;
    parse(&String::from_utf8_lossy(&response)).ok_or_else(|| "the response is not HTTP".to_owned())
}

fn parse(response: &str) -> Option<Page> {
    let (head, body) = response.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let location = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("location"))
        .map(|(_, value)| value.trim().to_owned());
    Some(Page { status, location, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn status_location_and_body_are_found() {
        let page =
            parse("HTTP/1.1 302 Found\r\nX: y\r\nlocation: https://a.example/?x=1:2\r\n\r\nmoved").unwrap();
        assert_eq!((page.status, page.body.as_str()), (302, "moved"));
        assert_eq!(page.location.as_deref(), Some("https://a.example/?x=1:2"));
        assert!(parse("HTTP/1.1 200 OK\r\n\r\n").unwrap().location.is_none());
        assert!(parse("garbage").is_none() && parse("HTTP/1.1 ok\r\n\r\n").is_none());
    }
}
