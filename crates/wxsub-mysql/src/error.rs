//! What an error of the driver or of the server means, and what to do.

use mysql_async::{DriverError, Error, IoError, ServerError};
use wxsub_core::proto::LocalizedText;
use wxsub_outbox::inbox::InboxError;
use wxsub_tls::{TlsErrorKind, classify_tls_error};

/// The error for what the database at `place` or the driver said.
pub(crate) fn inbox_error(place: &str, error: &Error) -> InboxError {
    if let Some(kind) = classify_tls_error(error) {
        return match kind {
            TlsErrorKind::Certificate(_) => refused(
                format!("TLS with {place}: {kind}; check its certificate and the trusted authorities"),
                format!("与 {place} 的 TLS 连接：{kind}；请检查其证书和受信任的 CA"),
            ),
            _ => InboxError::Unavailable(format!("TLS with {place}: {kind}")),
        };
    }
    match error {
        Error::Server(error) => server_error(place, error),
        Error::Driver(DriverError::NoClientSslFlagFromServer) => refused(
            format!("{place}: the server has no TLS; configure it there, or use a tunnel or a unix socket"),
            format!("{place}：服务器未启用 TLS；请在服务器上启用，或使用隧道或 unix socket"),
        ),
        Error::Io(IoError::Io(error)) => InboxError::Unavailable(format!("{place}: {error}")),
        error => InboxError::Unavailable(format!("{place}: {error}")),
    }
}

/// The error in English and in Chinese.
pub(crate) fn refused(english: String, chinese: String) -> InboxError {
    InboxError::Refused(LocalizedText::new(english, chinese))
}

fn server_error(place: &str, error: &ServerError) -> InboxError {
    let ServerError { code, message, .. } = error;
    let (remedy, chinese) = match code {
        // Access denied: for the user, the database, a table, a column or a privilege.
        1045 | 1698 => (
            "check the user, the password file and from where the user may connect",
            "请检查用户名、密码文件，以及该用户允许的来源地址",
        ),
        1044 | 1142 | 1143 | 1227 => {
            ("grant the rights that docs/inbox.md lists", "请按 docs/inbox.md 授予权限")
        }
        1049 => ("correct the database in the URL", "请更正 URL 中的数据库名"),
        1054 | 1146 => ("make the table as docs/inbox.md says", "请按 docs/inbox.md 建表"),
        // Read only: an option, a transaction, a mode.
        1290 | 1792 | 1836 => {
            ("it is a replica or read only; connect to the primary", "该实例是只读的或是从库；请连接主库")
        }
        1064 => ("MariaDB 10.6 or MySQL 8.0 is needed", "需要 MariaDB 10.6 或 MySQL 8.0 以上版本"),
        _ => return InboxError::Unavailable(format!("{place}: {message} (error {code})")),
    };
    let what = format!("{place}: {message} (error {code})");
    refused(format!("{what}; {remedy}"), format!("{what}；{chinese}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_that_last_say_what_to_do_and_others_are_tried_again() {
        let of = |code| {
            let (message, state) = ("text of the server".to_owned(), "HY000".to_owned());
            inbox_error("db:3306/shop", &Error::Server(ServerError { code, message, state }))
        };
        for (code, remedy) in
            [(1045, "password file"), (1142, "grant"), (1146, "make the table"), (1290, "primary")]
        {
            let InboxError::Refused(text) = of(code) else { panic!("{code}") };
            let text = text.to_string();
            assert!(text.starts_with("db:3306/shop: text of the server") && text.contains(remedy), "{text}");
        }
        for code in [1040, 1053, 1205, 1213, 1969, 3024] {
            assert!(matches!(of(code), InboxError::Unavailable(_)), "{code}");
        }
        let closed = inbox_error("db:3306/shop", &Error::Driver(DriverError::ConnectionClosed));
        assert!(
            matches!(&closed, InboxError::Unavailable(text) if text.starts_with("db:3306/shop: ")),
            "{closed}"
        );
    }
}
