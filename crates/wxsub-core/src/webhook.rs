//! Signatures of webhooks, as [Standard Webhooks](https://www.standardwebhooks.com) says: the server signs each
//! webhook, and the endpoint verifies it.

use std::str::FromStr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use wxsub_proto::LocalizedText;
use zeroize::Zeroizing;

use crate::clock::UnixMillis;
use crate::consent::RngError;

/// Maximum difference between the time of a webhook and that of its receiver. An older webhook may be a repeated copy.
pub const TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// Begins every secret.
const PREFIX: &str = "whsec_";

/// Begins every signature: HMAC-SHA-256.
const VERSION: &str = "v1";

/// The number of bytes of a secret that is made here.
const GENERATED_BYTES: usize = 32;

/// The secret that server and endpoint share: 24 to 64 random bytes. As text, they are `whsec_` and base64. Drop wipes it.
#[derive(Clone, derive_more::Debug)]
#[debug("WebhookSecret(***)")]
pub struct WebhookSecret(Zeroizing<Vec<u8>>);

/// The error for a text that is no secret of a webhook. It holds no part of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be whsec_ and 24 to 64 bytes in base64; make one with `wxsub webhook secret`")]
pub struct InvalidWebhookSecret;

impl InvalidWebhookSecret {
    /// Returns the error in every language.
    pub fn localized(&self) -> LocalizedText<String> {
        let chinese = "必须是 whsec_ 加上 24 到 64 字节的 base64；请用 `wxsub webhook secret` 生成";
        LocalizedText::new(self.to_string(), chinese.to_owned())
    }
}

/// The three headers of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "the standard has three")]
pub struct WebhookHeaders<'a> {
    /// `webhook-id`: the same for every attempt.
    pub id: &'a str,
    /// `webhook-timestamp`: when this attempt was made, in seconds since 1970.
    pub timestamp: &'a str,
    /// `webhook-signature`: one or more signatures, separated by spaces.
    pub signature: &'a str,
}

/// Why a webhook is not genuine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookRejection {
    /// The time is no number.
    #[error("webhook-timestamp: is no number of seconds; pass the header as it came")]
    InvalidTimestamp,
    /// The webhook is too old.
    #[error(
        "webhook-timestamp: is {0} s ago, more than 300 s; it may be a copy of an old webhook. Check the clocks of both machines"
    )]
    TooOld(u64),
    /// The webhook comes from the future.
    #[error("webhook-timestamp: is {0} s in the future, more than 300 s; check the clocks of both machines")]
    TooNew(u64),
    /// The header has no signature of this version.
    #[error("webhook-signature: has no signature of the form v1,BASE64; pass the header as it came")]
    NoSignature,
    /// No signature is the right one.
    #[error(
        "webhook-signature: does not match; check that the secret is that of this endpoint, that id and timestamp are those of \
         this request, and that the body has the same bytes as it came"
    )]
    WrongSignature,
}

impl WebhookRejection {
    /// Returns the reason in every language.
    pub fn localized(&self) -> LocalizedText<String> {
        let chinese = match self {
            Self::InvalidTimestamp => "webhook-timestamp：不是秒数；请原样传入该请求头".to_owned(),
            Self::TooOld(seconds) => format!(
                "webhook-timestamp：是 {seconds} 秒前，超过 300 秒；可能是重放的旧请求。请检查双方的系统时间"
            ),
            Self::TooNew(seconds) => {
                format!("webhook-timestamp：比当前时间晚 {seconds} 秒，超过 300 秒；请检查双方的系统时间")
            }
            Self::NoSignature => {
                "webhook-signature：没有形如 v1,BASE64 的签名；请原样传入该请求头".to_owned()
            }
            Self::WrongSignature => {
                "webhook-signature：签名不匹配；请检查密钥是否属于该 endpoint、id 和 timestamp \
                                     是否来自同一个请求，以及请求体是否与收到的字节完全一致"
                    .to_owned()
            }
        };
        LocalizedText::new(self.to_string(), chinese)
    }
}

