//! A client's side of WebSocket frames, as little as a run needs:
//! texts out, texts in, and the end.

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt};

/// A text as one frame. Clients mask; a mask of zeros changes nothing.
pub fn framed(text: &Value) -> Vec<u8> {
    let payload = text.to_string().into_bytes();
    let mut frame = vec![0x81];
    match payload.len() {
        short @ 0..126 => frame.push(0x80 | short as u8),
        long => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(long as u16).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(&payload);
    frame
}

/// The next text; `None` when the connection is over, or is being closed.
pub async fn next(stream: &mut (impl AsyncRead + Unpin)) -> Option<Value> {
    loop {
        let mut header = [0; 2];
        stream.read_exact(&mut header).await.ok()?;
        let length = match header[1] & 0x7f {
            126 => u64::from(stream.read_u16().await.ok()?),
            127 => stream.read_u64().await.ok()?,
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(length).ok()?];
        stream.read_exact(&mut payload).await.ok()?;
        match header[0] & 0x0f {
            1 => return serde_json::from_slice(&payload).ok(),
            8 => return None,
            _ => {}
        }
    }
}
