//! Query strings and forms, parsed as leniently as Weixin parses them.

use percent_encoding::percent_decode_str;

/// Decoded names and values. Invalid UTF-8 is replaced and never an error.
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        });
        Self(pairs.collect())
    }

    /// The first value with this name. `None` if that value is empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let first = self.0.iter().find(|(other, _)| other == name);
        first.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

fn decode(part: &str) -> String {
    percent_decode_str(&part.replace('+', " ")).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::Query;

    #[test]
    fn get_returns_first_value_unless_empty() {
        let query = Query::parse("a=1&b=%E6%B1%89+%2B&a=2&c=&d&%ff=x");
        assert_eq!(query.get("a"), Some("1"));
        assert_eq!(query.get("b"), Some("汉 +"));
        assert_eq!((query.get("c"), query.get("d"), query.get("e")), (None, None, None));
        assert_eq!(query.get("\u{fffd}"), Some("x"));
    }
}
