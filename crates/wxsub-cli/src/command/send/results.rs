//! Writes the results of a batch, one JSON object per line.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;
use wxsub_server::send_result::{SendResult, SendStatus};

/// Writes each result without buffering, and keeps the number of the last line written.
pub(super) struct ResultWriter<W> {
    out: W,
    last_recorded: Option<u64>,
    failed: Option<io::Error>,
    /// Whether the result of a message that may have been posted was not written.
    posted_lost: bool,
}

/// A result with the caller's id.
#[derive(Serialize)]
pub(super) struct Record<'a> {
    #[serde(flatten)]
    result: SendResult,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a Value>,
}

impl<'a> Record<'a> {
    pub(super) fn new(result: SendResult, id: Option<&'a Value>) -> Self {
        Self { result, id }
    }
}

impl<W: Write> ResultWriter<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, last_recorded: None, failed: None, posted_lost: false }
    }

    /// Writes the result of a line. After the first failure nothing more is written.
    ///
    /// # Errors
    ///
    /// The text of the result if it was not written.
    pub(super) fn write(&mut self, line: u64, result: SendResult, id: Option<&Value>) -> Result<(), String> {
        let posted = matches!(result.outcome, SendStatus::Sent | SendStatus::Refused | SendStatus::MaybeSent);
        let record = Record::new(result.at_line(line), id);
        let mut text = serde_json::to_string(&record).map_err(|error| error.to_string())?;
        text.push('\n');
        if self.failed.is_none() {
            // One write per line, so that earlier lines are complete.
            self.failed = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()).err();
        }
        if self.failed.is_none() {
            self.last_recorded = Some(line);
            return Ok(());
        }
        self.posted_lost |= posted;
        text.pop();
        Err(text)
    }

    /// Number of the last line whose result was written.
    pub(super) fn last_recorded(&self) -> Option<u64> {
        self.last_recorded
    }

    /// The error of the first failed write.
    pub(super) fn failed(&self) -> Option<&io::Error> {
        self.failed.as_ref()
    }

    /// Whether the result of a message that may have been posted was not written.
    pub(super) fn has_lost_posted(&self) -> bool {
        self.posted_lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A writer that fails after this many bytes, like a full disk.
    struct Disk(usize);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match bytes.len().min(self.0) {
                0 => Err(io::ErrorKind::StorageFull.into()),
                taken => {
                    self.0 -= taken;
                    Ok(taken)
                }
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn message() -> wxsub_proto::Message {
        serde_json::from_str(
            r#"{"touser":"o","template_id":"T","scene":"1","title":"t","data":{"content":{"value":"v"}}}"#,
        )
        .unwrap()
    }

    #[test]
    fn id_is_the_last_member() {
        let mut out = Vec::new();
        ResultWriter::new(&mut out).write(7, SendResult::sent(&message()), Some(&"x".into())).unwrap();
        let expected = r#"{"outcome":"sent","touser":"o","template_id":"T","scene":"1","line":7,"id":"x"}"#;
        assert_eq!(String::from_utf8(out).unwrap(), format!("{expected}\n"));
    }

    #[test]
    fn last_recorded_line_is_complete() {
        let mut one = Vec::new();
        ResultWriter::new(&mut one).write(1, SendResult::sent(&message()), None).unwrap();
        let mut out = ResultWriter::new(Disk(2 * one.len() + 5));
        for line in 1..=2 {
            assert_eq!(out.write(line, SendResult::sent(&message()), None), Ok(()));
        }
        assert!(!out.has_lost_posted());
        for line in 3..=4 {
            let lost = out.write(line, SendResult::sent(&message()), None).unwrap_err();
            assert!(lost.ends_with(&format!(r#""line":{line}}}"#)), "{lost}");
        }
        assert_eq!((out.last_recorded(), out.has_lost_posted()), (Some(2), true));
        assert_eq!(out.failed().unwrap().kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn lost_result_of_unposted_message_is_not_in_doubt() {
        let mut out = ResultWriter::new(Disk(0));
        assert!(out.write(1, SendResult::not_sent(&message()), None).is_err());
        assert_eq!((out.last_recorded(), out.has_lost_posted()), (None, false));
    }
}
