//! Seams that a run asks for nothing, or for nothing but whether there is something: people, media, bans. What is asked for
//! all the same is refused.

use async_trait::async_trait;
use kith::ids::{ConversationId, MediaId, RequestId, UserId};
use kith::store::StoreError;
use kith::store::media::*;
use kith::store::moderation::*;
use kith::store::people::*;

use super::accounts::SimAccounts;

type Read<T> = Result<T, StoreError>;

fn not_simulated<T>() -> Read<T> {
    Err(StoreError::Unavailable("not simulated".to_owned()))
}

#[async_trait]
impl People for SimAccounts {
    async fn friends(&self, _: UserId, _: Option<UserId>, _: usize) -> Read<Vec<Friend>> {
        not_simulated()
    }

    async fn end_friendship(&self, _: UserId, _: UserId) -> Read<bool> {
        not_simulated()
    }

    async fn ask(&self, _: &Ask, _: &PeopleLimits) -> Read<Asked> {
        not_simulated()
    }

    async fn answer(&self, _: RequestId, _: bool, _: u64, _: &PeopleLimits) -> Read<Answered> {
        not_simulated()
    }

    async fn request(&self, _: RequestId) -> Read<Option<FriendRequest>> {
        not_simulated()
    }

    async fn request_of(&self, _: UserId, _: UserId) -> Read<Option<FriendRequest>> {
        not_simulated()
    }

    async fn requests(
        &self,
        _: UserId,
        _: Option<RequestId>,
        _: usize,
    ) -> Read<Vec<FriendRequest>> {
        not_simulated()
    }

    async fn notices(&self, _: usize) -> Read<Vec<Notice>> {
        not_simulated()
    }

    async fn forget_notices(&self, _: u64) -> Read<()> {
        not_simulated()
    }

    async fn changed_profiles(&self, _: usize) -> Read<Vec<ChangedProfile>> {
        not_simulated()
    }

    async fn forget_changed_profile(&self, _: ChangedProfile) -> Read<()> {
        not_simulated()
    }

    async fn file_report(&self, _: &NewReport) -> Read<u64> {
        not_simulated()
    }

    async fn reports(&self, _: Option<u64>, _: usize) -> Read<Vec<Report>> {
        not_simulated()
    }
}

#[async_trait]
impl MediaRecords for SimAccounts {
    async fn open_ticket(&self, _: &MediaRecord, _: TicketBounds) -> Read<Ticketed> {
        not_simulated()
    }

    async fn media(&self, _: MediaId) -> Read<Option<Found>> {
        not_simulated()
    }

    async fn complete_media(&self, _: &MediaRecord) -> Read<bool> {
        not_simulated()
    }

    async fn media_due(&self, _: u64, _: usize) -> Read<Vec<MediaRecord>> {
        not_simulated()
    }

    async fn let_go_of_media(&self, _: MediaId, _: u64) -> Read<()> {
        not_simulated()
    }

    async fn set_media(&self, _: MediaId, _: MediaState, _: Option<u64>) -> Read<()> {
        not_simulated()
    }

    async fn forget_media(&self, _: MediaId) -> Read<()> {
        not_simulated()
    }

    async fn is_avatar(&self, _: MediaId) -> Read<bool> {
        not_simulated()
    }
}

#[async_trait]
impl Moderation for SimAccounts {
    async fn put_ban(&self, _: &NewBan) -> Read<u64> {
        not_simulated()
    }

    async fn remove_ban(&self, _: u64) -> Read<bool> {
        not_simulated()
    }

    async fn bans(&self, _: u64) -> Read<Vec<Ban>> {
        Ok(Vec::new())
    }

    async fn set_label(&self, _: UserId, _: &str, _: bool) -> Read<()> {
        not_simulated()
    }

    async fn labels(&self, _: &[UserId]) -> Read<Vec<(UserId, String)>> {
        not_simulated()
    }

    async fn put_admin_notice(&self, _: &NewAdminNotice) -> Read<u64> {
        not_simulated()
    }

    async fn admin_notices(&self, _: Option<u64>, _: usize) -> Read<Vec<AdminNotice>> {
        not_simulated()
    }

    async fn hand_over(&self, _: &NewHandover, _: &NewAdminNotice) -> Read<bool> {
        not_simulated()
    }

    async fn is_handed_over(&self, _: ConversationId, _: UserId) -> Read<bool> {
        not_simulated()
    }

    async fn handovers(&self, _: Option<u64>, _: usize) -> Read<Vec<Handover>> {
        not_simulated()
    }

    async fn give_back(&self, _: u64) -> Read<Option<Handover>> {
        not_simulated()
    }

    async fn second(&self, _: &Wish, _: u64) -> Read<bool> {
        not_simulated()
    }
}