impl WebhookSecret {
    /// Makes a new secret.
    ///
    /// # Errors
    /// [`RngError`] if the system gave no random bytes.
    pub fn generate() -> Result<Self, RngError> {
        let mut bytes = Zeroizing::new(vec![0; GENERATED_BYTES]);
        getrandom::fill(&mut bytes).map_err(|_| RngError)?;
        Ok(Self(bytes))
    }

    /// Returns the secret as text, **to hand it to the endpoint**.
    #[must_use]
    pub fn expose_secret(&self) -> Zeroizing<String> {
        let encoded = Zeroizing::new(STANDARD.encode(&*self.0));
        Zeroizing::new(format!("{PREFIX}{}", *encoded))
    }

    /// Returns the signature of a body that is sent now: `v1,` and base64.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp_s: u64, body: &[u8]) -> String {
        format!("{VERSION},{}", STANDARD.encode(self.mac(id, &timestamp_s.to_string(), body)))
    }

    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    fn mac(&self, id: &str, timestamp: &str, body: &[u8]) -> [u8; 32] {
        let mut mac: Hmac<Sha256> = Hmac::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// Checks that a webhook was signed with this secret and is not old.
    ///
    /// The body must have the bytes that came: parsing and writing it again changes them. Afterwards, ignore an id that was
    /// handled before, because a webhook can come more than once.
    ///
    /// # Errors
    /// [`WebhookRejection`] says what is wrong.
    pub fn verify(
        &self,
        headers: WebhookHeaders<'_>,
        body: &[u8],
        now: UnixMillis,
    ) -> Result<(), WebhookRejection> {
        let WebhookHeaders { id, timestamp, signature } = headers;
        let sent_s: u64 = timestamp.parse().map_err(|_| WebhookRejection::InvalidTimestamp)?;
        let (now_s, tolerance_s) = (now.get() / 1000, TOLERANCE.as_secs());
        if now_s.saturating_sub(sent_s) > tolerance_s {
            return Err(WebhookRejection::TooOld(now_s - sent_s));
        }
        if sent_s.saturating_sub(now_s) > tolerance_s {
            return Err(WebhookRejection::TooNew(sent_s - now_s));
        }
        let mut signatures = signature
            .split_whitespace()
            .filter_map(|signature| signature.strip_prefix(VERSION)?.strip_prefix(','))
            .peekable();
        if signatures.peek().is_none() {
            return Err(WebhookRejection::NoSignature);
        }
        let expected = STANDARD.encode(self.mac(id, timestamp, body));
        // Every signature is compared, so that the duration does not depend on which one matches.
        let matches = signatures.fold(0, |matches, signature| {
            matches | signature.as_bytes().ct_eq(expected.as_bytes()).unwrap_u8()
        });
        if matches == 1 { Ok(()) } else { Err(WebhookRejection::WrongSignature) }
    }
}

impl FromStr for WebhookSecret {
    type Err = InvalidWebhookSecret;

    fn from_str(text: &str) -> Result<Self, InvalidWebhookSecret> {
        let encoded = text.strip_prefix(PREFIX).ok_or(InvalidWebhookSecret)?;
        let bytes = Zeroizing::new(STANDARD.decode(encoded).map_err(|_| InvalidWebhookSecret)?);
        if (24..=64).contains(&bytes.len()) { Ok(Self(bytes)) } else { Err(InvalidWebhookSecret) }
    }
}

impl PartialEq for WebhookSecret {
    /// Takes constant time.
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for WebhookSecret {}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::clock::{Clock, SystemClock};

    const BODY: &[u8] = br#"{"type":"message.sent"}"#;
    const NOW: UnixMillis = UnixMillis::new(1_700_000_000_000);

