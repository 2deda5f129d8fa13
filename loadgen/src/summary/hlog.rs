//! `response.hlog`: response times in intervals of a second, in HdrHistogram's log format V2, for
//! the tools that plot it. Written while the history is read, one interval in memory at a time.

use std::io::Write;
use std::time::{Duration, SystemTime};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriter, IntervalLogWriterBuilder};

use super::distribution::Samples;

/// Name of the file in the run's folder.
pub const HLOG_FILE: &str = "response.hlog";
/// Length of an interval.
const INTERVAL_NS: i64 = 1_000_000_000;

/// Writes the log.
pub(super) struct IntervalLog<'a, W: Write> {
    writer: IntervalLogWriter<'a, 'a, W, V2DeflateSerializer>,
    samples: Samples,
    /// Number of the interval that is being filled.
    current: i64,
    broken: Option<std::io::Error>,
}

impl<'a, W: Write> IntervalLog<'a, W> {
    /// Begins a log whose times count from `zero_unix_ns` on.
    pub(super) fn begin(
        file: &'a mut W,
        serializer: &'a mut V2DeflateSerializer,
        zero_unix_ns: i64,
    ) -> std::io::Result<Self> {
        let zero = SystemTime::UNIX_EPOCH + nanos(zero_unix_ns);
        let writer = IntervalLogWriterBuilder::new()
            .add_comment("response time in nanoseconds, by the moment of the answer")
            .add_comment("[Histogram log format version 1.3]")
            .with_start_time(zero)
            .with_base_time(zero)
            .begin_log_with(file, serializer)?;
        Ok(Self { writer, samples: Samples::new(), current: 0, broken: None })
    }

    /// An attempt ended at `at` after `response`.
    pub(super) fn record(&mut self, at: i64, response: i64) {
        let interval = at.div_euclid(INTERVAL_NS);
        // An answer that is recorded late must not reopen an interval that is written already.
        if interval > self.current {
            self.flush();
            self.current = interval;
        }
        self.samples.record(response);
    }

    /// Writes the last interval.
    pub(super) fn finish(mut self) -> std::io::Result<()> {
        self.flush();
        self.broken.map_or(Ok(()), Err)
    }

    fn flush(&mut self) {
        if self.samples.histogram().is_empty() || self.broken.is_some() {
            return;
        }
        let (begin, length) = (nanos(self.current * INTERVAL_NS), nanos(INTERVAL_NS));
        let written = self.writer.write_histogram(self.samples.histogram(), begin, length, None);
        self.broken = written.err().map(|e| std::io::Error::other(e.to_string()));
        self.samples.clear();
    }
}

fn nanos(ns: i64) -> Duration {
    Duration::from_nanos(u64::try_from(ns).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::Histogram;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    #[test]
    fn each_second_with_answers_is_an_interval() {
        let (mut file, mut serializer) = (Vec::new(), V2DeflateSerializer::new());
        let mut log = IntervalLog::begin(&mut file, &mut serializer, 1_700_000_000_500_000_000);
        let log_ref = log.as_mut().unwrap();
        for (at, response) in [(100, 5_000), (999_999_999, 6_000), (3_000_000_000, 7_000)] {
            log_ref.record(at, response);
        }
        // Late by a hair: it counts in the interval at hand.
        log_ref.record(2_999_999_999, 8_000);
        log.unwrap().finish().unwrap();

        let mut seen = Vec::new();
        for entry in IntervalLogIterator::new(&file) {
            match entry.unwrap() {
                LogEntry::StartTime(t) => assert!((t.as_secs_f64() - 1.7e9).abs() < 1.0),
                LogEntry::BaseTime(t) => assert!((t.as_secs_f64() - 1.7e9 - 0.5).abs() < 1e-3),
                LogEntry::Interval(i) => {
                    let bytes = base64(i.encoded_histogram());
                    let histogram: Histogram<u64> =
                        Deserializer::new().deserialize(&mut &bytes[..]).unwrap();
                    seen.push((i.start_timestamp().as_secs(), histogram.len(), histogram.max()));
                }
            }
        }
        assert_eq!(seen.iter().map(|s| (s.0, s.1)).collect::<Vec<_>>(), [(0, 2), (3, 2)]);
        assert!((6_000..6_010).contains(&seen[0].2), "{seen:?}");
    }

    fn base64(text: &str) -> Vec<u8> {
        const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let (mut bits, mut held, mut out) = (0_u32, 0, Vec::new());
        for c in text.bytes().filter(|c| *c != b'=') {
            let digit = DIGITS.iter().position(|d| *d == c).unwrap();
            bits = bits << 6 | u32::try_from(digit).unwrap();
            held += 6;
            if held >= 8 {
                held -= 8;
                out.push(u8::try_from(bits >> held & 0xff).unwrap());
            }
        }
        out
    }
}
