//! Defects that can be planted: each turns a part at a seam into one that breaks its promise. Where each one works is in
//! that part; here are their names and what they are.

/// One defect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    AckBeforeMajority,
    HeadKeptAfterLostRace,
    LateEndTakesNewer,
    PublishBeforeCommit,
    ResendNotLookedUp,
    GapCheckOff,
    SettlementsSwapped,
    LostReplyIsFailure,
    StaleGenerationAccepted,
    ReceiptGoesBack,
    LeaseNotRenewed,
    DoubledDeliveredTwice,
    LossNotTold,
    NewerConnectionIgnored,
    TwoGenerationsInOneMessage,
    FeedSkipsAPlace,
    FeedTellsTwice,
    TokenAheadOfCommits,
    FullQueueDropsInSilence,
    UnsureThenRefused,
    FoundNotTold,
}

impl Defect {
    pub const ALL: [Self; 21] = [
        Self::AckBeforeMajority,
        Self::HeadKeptAfterLostRace,
        Self::LateEndTakesNewer,
        Self::PublishBeforeCommit,
        Self::ResendNotLookedUp,
        Self::GapCheckOff,
        Self::SettlementsSwapped,
        Self::LostReplyIsFailure,
        Self::StaleGenerationAccepted,
        Self::ReceiptGoesBack,
        Self::LeaseNotRenewed,
        Self::DoubledDeliveredTwice,
        Self::LossNotTold,
        Self::NewerConnectionIgnored,
        Self::TwoGenerationsInOneMessage,
        Self::FeedSkipsAPlace,
        Self::FeedTellsTwice,
        Self::TokenAheadOfCommits,
        Self::FullQueueDropsInSilence,
        Self::UnsureThenRefused,
        Self::FoundNotTold,
    ];

    /// What it is, for the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::AckBeforeMajority => "an ack before a majority has it",
            Self::HeadKeptAfterLostRace => "a head that is kept after a lost race",
            Self::LateEndTakesNewer => "a late disconnect takes a newer session away",
            Self::PublishBeforeCommit => "published before it is committed",
            Self::ResendNotLookedUp => "a resend is not looked up",
            Self::GapCheckOff => "a client without its gap check",
            Self::SettlementsSwapped => "settlements in another order",
            Self::LostReplyIsFailure => "a lost reply is told as a failure",
            Self::StaleGenerationAccepted => "a stale generation is accepted",
            Self::ReceiptGoesBack => "a receipt goes back",
            Self::LeaseNotRenewed => "a lease is not renewed",
            Self::DoubledDeliveredTwice => "a doubled parcel is delivered twice",
            Self::LossNotTold => "what the bus loses is not told",
            Self::NewerConnectionIgnored => "a device's newer connection leaves the older one",
            Self::TwoGenerationsInOneMessage => "two generations judge one message",
            Self::FeedSkipsAPlace => "the feed leaves out what another node left",
            Self::FeedTellsTwice => "the feed tells twice what two nodes tell",
            Self::TokenAheadOfCommits => "a sync token ahead of what is confirmed",
            Self::FullQueueDropsInSilence => "a full queue drops in silence",
            Self::UnsureThenRefused => "an unsure attempt is forgotten when the next is refused",
            Self::FoundNotTold => "what a resend finds is told to nobody",
        }
    }
}
