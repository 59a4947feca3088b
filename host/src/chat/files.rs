//! The commands about files: sending one, keeping one that a message carries, showing one as a picture.
//! What has to move moves beside the talk; what a file is called in a message is its own name, never a path.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value, json};

use super::commands::{Action, Command, seq_and_text, text, word};
use super::render;
use super::requests::cannot;
use super::talk::Talk;
use super::transfers::{self, Ended, Outgoing, Purpose};
use crate::client::WireError;
use crate::client::rest::encoded;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Deed {
    Send(PathBuf),
    /// What the message of this seq carries, as a new file.
    Save(u64, PathBuf),
    /// One's own picture, or the open group's; without a file there is none from then on.
    Avatar(Whose, Option<PathBuf>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    Mine,
    TheGroups,
}

pub(super) const COMMANDS: &[Command] = &[
    Command {
        usage: ":send FILE",
        about: "send a picture, a sound, a video or any other file",
        read: |rest| text(rest).map(|file| Action::File(Deed::Send(path(&file)))),
    },
    Command {
        usage: ":save SEQ FILE",
        about: "keep what a message carries as a new file",
        read: |rest| {
            let (seq, file) = seq_and_text(rest)?;
            Some(Action::File(Deed::Save(seq, path(&file))))
        },
    },
    Command {
        usage: ":avatar [FILE]",
        about: "have a picture shown with your name, or none",
        read: |rest| Some(avatar(Whose::Mine, rest)),
    },
    Command {
        usage: ":group avatar [FILE]",
        about: "give the group a picture, or none",
        read: |rest| Some(avatar(Whose::TheGroups, rest)),
    },
];

fn avatar(whose: Whose, file: &str) -> Action {
    let file = text(file).map(|file| path(&file));
    Action::File(Deed::Avatar(whose, file))
}

/// A path may have spaces, with quotes around it or without; `~/` is the home folder.
fn path(text: &str) -> PathBuf {
    let path = word(text).unwrap_or_else(|| text.to_owned());
    if let Some(below) = path.strip_prefix("~/")
        && let Some(home) = std::env::home_dir()
    {
        return home.join(below);
    }
    path.into()
}

impl Talk {
    pub(super) async fn do_file(&mut self, deed: Deed) -> Result<(), WireError> {
        self.transfers.admit()?;
        match deed {
            Deed::Send(path) => {
                let to = self.addressee().await?;
                self.upload(&path, Purpose::Message(to)).await
            }
            Deed::Avatar(whose, file) => {
                let group = match whose {
                    Whose::Mine => None,
                    Whose::TheGroups => Some(self.opened_group()?),
                };
                match file {
                    Some(path) => self.upload(&path, Purpose::Avatar(group)).await,
                    None => self.set_avatar(group, Value::Null).await,
                }
            }
            Deed::Save(seq, path) => {
                let id = self.opened()?;
                transfers::is_free(&path)?;
                let media = self.carried(&id, seq).await?;
                let download = self.account.rest().await?.download(&media).await?;
                self.transfers.save(download, path);
                Ok(())
            }
        }
    }

    async fn upload(&mut self, path: &Path, purpose: Purpose) -> Result<(), WireError> {
        let file = Outgoing::open(path).await?;
        let rest = self.account.rest().await?;
        let asked = rest.ticket(&file.name, file.mime, file.bytes).await;
        let ticket = asked.map_err(|error| of(&file.name, &error))?;
        self.transfers.upload(rest, ticket, file, purpose);
        Ok(())
    }

    /// The media of an entry.
    async fn carried(&mut self, id: &str, seq: u64) -> Result<String, WireError> {
        let fields = json!({"conversation": id, "after": seq - 1, "limit": 1});
        let ok = self.ask("history", fields).await?;
        let entry = &ok["entries"][0];
        if entry["seq"] != seq {
            return Err(cannot(format!("there is no #{seq} here")));
        }
        let media = entry["content"]["media"].as_str().map(str::to_owned);
        media.ok_or_else(|| cannot(format!("#{seq} carries no file")))
    }

    /// A file has arrived somewhere, or never will.
    pub(super) async fn file_ended(&mut self, ended: Ended) -> Result<(), WireError> {
        match ended {
            Ended::Uploaded {
                purpose,
                name,
                media,
            } => {
                let used = self.use_uploaded(purpose, &name, &media).await;
                used.map_err(|error| of(&name, &error))
            }
            Ended::Saved { file, bytes } => {
                let file = render::label(&file.to_string_lossy());
                let size = render::size(bytes);
                self.say(&format!("* {file} is saved, {size}")).await;
                Ok(())
            }
            Ended::Failed { name, error } => Err(of(&name, &error)),
        }
    }

    async fn use_uploaded(
        &mut self,
        purpose: Purpose,
        name: &str,
        media: &str,
    ) -> Result<(), WireError> {
        let found = self.account.rest().await?.complete(media).await?;
        match purpose {
            Purpose::Message(to) => {
                let content = carrying(found, name);
                self.outbox.add(to, content, None, Instant::now());
                Ok(())
            }
            Purpose::Avatar(group) => self.set_avatar(group, media.into()).await,
        }
    }

    async fn set_avatar(&mut self, group: Option<String>, avatar: Value) -> Result<(), WireError> {
        let (path, whose) = match group {
            Some(id) => (format!("/v1/groups/{}", encoded(&id)), "the group's"),
            None => ("/v1/me".to_owned(), "your"),
        };
        let is = if avatar.is_null() {
            "taken away"
        } else {
            "changed"
        };
        let rest = self.account.rest().await?;
        rest.patch(&path, json!({"avatar": avatar})).await?;
        self.say(&format!("* {whose} picture is {is}")).await;
        Ok(())
    }
}

/// What went wrong, with the file it went wrong with.
fn of(name: &str, error: &WireError) -> WireError {
    let (name, why) = (render::label(name), render::refusal(error));
    cannot(format!("{name}: {why}"))
}

/// The content that carries what the server found in an upload.
fn carrying(mut found: Value, name: &str) -> Value {
    let mime = found["mime"].as_str().unwrap_or_default();
    let kind = match mime.split('/').next() {
        // A drawing can hold programs: it is a file.
        Some("image") if !mime.contains("svg") => "image",
        Some("audio") => "voice",
        Some("video") => "video",
        _ => "file",
    };
    found["media"] = found["id"].take();
    found["name"] = name.into();
    found["type"] = kind.into();
    if let Some(fields) = found.as_object_mut() {
        fields.remove("id");
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_sent_as_what_the_server_found_it_to_be() {
        for (mime, kind) in [
            ("image/png", "image"),
            ("image/svg+xml", "file"),
            ("audio/ogg", "voice"),
            ("video/mp4", "video"),
            ("text/plain", "file"),
        ] {
            let found = json!({"id": "7", "mime": mime, "bytes": 3});
            assert_eq!(
                carrying(found, "a"),
                json!({"type": kind, "media": "7", "mime": mime, "bytes": 3, "name": "a"})
            );
        }
    }

    #[test]
    fn a_path_may_have_spaces_and_begin_at_home() {
        assert_eq!(path("my cat.png"), PathBuf::from("my cat.png"));
        assert_eq!(path("\"my cat.png\""), PathBuf::from("my cat.png"));
        assert_eq!(path("it's a \"cat.png"), PathBuf::from("it's a \"cat.png"));
        assert!(path("~/cat.png").is_absolute());
    }
}