    /// The example of the standard's own tests.
    const EXAMPLE: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn headers<'a>(id: &'a str, timestamp: &'a str, signature: &'a str) -> HeaderMap {
        let pairs = [("webhook-id", id), ("webhook-timestamp", timestamp), ("webhook-signature", signature)];
        pairs.into_iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    /// The time of the system, because the library `standardwebhooks` takes no other.
    fn real_seconds() -> u64 {
        SystemClock::new().now().wall.get() / 1000
    }

    #[test]
    fn another_library_verifies_our_signature_and_we_verify_its() {
        let (ours, theirs) = (WebhookSecret::generate().unwrap(), real_seconds());
        let other = standardwebhooks::Webhook::new(&ours.expose_secret()).unwrap();
        let signature = ours.sign("id-1", theirs, BODY);
        let timestamp = theirs.to_string();
        other.verify(BODY, &headers("id-1", &timestamp, &signature)).unwrap();
        assert!(other.verify(b"{}", &headers("id-1", &timestamp, &signature)).is_err());
        let signature = other.sign("id-2", theirs.try_into().unwrap(), BODY).unwrap();
        let headers = WebhookHeaders { id: "id-2", timestamp: &timestamp, signature: &signature };
        ours.verify(headers, BODY, UnixMillis::new(theirs * 1000)).unwrap();
    }

    #[test]
    fn each_defect_has_its_reason() {
        let secret: WebhookSecret = EXAMPLE.parse().unwrap();
        let good = secret.sign("id", 1_700_000_000, BODY);
        let verify = |id, timestamp, signature: &str, body| {
            secret.verify(WebhookHeaders { id, timestamp, signature }, body, NOW)
        };
        use WebhookRejection::{InvalidTimestamp, NoSignature, TooNew, TooOld, WrongSignature};
        for (id, timestamp, signature, body, expected) in [
            ("id", "1700000000", good.as_str(), BODY, Ok(())),
            ("id", "now", &good, BODY, Err(InvalidTimestamp)),
            ("id", "-1", &good, BODY, Err(InvalidTimestamp)),
            ("id", "1699999699", &good, BODY, Err(TooOld(301))),
            ("id", "1700000301", &good, BODY, Err(TooNew(301))),
            ("id", "1700000000", "", BODY, Err(NoSignature)),
            ("id", "1700000000", "v1a,abc v2,abc", BODY, Err(NoSignature)),
            ("id", "1700000000", "v1,abc", BODY, Err(WrongSignature)),
            ("other", "1700000000", &good, BODY, Err(WrongSignature)),
            ("id", "1700000001", &good, BODY, Err(WrongSignature)),
            ("id", "1700000000", &good, b"{}", Err(WrongSignature)),
            ("id", "1700000000", &format!("v1,abc {good}"), BODY, Ok(())),
        ] {
            assert_eq!(verify(id, timestamp, signature, body), expected, "{id} {timestamp} {signature}");
        }
    }

    #[test]
    fn during_a_rotation_either_secret_verifies() {
        let secrets = [WebhookSecret::generate().unwrap(), WebhookSecret::generate().unwrap()];
        let both = secrets.each_ref().map(|secret| secret.sign("id", 1_700_000_000, BODY)).join(" ");
        let headers = WebhookHeaders { id: "id", timestamp: "1700000000", signature: &both };
        for secret in &secrets {
            secret.verify(headers, BODY, NOW).unwrap();
        }
        let third = WebhookSecret::generate().unwrap();
        assert_eq!(third.verify(headers, BODY, NOW), Err(WebhookRejection::WrongSignature));
    }

    #[test]
    fn a_secret_has_24_to_64_bytes_and_is_never_printed() {
        let of = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![7; bytes])).parse::<WebhookSecret>();
        for (bytes, is_valid) in [(0, false), (23, false), (24, true), (64, true), (65, false)] {
            assert_eq!(of(bytes).is_ok(), is_valid, "{bytes}");
        }
        for text in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_?", "whsk_MfKQ"] {
            assert_eq!(text.parse::<WebhookSecret>(), Err(InvalidWebhookSecret), "{text}");
        }
        let secret: WebhookSecret = EXAMPLE.parse().unwrap();
        assert_eq!(*secret.expose_secret(), EXAMPLE);
        assert_eq!(format!("{secret:?}"), "WebhookSecret(***)");
    }
}
