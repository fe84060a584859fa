//! A very small browser: one request a connection, no redirects followed.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What a server sent.
pub(super) struct Page {
    /// The HTTP status.
    pub(super) status: u16,
    /// Where it leads, if it is a redirect.
    pub(super) location: Option<String>,
    /// What can be seen.
    pub(super) body: String,
}

/// The most that is read of a page, in bytes.
const MOST: u64 = 1024 * 1024;

/// Opens a link.
pub(super) async fn open(url: &str) -> Result<Page, String> {
    exchange("GET", url, "").await
}

/// Sends a form.
pub(super) async fn submit(url: &str, form: &str) -> Result<Page, String> {
    exchange("POST", url, form).await
}

async fn exchange(method: &str, url: &str, form: &str) -> Result<Page, String> {
    let url = url.split('#').next().unwrap_or_default();
    let rest = url.strip_prefix("http://").ok_or("the demo's browser speaks http:// only")?;
    let (host, target) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    let mut reply = Vec::new();
    let spoken = async {
        let mut stream = TcpStream::connect(host).await?;
        stream.write_all(request.as_bytes()).await?;
        stream.take(MOST).read_to_end(&mut reply).await
    };
    spoken.await.map_err(|error| format!("the page could not be opened: {error}"))?;
    read(&String::from_utf8_lossy(&reply)).ok_or_else(|| "what came back is no page".to_owned())
}

fn read(reply: &str) -> Option<Page> {
    let (head, body) = reply.split_once("\r\n\r\n")?;
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
    use super::read;

    #[test]
    fn status_location_and_body_are_found() {
        let page =
            read("HTTP/1.1 302 Found\r\nX: y\r\nlocation: https://a.example/?x=1:2\r\n\r\nmoved").unwrap();
        assert_eq!((page.status, page.body.as_str()), (302, "moved"));
        assert_eq!(page.location.as_deref(), Some("https://a.example/?x=1:2"));
        assert!(read("HTTP/1.1 200 OK\r\n\r\n").unwrap().location.is_none());
        assert!(read("garbage").is_none() && read("HTTP/1.1 ok\r\n\r\n").is_none());
    }
}
