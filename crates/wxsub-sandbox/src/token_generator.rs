//! Generates access tokens and request ids.

use std::time::Duration;

/// 64 visible characters that need no encoding in a query.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Generates access tokens with sequence numbers.
#[derive(Default)]
pub(crate) struct TokenGenerator(u64);

impl TokenGenerator {
    /// Returns the next sequence number and a token of this length.
    ///
    /// The number makes the token unique. The random part makes it unguessable.
    pub(crate) fn generate(&mut self, length: usize) -> (u64, String) {
        self.0 += 1;
        let mut text = format!("{}_", self.0);
        // These are test tokens: if the random source fails, a token is still unique.
        let mut random = vec![0; length.saturating_sub(text.len())];
        let _ignored = getrandom::fill(&mut random);
        let character = |byte: u8| ALPHABET.get(usize::from(byte & 63)).copied().map(char::from);
        text.extend(random.into_iter().filter_map(character));
        (self.0, text)
    }
}

/// Generates the `rid` of one call: three groups of eight hex digits. The first group is the Unix time in seconds.
pub(crate) fn request_id(now: Duration) -> String {
    let random = || getrandom::u32().unwrap_or_default();
    format!("{:08x}-{:08x}-{:08x}", now.as_secs() & 0xffff_ffff, random(), random())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_and_have_the_requested_length() {
        let mut generator = TokenGenerator::default();
        let (first, token) = generator.generate(136);
        let (second, other) = generator.generate(512);
        assert_eq!((first, token.len(), second, other.len()), (1, 136, 2, 512));
        assert_ne!(token.get(2..20), other.get(2..20));
        assert!(token.bytes().all(|b| ALPHABET.contains(&b)));
    }

    /// Source: "Get rid info" (service/openApi/get_rid_info.html), whose sample has this time and this first group.
    #[test]
    fn request_id_starts_with_unix_time() {
        let id = request_id(Duration::from_secs(1_635_156_704));
        let groups: Vec<_> = id.split('-').collect();
        assert_eq!(groups.len(), 3);
        assert_eq!(groups[0], "617682e0");
        assert!(groups.iter().all(|group| group.len() == 8 && group.bytes().all(|b| b.is_ascii_hexdigit())));
    }
}
