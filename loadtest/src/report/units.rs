//! Numbers as people read them: three digits and a unit.

/// `740 µs`, `12.3 ms`, `4.56 s`.
#[must_use]
pub fn milliseconds(ms: f64) -> String {
    match ms.abs() {
        0.0 => "0 ms".into(),
        x if x < 0.9995 => format!("{} µs", digits(ms * 1e3)),
        x if x < 999.5 => format!("{} ms", digits(ms)),
        x if x < 120_000.0 => format!("{} s", digits(ms / 1e3)),
        _ => format!("{} min", digits(ms / 60e3)),
    }
}

/// `534 B`, `2.4 KB`, `1.25 MB`; a kilobyte has a thousand bytes.
#[must_use]
pub fn bytes(bytes: f64) -> String {
    format!("{}B", scaled(bytes, " "))
}

/// `9,800`, `12.3 k`, `4.56 M`.
#[must_use]
pub fn short(number: f64) -> String {
    if number.fract() == 0.0 && (0.0..10_000.0).contains(&number) {
        return whole(number as u64);
    }
    scaled(number, "\u{202f}").trim_end().replace('K', "k")
}

fn scaled(number: f64, space: &str) -> String {
    let (factor, prefix) = match number.abs() {
        x if x < 999.5 => (1.0, ""),
        x if x < 999.5e3 => (1e3, "K"),
        x if x < 999.5e6 => (1e6, "M"),
        x if x < 999.5e9 => (1e9, "G"),
        _ => (1e12, "T"),
    };
    format!("{}{space}{prefix}", digits(number / factor))
}

/// `1,234,567`.
#[must_use]
pub fn whole(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Per second: `5.0`, `812`, `12,345`.
#[must_use]
pub fn rate(number: f64) -> String {
    if number.abs() < 99.95 { format!("{number:.1}") } else { whole(number.round().max(0.0) as u64) }
}

#[must_use]
pub fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{} s", digits(s)),
        s if s < 7200.0 => format!("{} min {:02} s", (s / 60.0) as u64, (s % 60.0) as u64),
        s => format!("{} h {:02} min", (s / 3600.0) as u64, (s % 3600.0 / 60.0) as u64),
    }
}

/// Three digits that count.
#[must_use]
pub fn digits(number: f64) -> String {
    match number.abs() {
        x if x >= 999.5 && number > 0.0 => whole(number.round() as u64),
        x if x >= 99.95 => format!("{number:.0}"),
        x if x >= 9.995 => format!("{number:.1}"),
        x if x >= 0.9995 => format!("{number:.2}"),
        x if x >= 0.0005 => format!("{number:.3}"),
        _ => "0".into(),
    }
}

/// For the ticks of an axis, which are round: `44.0 ms` is `44 ms`.
#[must_use]
pub fn round(text: &str) -> String {
    let Some(point) = text.find('.') else { return text.into() };
    let end =
        text[point + 1..].find(|c: char| !c.is_ascii_digit()).map_or(text.len(), |length| point + 1 + length);
    let number = text[..end].trim_end_matches('0').trim_end_matches('.');
    format!("{number}{}", &text[end..])
}

/// A figure, in the unit that its name tells.
#[must_use]
pub fn figure(name: &str, value: f64) -> String {
    match Unit::of(name) {
        Unit::Microseconds => milliseconds(value / 1e3),
        Unit::Milliseconds => milliseconds(value),
        Unit::Seconds => format!("{} s", digits(value)),
        Unit::Bytes => bytes(value),
        Unit::Cores => digits(value),
        Unit::PerSecond => format!("{}/s", rate(value)),
        Unit::Share => format!("{} %", digits(value * 100.0)),
        Unit::Plain if value.fract() == 0.0 && value >= 0.0 => whole(value as u64),
        Unit::Plain => digits(value),
    }
}

/// What a figure is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Microseconds,
    Milliseconds,
    Seconds,
    Bytes,
    Cores,
    PerSecond,
    Share,
    Plain,
}

impl Unit {
    #[must_use]
    pub fn of(name: &str) -> Self {
        let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
        if ends(&["_us"]) || name.contains("_us_per_") {
            Self::Microseconds
        } else if ends(&["_ms"]) {
            Self::Milliseconds
        } else if ends(&["bytes", "bytes_sent", "bytes_received"])
            || name.contains("memory")
            || name.contains("bytes_per_")
        {
            Self::Bytes
        } else if ends(&["_per_second"]) {
            Self::PerSecond
        } else if ends(&["_seconds"]) {
            Self::Seconds
        } else if ends(&["cores", "cpu"]) {
            Self::Cores
        } else if ends(&["_share", "_shared"]) || matches!(name, "delivered" | "frames_known") {
            Self::Share
        } else {
            Self::Plain
        }
    }
}

/// A name of the program's as a person's: `memory_per_connection_bytes` is `memory per connection`.
#[must_use]
pub fn words(name: &str) -> String {
    let name = name.rsplit_once("_bytes").filter(|(_, rest)| rest.is_empty()).map_or(name, |(name, _)| name);
    let name = name.trim_end_matches("_ms").trim_end_matches("_us").replace("_us_per_", "_per_");
    name.replace('_', " ").replace("cpu", "CPU")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_a_unit() {
        let times = [0.0, 0.0421, 0.74, 1.0, 12.345, 999.7, 4560.0, 600_000.0].map(milliseconds);
        assert_eq!(
            times,
            ["0 ms", "42.1 µs", "740 µs", "1.00 ms", "12.3 ms", "1.00 s", "4.56 s", "10.0 min"]
        );
        assert_eq!([534.0, 2400.0, 1.25e6, 999_700.0].map(bytes), ["534 B", "2.40 KB", "1.25 MB", "1.00 MB"]);
        assert_eq!([9800.0, 12_345.0, 4.56e6].map(short), ["9,800", "12.3\u{202f}k", "4.56\u{202f}M"]);
        assert_eq!([0, 999, 1000, 1_234_567].map(whole), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([5.0, 812.4, 12_345.6].map(rate), ["5.0", "812", "12,346"]);
        assert_eq!(
            [3.26, 75.0, 150.0, 9000.0].map(seconds),
            ["3.26 s", "75.0 s", "2 min 30 s", "2 h 30 min"]
        );
        assert_eq!(
            ["44.0 ms", "0.250", "1.05 s", "100", "10.0/s"].map(round),
            ["44 ms", "0.25", "1.05 s", "100", "10/s"]
        );
    }

    #[test]
    fn a_name_tells_its_unit() {
        assert_eq!(figure("memory_per_connection_bytes", 2400.0), "2.40 KB");
        assert_eq!(figure("deliveries_per_second", 12_345.0), "12,345/s");
        assert_eq!(figure("deliveries_per_cpu_second", 1_500_000.0), "1,500,000");
        assert_eq!(figure("frames_shared", 0.987), "98.7 %");
        assert_eq!(figure("storm_cpu_us_per_connection", 1234.0), "1.23 ms");
        assert_eq!(figure("delivered", 0.999), "99.9 %");
        assert_eq!(words("storm_cpu_us_per_connection"), "storm CPU per connection");
        assert_eq!(figure("ratio_to_floor", 0.9512), "0.951");
        assert_eq!(words("memory_per_connection_bytes"), "memory per connection");
        assert_eq!(words("deliveries_per_cpu_second"), "deliveries per CPU second");
    }
}
