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

/// One or many: `1 coupon`, `2 coupons`.
pub fn things(n: usize, one: &str) -> String {
    format!("{} {one}{}", size(n), if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_readable() {
        assert_eq!([count(7), count(1_000), count(12_345_678)], ["7", "1,000", "12,345,678"]);
        assert_eq!([span(35), span(4_125_000), span(-1_500)], ["35 ns", "4.125 ms", "-1.500 µs"]);
        assert_eq!(span(1_204_118_000), "1.204118 s");
        assert_eq!([moment(1_204_118_000), moment(-35)], ["+1.204118 s", "-0.000000035 s"]);
        assert_eq!([things(1, "coupon"), things(2_000, "coupon")], ["1 coupon", "2,000 coupons"]);
    }
}
