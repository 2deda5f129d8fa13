//! Small histories, and how they are written down as `coupon-history/1`.

use std::fmt::Write as _;

/// What a holder is told once all coupons are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Precedence {
    AlreadyFirst,
    SoldOutFirst,
    Either,
}

/// One campaign with everything that was asked of it. Codes are small numbers.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    pub(crate) coupons: i64,
    pub(crate) start: (i64, i64),
    pub(crate) limit: Option<Precedence>,
    /// Reads may show a state that is so old.
    pub(crate) lag: i64,
    pub(crate) asks: Vec<Ask>,
    /// All answers are written down before the requests.
    pub(crate) answers_first: bool,
    /// What the store holds in the end, where it is known: code, user, key.
    pub(crate) rows: Option<Vec<Row>>,
}

/// A row of the store; it need not name whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) code: u8,
    pub(crate) user: Option<u8>,
    pub(crate) key: Option<u8>,
}

/// One request. Without an end it was never answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub(crate) user: Option<u8>,
    pub(crate) key: Option<u8>,
    pub(crate) from: i64,
    pub(crate) to: Option<i64>,
    pub(crate) told: Told,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Issued {
        code: u8,
        seq: Option<i64>,
        remaining: Option<i64>,
    },
    SoldOut,
    NotStarted,
    NotFound,
    Ended,
    Already(Option<u8>),
    Failed,
    Unknown,
    Counted(i64),
    Left(i64),
    /// A set of codes, one bit each.
    Listed(u16),
}

impl Told {
    pub(crate) fn is_read(self) -> bool {
        matches!(self, Self::Counted(_) | Self::Left(_) | Self::Listed(_))
    }
}

/// A code of a campaign as it is written: unlike any of another campaign.
pub(crate) fn code(campaign: usize, code: u8) -> String {
    format!("{campaign:07}{code:02}")
}

fn optional(out: &mut String, name: &str, value: Option<impl std::fmt::Display>) {
    if let Some(value) = value {
        let _ = write!(out, ",\"{name}\":{value}");
    }
}

fn told(campaign: usize, told: Told) -> String {
    let mut out = String::new();
    let quoted = |c: u8| format!("\"{}\"", code(campaign, c));
    match told {
        Told::Issued { code, seq, remaining } => {
            let _ = write!(out, "\"issued\",\"code\":{}", quoted(code));
            optional(&mut out, "seq", seq);
            optional(&mut out, "remaining", remaining);
        }
        Told::SoldOut => out += "\"sold_out\"",
        Told::NotStarted => out += "\"not_started\"",
        Told::NotFound => out += "\"not_found\"",
        Told::Ended => out += "\"ended\"",
        Told::Already(code) => {
            out += "\"already_issued\"";
            optional(&mut out, "code", code.map(quoted));
        }
        Told::Failed => out += "\"failed\"",
        Told::Unknown => out += "\"indeterminate\"",
        Told::Counted(n) => optional(&mut out, "issued", Some(n)),
        Told::Left(n) => optional(&mut out, "remaining", Some(n)),
        Told::Listed(set) => {
            let codes = (0..16).filter(|c| set & (1 << c) != 0).map(quoted);
            let codes = codes.collect::<Vec<_>>().join(",");
            optional(&mut out, "codes", Some(format!("[{codes}]")));
        }
    }
    if told.is_read() { format!("\"read\"{out}") } else { out }
}

/// Many stories as one history. A story's campaign is named by its number.
pub(crate) fn write(stories: &[Story]) -> String {
    let mut out = String::from("{\"type\":\"header\",\"format\":\"coupon-history/1\"}\n");
    let (mut op, mut ends) = (0, 0);
    for (campaign, story) in stories.iter().enumerate() {
        let (earliest, latest) = story.start;
        let limit = match story.limit {
            None => "null".to_owned(),
            Some(precedence) => {
                let name = match precedence {
                    Precedence::AlreadyFirst => "already_first",
                    Precedence::SoldOutFirst => "sold_out_first",
                    Precedence::Either => "either",
                };
                format!("{{\"limit\":1,\"precedence\":\"{name}\"}}")
            }
        };
        let _ = writeln!(
            out,
            "{{\"type\":\"campaign\",\"campaign\":\"{campaign}\",\"coupons\":{},\"starts_at\":\
             {{\"earliest\":{earliest},\"latest\":{latest}}},\"per_user\":{limit}}}",
            story.coupons
        );
        let (mut asked, mut answered) = (String::new(), String::new());
        for ask in &story.asks {
            op += 1;
            asked += &invocation(op, campaign, ask);
            if let Some(to) = ask.to {
                ends += 1;
                let _ = writeln!(
                    answered,
                    "{{\"type\":\"complete\",\"op\":{op},\"at\":{to},\"outcome\":{}}}",
                    told(campaign, ask.told)
                );
            }
        }
        let both = if story.answers_first { [answered, asked] } else { [asked, answered] };
        out.extend(both);
    }
    let _ = writeln!(out, "{{\"type\":\"trailer\",\"invocations\":{op},\"completions\":{ends}}}");
    out
}

fn invocation(op: i32, campaign: usize, ask: &Ask) -> String {
    let kind = if ask.told.is_read() { "read" } else { "issue" };
    let mut out = format!(
        "{{\"type\":\"invoke\",\"op\":{op},\"campaign\":\"{campaign}\",\"kind\":\"{kind}\",\
         \"at\":{}",
        ask.from
    );
    optional(&mut out, "user", ask.user.map(|u| format!("\"u{u}\"")));
    optional(&mut out, "key", ask.key.map(|k| format!("\"k{k}\"")));
    out + "}\n"
}
