//! Numbers with their units, as people read them.

use p2pdma::Duration;

/// Bytes with a binary prefix: `64 KiB`, `1.50 GiB`, `1000 bytes`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [(&str, u64); 4] =
        [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let unit = UNITS.iter().find(|(_, size)| count >= *size);
    match unit {
        None if count == 1 => "1 byte".to_owned(),
        None => format!("{count} bytes"),
        Some((name, size)) if count.is_multiple_of(*size) => format!("{} {name}", count / size),
        Some((name, size)) => format!("{:.2} {name}", ratio(count, *size)),
    }
}

/// Bytes exactly, with the prefix beside them where that says more.
pub(crate) fn exact_bytes(count: u64) -> String {
    let short = bytes(count);
    if short.ends_with("bytes") || short.ends_with("byte") {
        short
    } else {
        format!("{count} bytes ({short})")
    }
}

/// A rate in decimal GB/s, three digits of it.
pub(crate) fn rate(bytes_per_second: f64) -> String {
    let giga = bytes_per_second / 1e9;
    let digits = if giga >= 100.0 {
        0
    } else if giga >= 10.0 {
        1
    } else {
        2
    };
    format!("{giga:.digits$} GB/s")
}

/// A share in percent.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// A number divided by another, for display.
#[expect(clippy::cast_precision_loss, reason = "for display; 53 bits suffice")]
pub(crate) fn ratio(dividend: u64, divisor: u64) -> f64 {
    dividend as f64 / divisor as f64
}

/// Bytes per second; `None` if no time passed.
#[expect(clippy::cast_precision_loss, reason = "for display; 53 bits suffice")]
pub(crate) fn per_second(count: u64, seconds: f64) -> Option<f64> {
    (seconds > 0.0).then(|| count as f64 / seconds)
}

/// A span in nanoseconds.
pub(crate) fn nanoseconds(span: Duration) -> f64 {
    span.as_secs_f64() * 1e9
}

/// A noun with its number: `1 block`, `2 blocks`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_short_where_that_loses_nothing() {
        for (number, text) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (1023, "1023 bytes"),
            (1024, "1 KiB"),
            (1536, "1.50 KiB"),
            (64 << 20, "64 MiB"),
            (1 << 30, "1 GiB"),
            (3 << 40, "3 TiB"),
        ] {
            assert_eq!(bytes(number), text);
        }
        assert_eq!(exact_bytes(1 << 20), "1048576 bytes (1 MiB)");
        assert_eq!(exact_bytes(12), "12 bytes");
        assert_eq!(rate(5.0e9), "5.00 GB/s");
        assert_eq!(rate(25.6e9), "25.6 GB/s");
        assert_eq!(per_second(10, 0.0), None);
    }
}
