//! Planted bugs, one at a time, for those who want to see a verifier find them.
//!
//! All of it is wrapped around a clean store ([`store`]) and a clean answer ([`answer`]); without
//! `--mutant` nothing in here runs. The trick: a bug that strikes now and then asks a hash of its
//! seed and the request ([`luck`]), so it strikes the same requests whatever else goes on.
//!
//! To add a bug: a line of the list below, and an arm where it strikes.

pub mod answer;
mod capacity;
mod codes;
mod luck;
mod memory;
mod rows;
mod slip;
pub mod store;
mod told;
mod users;

use std::str::FromStr;

pub use luck::Luck;
pub use slip::Sabotage;

/// How surely a launch shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// Whoever sends a launch through it sees it.
    Sure,
    /// It takes requests that meet at the wrong moment.
    Race,
    /// No bug, though it looks like one: nothing may be reported.
    Trap,
}

impl Nature {
    /// Its name in the list of `--mutant help`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sure => "sure",
            Self::Race => "race",
            Self::Trap => "trap",
        }
    }
}

macro_rules! mutants {
    ($($variant:ident $name:literal $nature:ident $checks:tt $sentence:literal;)*) => {
        /// The bugs that can be planted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutant { $(#[doc = $sentence] $variant,)* }

        impl Mutant {
            /// Every bug there is.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name: the value of the flag and of the header.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it does, in a sentence.
            pub fn sentence(self) -> &'static str {
                match self { $(Self::$variant => $sentence,)* }
            }

            /// The checks of a verifier that should see it; any of them will do.
            pub fn checks(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &$checks,)* }
            }

            /// How surely a launch shows it.
            pub fn nature(self) -> Nature {
                match self { $(Self::$variant => Nature::$nature,)* }
            }
        }
    };
}

