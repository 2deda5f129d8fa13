//! How numbers and times are written for people.

/// A number with its thousands apart: `10,000`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The same for a number that may be below zero.
pub fn signed(n: i64) -> String {
    format!("{}{}", if n < 0 { "-" } else { "" }, count(n.unsigned_abs()))
}

/// A number of things as a `usize`, with its thousands apart.
pub fn size(n: usize) -> String {
    count(n as u64)
}

/// A length of time: `4.125 ms`, `35 ns`, `1.204118 s`.
pub fn span(ns: i64) -> String {
    let sign = if ns < 0 { "-" } else { "" };
    let ns = ns.unsigned_abs();
    match ns {
        0..1_000 => format!("{sign}{ns} ns"),
        1_000..1_000_000 => format!("{sign}{}.{:03} µs", ns / 1_000, ns % 1_000),
        1_000_000..1_000_000_000 => {
            format!("{sign}{}.{:03} ms", ns / 1_000_000, ns / 1_000 % 1_000)
        }
        _ => format!("{sign}{}.{:06} s", ns / 1_000_000_000, ns / 1_000 % 1_000_000),
    }
}

/// A moment relative to another: `+1.204118 s`. Below a millisecond down to the nanosecond.
pub fn moment(ns: i64) -> String {
    let sign = if ns < 0 { '-' } else { '+' };
    let ns = ns.unsigned_abs();
    if ns < 1_000_000 {
        return format!("{sign}0.{ns:09} s");
    }
    format!("{sign}{}.{:06} s", ns / 1_000_000_000, ns / 1_000 % 1_000_000)
}

/// A wall-clock moment given in Unix microseconds: `2026-11-20T03:00:00.000000Z`.
pub fn wall(unix_us: i64) -> String {
    let (days, us) = (unix_us.div_euclid(86_400_000_000), unix_us.rem_euclid(86_400_000_000));
    let (year, month, day) = civil(days);
    let (s, us) = (us / 1_000_000, us % 1_000_000);
    let (hour, minute, second) = (s / 3_600, s / 60 % 60, s % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{us:06}Z")
}

/// The date of a day counted from 1970-01-01. Years begin in March here, so that the leap day is
/// the last of a year and every 400 years are alike.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

/// One or many: `1 coupon`, `2 coupons`.
pub fn things(n: usize, one: &str) -> String {
    format!("{} {one}{}", size(n), if n == 1 { "" } else { "s" })
}

/// One or many: `1 coupon was`, `2 coupons were`.
pub fn things_were(n: usize, one: &str) -> String {
    format!("{} {}", things(n, one), if n == 1 { "was" } else { "were" })
}

/// Text that others wrote, with everything visible that would not be seen on a screen or would do
/// something to it: control characters, characters without width, changes of direction.
pub fn safe(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\'' | '\\' => out.push(c),
            // Fillers count as letters and look like nothing.
            '\u{115F}' | '\u{1160}' | '\u{3164}' | '\u{FFA0}' => out.extend(c.escape_unicode()),
            _ => out.extend(c.escape_debug()),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_unseen_reaches_a_screen() {
        assert_eq!(safe("가나 \"7\" it's c:\\d é"), "가나 \"7\" it's c:\\d é");
        assert_eq!(safe("a\x1b[2J\n"), "a\\u{1b}[2J\\n");
        for hidden in
            ["\u{200B}", "\u{202E}", "\u{2066}", "\u{FEFF}", "\u{3164}", "\u{85}", "\u{301}"]
        {
            assert!(safe(hidden).starts_with("\\u{"), "{hidden:?}");
        }
    }

    #[test]
    fn numbers_and_times_are_readable() {
        assert_eq!([count(7), count(1_000), count(12_345_678)], ["7", "1,000", "12,345,678"]);
        assert_eq!([span(35), span(4_125_000), span(-1_500)], ["35 ns", "4.125 ms", "-1.500 µs"]);
        assert_eq!(span(1_204_118_000), "1.204118 s");
        assert_eq!([moment(1_204_118_000), moment(-35)], ["+1.204118 s", "-0.000000035 s"]);
        assert_eq!([signed(-1_234), signed(5)], ["-1,234", "5"]);
        assert_eq!(wall(951_782_400_000_001), "2000-02-29T00:00:00.000001Z");
        assert_eq!(wall(-1), "1969-12-31T23:59:59.999999Z");
        assert_eq!(wall(1_795_262_664_500_000), "2026-11-21T12:04:24.500000Z");
        assert_eq!(things_were(1, "coupon"), "1 coupon was");
        assert_eq!([things(1, "coupon"), things(2_000, "coupon")], ["1 coupon", "2,000 coupons"]);
    }
}
