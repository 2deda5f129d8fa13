//! The report in its forms. Each is a pure function of the same judgment: the same evidence gives the
//! same bytes, but for how long the store was watched.

pub mod explain;
pub mod github;
pub mod json;
pub mod junit;
pub mod markdown;
pub mod sarif;
pub mod table;

use anyhow::Result;

use crate::cli::Format;
use crate::verdict::{Report, Verdict};
use crate::wording::{size, things};

/// The report in one of its forms.
///
/// # Errors
/// When it cannot be serialized.
pub fn render(report: &Report, format: Format, colours: bool) -> Result<String> {
    match format {
        Format::Table => Ok(table::render(report, colours)),
        Format::Json => json::render(report),
        Format::Junit => junit::render(report),
        Format::Sarif => sarif::render(report),
        Format::Github => Ok(github::render(report)),
        Format::Markdown => Ok(markdown::render(report)),
    }
}

/// How many campaigns there are, and of which verdict where there are several.
fn tally(report: &Report) -> String {
    let campaigns = things(report.campaigns.len(), "campaign");
    if report.campaigns.len() < 2 {
        return campaigns;
    }
    let of = |verdict: Verdict| {
        let n = report.campaigns.iter().filter(|j| j.verdict == verdict).count();
        (n > 0).then(|| format!("{} {}", size(n), verdict.name()))
    };
    let all = [Verdict::Invalid, Verdict::Unknown, Verdict::Valid].map(of);
    format!("{campaigns}: {}", all.into_iter().flatten().collect::<Vec<_>>().join(", "))
}
