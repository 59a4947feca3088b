//! How a join request's row looks.
//! No I/O.

use serde::{Deserialize, Serialize};

use crate::ids::{JoinRequestId, UserId};
use crate::store::StoreError;
use crate::store::groups::JoinRequest;

#[derive(Serialize, Deserialize)]
struct RequestRow {
    user: UserId,
    text: Option<String>,
}

/// The row of a request.
pub fn encode(user: UserId, text: Option<&str>) -> Vec<u8> {
    let row = RequestRow {
        user,
        text: text.map(str::to_owned),
    };
    rmp_serde::to_vec_named(&row).expect("a join request encodes")
}

pub fn decode(id: JoinRequestId, bytes: &[u8]) -> Result<JoinRequest, StoreError> {
    let RequestRow { user, text } = rmp_serde::from_slice(bytes)
        .map_err(|_| StoreError::Damaged("a join request could not be read".to_owned()))?;
    Ok(JoinRequest { id, user, text })
}
