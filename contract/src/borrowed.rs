//! Texts that stay where they were read.
//!
//! serde borrows a `Cow` that stands alone, and copies one that is inside of something. A history names a
//! user in each request, so that copy is one allocation a request.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A text that may be absent.
pub(crate) fn option<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Cow<'de, str>>, D::Error> {
    let text = Option::<Text<'de>>::deserialize(deserializer)?;
    Ok(text.map(|Text(text)| text))
}

/// Several texts.
pub(crate) fn list<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Cow<'de, str>>, D::Error> {
    let texts = Vec::<Text<'de>>::deserialize(deserializer)?;
    Ok(texts.into_iter().map(|Text(text)| text).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::stored::Record;
    use crate::history::{Completion, Invocation, Kind};
    use crate::outcome::{Coupon, Observation, Outcome};

    fn completed(outcome: Outcome<'_>) -> Record<'_> {
        Record::Complete(Completion {
            op: 1,
            at: 2,
            accepted: None,
            outcome,
            status: None,
            stamp: None,
        })
    }

    /// The texts of a record that are inside of something.
    fn texts<'r, 'a>(record: &'r Record<'a>) -> Vec<&'r Cow<'a, str>> {
        if let Record::Invoke(i) = record {
            return i.user.iter().chain(&i.key).collect();
        }
        let Record::Complete(c) = record else { return Vec::new() };
        if let Outcome::Read(Observation::Codes(codes)) = &c.outcome {
            return codes.iter().collect();
        }
        let text = match &c.outcome {
            Outcome::Issued(coupon) => coupon.order.as_ref(),
            Outcome::AlreadyIssued(code) => code.as_ref(),
            Outcome::SoldOut | Outcome::NotStarted | Outcome::Pending => None,
            Outcome::NotFound | Outcome::Ended => None,
            Outcome::Failed(_) | Outcome::Indeterminate(_) | Outcome::Read(_) => None,
        };
        text.into_iter().collect()
    }

    #[test]
    fn no_text_of_a_record_is_copied() {
        let asked = Invocation {
            op: 1,
            campaign: "c".into(),
            kind: Kind::Issue,
            at: 2,
            intended: None,
            woken: None,
            target: None,
            user: Some("u".into()),
            key: Some("k".into()),
            follows: None,
        };
        let coupon =
            Coupon { code: "A".into(), seq: None, remaining: None, order: Some("o".into()) };
        for (record, count) in [
            (Record::Invoke(asked), 2),
            (completed(Outcome::Issued(coupon)), 1),
            (completed(Outcome::AlreadyIssued(Some("A".into()))), 1),
            (completed(Outcome::Read(Observation::Codes(vec!["A".into(), "B".into()]))), 2),
        ] {
            let bytes = postcard::to_allocvec(&record).unwrap();
            let read: Record<'_> = postcard::from_bytes(&bytes).unwrap();
            assert_eq!(read, record);
            let texts = texts(&read);
            assert_eq!(texts.len(), count);
            assert!(texts.iter().all(|text| matches!(text, Cow::Borrowed(_))), "{read:?}");
        }
    }

    #[test]
    fn a_text_that_cannot_stay_is_copied() {
        let asked = r#"{"op":1,"campaign":"c","kind":"issue","at":2,"user":"a\"b","key":null}"#;
        let read: Invocation<'_> = serde_json::from_str(asked).unwrap();
        assert_eq!((read.user.as_deref(), read.key), (Some("a\"b"), None));
    }
}
