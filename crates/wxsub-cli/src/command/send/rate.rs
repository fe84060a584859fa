//! `--rate`: maximum number of attempts per second or minute.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Maximum number of attempts per unit of time, evenly spaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    attempts: u32,
    unit: Unit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Second,
    Minute,
}

impl Rate {
    const MAX: u32 = 1000;

    /// Minimum time between two attempts.
    pub(super) fn interval(self) -> Duration {
        let unit = match self.unit {
            Unit::Second => Duration::from_secs(1),
            Unit::Minute => Duration::from_secs(60),
        };
        unit.checked_div(self.attempts).unwrap_or_default()
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected =
            || format!("must be a number from 1 to {} and a unit, such as 10/s or 90/m", Self::MAX);
        let (number, unit) = text.split_once('/').ok_or_else(expected)?;
        let unit = match unit {
            "s" => Unit::Second,
            "m" => Unit::Minute,
            _ => return Err(expected()),
        };
        let attempts = number.parse().ok().filter(|attempts| (1..=Self::MAX).contains(attempts));
        Ok(Self { attempts: attempts.ok_or_else(expected)?, unit })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            Unit::Second => "s",
            Unit::Minute => "m",
        };
        write!(f, "{}/{unit}", self.attempts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_is_number_and_unit() {
        for (text, millis) in [("10/s", 100), ("1000/s", 1), ("1/s", 1000), ("90/m", 666), ("1/m", 60_000)] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate.interval().as_millis(), rate.to_string()), (millis, text.to_owned()));
        }
        for text in ["", "10", "/s", "0/s", "1001/s", "10/h", "-1/s", "1.5/s", "10/s/s"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
