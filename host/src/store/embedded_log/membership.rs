//! Members and join requests of groups on disk: how a request's row looks,
//! and the reads of both. Every read sees what is committed, nothing else.

use serde::{Deserialize, Serialize};

use super::key;
use super::rows::Reader;
use super::tables::{Tables, damaged, unavailable};
use crate::conversation::Member;
use crate::ids::{ConversationId, JoinRequestId, UserId};
use crate::store::StoreError;
use crate::store::groups::{JoinRequest, MemberRow};

#[derive(Serialize, Deserialize)]
struct RequestRow {
    user: UserId,
    text: Option<String>,
}

/// The row of a request.
pub fn encode_request(user: UserId, text: Option<&str>) -> Vec<u8> {
    let row = RequestRow {
        user,
        text: text.map(str::to_owned),
    };
    rmp_serde::to_vec_named(&row).expect("a join request encodes")
}

fn decode_request(id: JoinRequestId, bytes: &[u8]) -> Result<JoinRequest, StoreError> {
    let RequestRow { user, text } =
        rmp_serde::from_slice(bytes).map_err(|_| damaged("a join request"))?;
    Ok(JoinRequest { id, user, text })
}

fn decode_member(bytes: &[u8]) -> Result<Member, StoreError> {
    rmp_serde::from_slice(bytes).map_err(|_| damaged("a member"))
}

impl Tables {
    pub fn member(
        &self,
        conversation: ConversationId,
        user: UserId,
    ) -> Result<Option<Member>, StoreError> {
        match self.row(&key::member(conversation, user))? {
            Some(bytes) => decode_member(&bytes).map(Some),
            None => Ok(None),
        }
    }

    /// Present members of a conversation after one, by id.
    pub fn member_page(
        &self,
        conversation: ConversationId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<MemberRow>, StoreError> {
        let first = after.map_or(0, |after| after.0.saturating_add(1));
        let mut members = Vec::new();
        if limit == 0 || after == Some(UserId(u64::MAX)) {
            return Ok(members);
        }
        let range =
            key::member(conversation, UserId(first))..=key::member(conversation, UserId(u64::MAX));
        for guard in self.rows.range(range) {
            let (found, bytes) = guard.into_inner().map_err(unavailable)?;
            let member = decode_member(&bytes)?;
            if member.left.is_some() {
                continue;
            }
            let user = Reader(found.get(17..).unwrap_or_default())
                .u64()
                .ok_or_else(|| damaged("a member's key"))?;
            members.push((UserId(user), member));
            if members.len() == limit {
                break;
            }
        }
        Ok(members)
    }

    /// The request under an id.
    pub fn join_request(
        &self,
        conversation: ConversationId,
        id: JoinRequestId,
    ) -> Result<Option<JoinRequest>, StoreError> {
        match self.row(&key::join_request(conversation, id))? {
            Some(bytes) => decode_request(id, &bytes).map(Some),
            None => Ok(None),
        }
    }

    /// The request of a user that waits.
    pub fn request_of(
        &self,
        conversation: ConversationId,
        user: UserId,
    ) -> Result<Option<JoinRequestId>, StoreError> {
        match self.row(&key::request_of(conversation, user))? {
            Some(bytes) => Reader(&bytes)
                .u64()
                .map(|id| Some(JoinRequestId(id)))
                .ok_or_else(|| damaged("a join request")),
            None => Ok(None),
        }
    }

    /// Requests that wait after one, oldest first.
    pub fn join_requests(
        &self,
        conversation: ConversationId,
        after: Option<JoinRequestId>,
        limit: usize,
    ) -> Result<Vec<JoinRequest>, StoreError> {
        let first = JoinRequestId(after.map_or(0, |after| after.0.saturating_add(1)));
        let range = key::join_request(conversation, first)
            ..=key::join_request(conversation, JoinRequestId(u64::MAX));
        let mut requests = Vec::new();
        for guard in self.rows.range(range).take(limit) {
            let (found, bytes) = guard.into_inner().map_err(unavailable)?;
            let id = Reader(found.get(17..).unwrap_or_default())
                .u64()
                .ok_or_else(|| damaged("a join request's key"))?;
            requests.push(decode_request(JoinRequestId(id), &bytes)?);
        }
        Ok(requests)
    }
}
