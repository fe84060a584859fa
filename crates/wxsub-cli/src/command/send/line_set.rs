//! `--lines`: a selection of lines such as `120,122-131,136-`.

use std::fmt;
use std::str::FromStr;

/// A set of line numbers from 1, as sorted ranges with gaps between them. An open range ends with [`u64::MAX`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LineSet(Vec<(u64, u64)>);

impl LineSet {
    /// Selects this line and all later ones.
    pub(super) fn from_line(first: u64) -> Self {
        Self(vec![(first, u64::MAX)])
    }

    /// Whether the set is empty.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this line is selected.
    pub(super) fn contains(&self, line: u64) -> bool {
        let ends_before = self.0.partition_point(|(_, last)| *last < line);
        self.0.get(ends_before).is_some_and(|(first, _)| *first <= line)
    }

    /// Whether a line after this one is selected.
    pub(super) fn reaches_beyond(&self, line: u64) -> bool {
        self.0.last().is_some_and(|(_, last)| *last > line)
    }

    /// Returns the first selected line that a file of this many lines does not have.
    ///
    /// An open range needs only its first line. The range `1-` needs none.
    pub(super) fn first_missing(&self, lines: u64) -> Option<u64> {
        if *self == Self::from_line(1) {
            return None;
        }
        let (first, last) = *self.0.iter().find(|(_, last)| *last > lines)?;
        match first > lines {
            true => Some(first),
            false => (last < u64::MAX).then_some(lines + 1),
        }
    }

    /// Adds the lines of `other` from `first` on.
    pub(super) fn extend_from(&mut self, other: &Self, first: u64) {
        for (start, end) in other.0.iter().filter(|(_, end)| *end >= first) {
            self.insert_range((*start).max(first), *end);
        }
    }

    /// Adds the lines from `first` to `last`.
    pub(super) fn insert_range(&mut self, first: u64, last: u64) {
        // Ranges that overlap or touch the new range are merged with it.
        let begin = self.0.partition_point(|(_, end)| end.saturating_add(1) < first);
        let end = self.0.partition_point(|(start, _)| *start <= last.saturating_add(1));
        let joined = self.0.get(begin..end).unwrap_or_default();
        let first = joined.first().map_or(first, |(start, _)| first.min(*start));
        let last = joined.last().map_or(last, |(_, end)| last.max(*end));
        self.0.splice(begin..end.max(begin), [(first, last)]);
    }
}

impl FromStr for LineSet {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "must be line numbers from 1 and ranges, such as 120,122-131,136-";
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|number| digits && *number > 0).ok_or(expected)
        };
        let mut set = Self::default();
        for part in text.split(',').map(str::trim) {
            let (first, last) = match part.split_once('-') {
                None => (number(part)?, number(part)?),
                Some((first, "")) => (number(first)?, u64::MAX),
                Some((first, last)) => (number(first)?, number(last)?),
            };
            if first > last {
                return Err("has a range that ends before it begins");
            }
            set.insert_range(first, last);
        }
        Ok(set)
    }
}

impl fmt::Display for LineSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match *last {
                last if last == *first => write!(f, "{comma}{first}")?,
                u64::MAX => write!(f, "{comma}{first}-")?,
                last => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, prop_assert_eq, prop_oneof};

    use super::*;

    fn set(text: &str) -> LineSet {
        text.parse().unwrap()
    }

    #[test]
    fn printed_set_parses_to_the_same_set() {
        for (written, printed) in [
            ("120,122-131,136-", "120,122-131,136-"),
            ("1-", "1-"),
            ("7", "7"),
            ("5-5", "5"),
            (" 3, 1 ,2", "1-3"),
            ("9-,4,5-20", "4-"),
            ("1-2,3-4,10,6-8,9", "1-4,6-10"),
            ("10-20,12-13", "10-20"),
        ] {
            assert_eq!(set(written).to_string(), printed, "{written}");
            assert_eq!(set(printed), set(written));
        }
    }

    #[test]
    fn invalid_sets_are_rejected() {
        for text in
            ["", ",", "1,", "0", "0-3", "3-1", "-", "-3", "a", "1-2-3", "+1", "1.5", "99999999999999999999"]
        {
            assert!(text.parse::<LineSet>().is_err(), "{text}");
        }
    }

    #[test]
    fn first_missing_line_is_found() {
        for (text, lines, missing) in [
            ("1-", 0, None),
            ("1", 0, Some(1)),
            ("6-", 5, Some(6)),
            ("2,9-12", 10, Some(11)),
            ("2,9-12", 12, None),
            ("2,9-12", 5, Some(9)),
            ("3,5-", 4, Some(5)),
        ] {
            assert_eq!(set(text).first_missing(lines), missing, "{text} of {lines}");
        }
    }

    #[test]
    fn extend_from_adds_the_lines_from_first_on() {
        for (selection, first, rest) in
            [("1-", 136, "136-"), ("5-9,20-30", 22, "22-30"), ("5-9,20-30", 7, "7-9,20-30"), ("5", 6, "")]
        {
            let mut set = LineSet::default();
            set.extend_from(&selection.parse().unwrap(), first);
            assert_eq!((set.to_string(), set.is_empty()), (rest.to_owned(), rest.is_empty()));
        }
    }

    proptest::proptest! {
        /// Compares with a list of the inserted ranges.
        #[test]
        fn set_contains_exactly_the_inserted_lines(parts in proptest::collection::vec(
            prop_oneof![(1..40_u64, 0..9_u64).prop_map(|(first, more)| (first, first + more)), (1..40_u64).prop_map(|first| (first, u64::MAX))],
            0..12,
        )) {
            let mut set = LineSet::default();
            parts.iter().for_each(|(first, last)| set.insert_range(*first, *last));
            let holds = |line: u64| parts.iter().any(|(first, last)| (*first..=*last).contains(&line));
            for line in 1..60 {
                prop_assert_eq!(set.contains(line), holds(line), "{} {}", set, line);
            }
            prop_assert_eq!(set.reaches_beyond(40), parts.iter().any(|(_, last)| *last > 40));
            let ordered = set.0.windows(2).all(|pair| pair[0].1.saturating_add(1) < pair[1].0);
            prop_assert_eq!(ordered, true, "{}", set);
        }
    }
}