mutants! {
    // Capacity.
    CheckThenAct "check-then-act" Race ["over-issued"] "Reads the count, and 10 ms later grants without looking again.";
    LockReleasedEarly "lock-released-early" Race ["over-issued", "per-user-limit"] "Looks at everything under a lock, releases it, and writes 10 ms later without looking again.";
    LockLeaseTooShort "lock-lease-too-short" Race ["over-issued"] "One request in 4 takes 100 ms from look to grant, and its lock is leased for less.";
    StaleReplica "stale-replica" Race ["over-issued"] "Decides on a count that is up to 100 ms old.";
    LostUpdate "lost-update" Race ["ledger-mismatch", "over-issued"] "Reads the count and writes it back 2 ms later, one higher: of two at a time one is not counted.";
    OffByOne "off-by-one" Sure ["over-issued"] "Takes the campaign to have one coupon more.";
    StopsOneShort "stops-one-short" Sure ["under-issued"] "Takes the campaign to have one coupon fewer.";
    PerInstanceCounter "per-instance-counter" Sure ["over-issued"] "Each instance counts only the coupons that it issued itself.";
    QuotaPerInstance "quota-per-instance" Sure ["under-issued"] "Each instance sells a quarter of the coupons, however many instances there are.";
    ForgetsToCount "forgets-to-count" Sure ["ledger-mismatch", "over-issued"] "One coupon in 40 is written and not counted.";
    CounterWithoutLedger "counter-without-ledger" Sure ["lost"] "One coupon in 40 is counted and told, and never written.";
    CrashBeforeInsert "crash-before-insert" Sure ["ledger-mismatch", "under-issued"] "One request in 40 dies after it was counted and before its coupon is written: 503.";
    RollbackForgets "rollback-forgets" Sure ["ledger-mismatch", "under-issued"] "One request in 40 is rolled back and told that it had no effect, but stays counted.";
    RollbackTwice "rollback-twice" Sure ["ledger-mismatch", "over-issued"] "A holder who asks again is refused, and a coupon is given back that was never taken.";
    HolderBurns "holder-burns" Sure ["ledger-mismatch", "under-issued"] "A holder who asks again is refused, and a coupon is counted all the same.";
    CollisionBurns "collision-burns" Sure ["ledger-mismatch", "under-issued"] "One code in 40 is taken: the next one is drawn, and the number of the first is lost.";
    LastSwallowed "last-swallowed" Sure ["under-issued", "wrong-refusal"] "The last coupon leaves none, which is read as sold out: its buyer is told so.";
    Reopened "reopened" Sure ["issued-after-sold-out"] "Keeps five coupons back, and sells them 100 ms after it first said that all are gone.";
    SoldOutOnError "sold-out-on-error" Sure ["under-issued", "issued-after-sold-out"] "One request in 40 meets a passing error and is told that all coupons are gone.";
    CounterExpires "counter-expires" Sure ["ledger-mismatch", "over-issued"] "Once half of the coupons are gone the count is forgotten, and starts at 0.";
    // Codes.
    DuplicateCode "duplicate-code" Sure ["duplicate-code"] "One coupon in 40 gets the code that was drawn before it.";
    TinyCodeSpace "tiny-code-space" Sure ["duplicate-code"] "There are 64 codes, drawn without looking whether they are taken.";
    PeekThenPop "peek-then-pop" Race ["duplicate-code"] "Looks at the next code of its pool, and takes it off 10 ms later.";
    SameSeed "same-seed" Sure ["duplicate-code"] "Every instance draws the same codes in the same order.";
    UniquePerCampaign "codes-unique-per-campaign-only" Sure ["duplicate-code"] "Codes of two campaigns are equal.";
    ConstantCode "constant-code" Sure ["duplicate-code"] "Every coupon has the same code.";
    BytesLength "bytes-length" Sure ["duplicate-code"] "Cuts codes to 10 bytes, which are three syllables.";
    ElevenCharacters "eleven-characters" Sure ["malformed-code"] "One code in 40 has 11 characters.";
    EmptyCode "empty-code" Sure ["malformed-code", "evidence"] "One code in 40 is empty.";
    Nfd "nfd" Sure ["malformed-code"] "One code in 40 has its syllables taken apart (NFD).";
    Jamo "jamo" Sure ["malformed-code"] "One code in 40 has a single letter (U+3131) for a syllable.";
    Filler "filler" Sure ["malformed-code"] "One code in 40 has a Hangul filler (U+3164).";
    ZeroWidth "zero-width" Sure ["malformed-code"] "One code in 40 has a space without width (U+200B).";
    FullWidthDigit "full-width-digit" Sure ["malformed-code"] "One code in 40 has a full-width digit (U+FF11).";
    LatinLetter "latin-letter" Sure ["malformed-code"] "One code in 40 has a Latin letter.";
    // The start.
    ClockAhead "clock-ahead" Sure ["early-issue"] "The instance's clock, which it trusts, is 200 ms ahead.";
    ClockBehind "clock-behind" Sure ["late-start"] "The instance's clock, which it trusts, is 200 ms behind.";
    NineHours "nine-hours" Sure ["early-issue"] "Reads the start as local time: nine hours too early.";
    StartTruncated "start-truncated" Sure ["early-issue"] "Cuts the start to the whole second.";
    CachedNotStarted "cached-not-started" Sure ["late-start", "gate-flapped"] "Remembers for 300 ms that the campaign has not started.";
    FlappingGate "flapping-gate" Sure ["gate-flapped", "late-start"] "One request in 40 is told that the campaign has not started.";
    CampaignPostponed "campaign-postponed" Sure ["gate-flapped", "late-start"] "The instance that sells the coupon in the middle puts the campaign off for 300 ms.";
    // Durability.
    AcknowledgedBeforeWritten "acknowledged-before-written" Sure ["contradicting-snapshots", "contradicting-counts"] "Tells the code first, and writes the coupon 200 ms later.";
    WriteBehindDrops "write-behind-drops" Sure ["lost"] "Tells the code first; of what it writes later one coupon in 20 is dropped.";
    OldSnapshot "old-snapshot-restored" Sure ["lost", "contradicting-counts"] "Once half of the coupons are gone, the last 20 and their count are forgotten.";
    GhostRow "ghost-row" Sure ["phantom"] "One coupon in 40 is written twice, the second time for nobody.";
    RowOfAnother "row-of-another" Sure ["ledger-mismatch", "duplicate-code"] "One coupon in 40 is written for another user.";
    ErrorAfterCommit "error-after-commit" Sure ["phantom", "wrong-refusal"] "One request in 40 gets a coupon and is told that it was never looked at.";
    RefusedAfterCommit "refused-after-commit" Sure ["wrong-refusal", "idempotency"] "One request in 40 gets a coupon and is told that all are gone.";
    // Idempotency keys.
    NoIdempotency "no-idempotency" Sure ["idempotency"] "Ignores idempotency keys.";
    ReplayOtherCode "replay-other-code" Sure ["idempotency", "lost"] "Answers a repeated key with a code that it has just drawn.";
    KeyHashCollides "key-hash-collides" Sure ["duplicate-code"] "Keeps keys by eight bits of them, of all users: strangers get each other's coupons.";
    // Users.
    LimitNotChecked "limit-not-checked" Sure ["per-user-limit"] "Nobody looks at the limit per user.";
    ExistsThenSet "exists-then-set" Race ["per-user-limit"] "Looks whether the user holds a coupon, and 10 ms later grants without looking again.";
    GuardExpires "guard-expires" Sure ["per-user-limit"] "Forgets after 100 ms that a user holds a coupon.";
    MarkedBeforeCapacity "user-marked-before-capacity" Sure ["unfounded-already-issued"] "Marks a user as a holder before it looks whether coupons are left.";
    UserHashCollides "user-hash-collides" Sure ["unfounded-already-issued"] "Keeps holders by eight bits of their name: strangers are told that they hold a coupon.";
    HolderToldSoldOut "holder-told-sold-out" Sure ["refused-holder"] "Tells holders that all coupons are gone.";
    AlreadyOtherCode "already-issued-other-code" Sure ["unfounded-already-issued", "lost"] "Tells holders a code that is not theirs.";
    // Answers and reads.
    OffByOneRemaining "off-by-one-remaining" Sure ["contradicting-counts"] "Tells how many coupons were left before, not after.";
    RanksFromZero "ranks-from-zero" Sure ["contradicting-counts"] "Counts ranks from 0.";
    CachedCount "cached-count" Sure ["contradicting-counts"] "Shows how many were issued 300 ms ago.";
    TornList "torn-list" Sure ["contradicting-snapshots"] "Lists leave out one coupon in the middle.";
    ServedElsewhere "request-served-elsewhere" Sure ["lost", "phantom"] "One request in 40 is served from the campaign with the next number.";
    SingleFlight "single-flight" Race ["duplicate-code"] "Requests that come while another is decided get its answer.";
    WrongStatus "wrong-status" Sure ["malformed-code", "duplicate-code"] "Answers \"sold out\" with 201.";
    SwappedResponses "swapped-responses" Sure ["duplicate-code", "ledger-mismatch"] "Of two coupons at a time, one in 10 goes to the buyer of the other.";
    TruncatedBody "truncated-body" Sure ["evidence"] "One answer in 40 breaks off in the middle of its body.";
    // No bugs, for the false alarms.
    DoubtAfterCommit "doubt-after-commit" Trap [] "One request in 40 gets its coupon, and a 503 that leaves it in doubt.";
    DoubtBefore "doubt-before" Trap [] "One request in 40 gets a 503 that leaves it in doubt, and nothing else.";
    Slow "slow" Trap [] "One request in 40 waits 100 ms before it is decided, another one after.";
    GateAtArrival "gate-at-arrival" Trap [] "Reads the clock when a request comes, and tells 20 ms later that the campaign has not started.";
    CreatedTwice "campaign-created-twice" Trap [] "Creates each campaign twice, and nobody hears of the first.";
    Unfair "unfair" Trap [] "Each request waits up to 10 ms, by lot: unfair, and no contradiction.";
}

impl Mutant {
    /// The list, one bug a line: name, nature, checks, sentence, with tabs between them.
    pub fn list() -> String {
        let line = |mutant: &Self| {
            let checks = mutant.checks().join(",");
            let (name, nature) = (mutant.name(), mutant.nature().name());
            format!("{name}\t{nature}\t{checks}\t{}\n", mutant.sentence())
        };
        Self::ALL.iter().map(line).collect()
    }
}

/// No bug has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no planted bug has this name: --mutant help lists them")]
pub struct NoSuchMutant;

impl FromStr for Mutant {
    type Err = NoSuchMutant;

    fn from_str(name: &str) -> Result<Self, NoSuchMutant> {
        Self::ALL.iter().copied().find(|mutant| mutant.name() == name).ok_or(NoSuchMutant)
    }
}

#[cfg(test)]
mod tests;
