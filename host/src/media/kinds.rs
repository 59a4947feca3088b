//! Kinds of media and what each may be: which types belong to it, how large it may be, what is safe to show.
//! Pure rules over names of types; no bytes are looked at here.

use crate::refusal::{Code, Refusal};

/// What a type is, as messages tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Image,
    Audio,
    Video,
    File,
}

impl Kind {
    /// The kind of a type. Drawings that can hold programs are files.
    pub fn of(mime: &str) -> Self {
        match mime.split('/').next() {
            Some("image") if !mime.contains("svg") => Self::Image,
            Some("audio") => Self::Audio,
            Some("video") => Self::Video,
            _ => Self::File,
        }
    }
}

/// Bounds of media. Sizes are bytes.
#[derive(Debug, Clone)]
pub struct Bounds {
    pub image: u64,
    pub voice: u64,
    pub video: u64,
    pub file: u64,
    /// Width times height of an image.
    pub image_pixels: u64,
    /// Types that may be uploaded: `image/png`, `image/*`, `*/*`.
    pub types: Vec<String>,
}

impl Bounds {
    /// Refuses a size that is none, or over its kind's bound.
    pub fn admit_size(&self, kind: Kind, bytes: u64) -> Result<(), Refusal> {
        let most = match kind {
            Kind::Image => self.image,
            Kind::Audio => self.voice,
            Kind::Video => self.video,
            Kind::File => self.file,
        };
        if bytes > most {
            let message = format!("larger than {most} bytes");
            return Err(Refusal::new(Code::TooLarge, message));
        }
        Ok(())
    }

    /// Refuses a type that is not on the list.
    pub fn admit_type(&self, mime: &str) -> Result<(), Refusal> {
        let fits = |allowed: &String| match allowed.strip_suffix("/*") {
            Some("*") => true,
            Some(family) => mime.split('/').next() == Some(family),
            None => allowed == mime,
        };
        if self.types.iter().any(fits) {
            return Ok(());
        }
        Err(Refusal::bad_request(format!(
            "files of type {mime} are not taken here"
        )))
    }
}

/// A type as a client wrote it, without parameters, in lower case; refused when it is none.
pub fn essence(mime: &str) -> Result<String, Refusal> {
    let essence = mime
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let token = |part: &str| {
        let fine = |c: char| c.is_ascii_alphanumeric() || "!#$&^_.+-".contains(c);
        !part.is_empty() && part.len() <= 63 && part.chars().all(fine)
    };
    match essence.split_once('/') {
        Some((family, name)) if token(family) && token(name) => Ok(essence),
        _ => Err(Refusal::bad_request(
            "mime must be a type such as image/png",
        )),
    }
}

/// The type bytes have, of what was declared and what they begin like; refused when they cannot both be.
///
/// Pictures, sound and film must be what they are declared to be, or another of their family; everything else may
/// turn out to be anything, and is then that.
pub fn settle(declared: &str, found: Option<&str>) -> Result<String, Refusal> {
    let kind = Kind::of(declared);
    let Some(found) = found.map(usual) else {
        // Bytes without a known beginning: a text, a drawing, or a format nobody knows; never a picture.
        return match kind {
            Kind::File => Ok(declared.to_owned()),
            _ => Err(contradiction(declared, "of no known type")),
        };
    };
    let holds_sound = matches!(
        found,
        "video/webm" | "video/mp4" | "video/quicktime" | "video/x-matroska"
    );
    match (kind, Kind::of(found)) {
        (Kind::File, Kind::File) if declared == "image/svg+xml" && found == "text/xml" => {
            Ok(declared.to_owned())
        }
        (Kind::File, _) => Ok(found.to_owned()),
        (Kind::Audio, Kind::Video) if holds_sound => Ok(declared.to_owned()),
        (Kind::Video, Kind::Audio) if found == "audio/ogg" => Ok(declared.to_owned()),
        (wanted, is) if wanted == is => Ok(found.to_owned()),
        _ => Err(contradiction(declared, found)),
    }
}

/// The name most programs know a type by.
fn usual(mime: &str) -> &str {
    match mime {
        "audio/m4a" => "audio/mp4",
        "audio/opus" => "audio/ogg",
        "audio/x-wav" => "audio/wav",
        "audio/x-flac" => "audio/flac",
        other => other,
    }
}

fn contradiction(declared: &str, found: &str) -> Refusal {
    Refusal::bad_request(format!("declared as {declared}, but the bytes are {found}"))
}

/// Whether a browser may show it in place: what can hold no program.
pub fn is_safe_to_show(mime: &str) -> bool {
    matches!(
        mime,
        "image/png" | "image/jpeg" | "image/gif" | "image/webp" | "image/avif" | "image/bmp"
    ) || matches!(Kind::of(mime), Kind::Audio | Kind::Video)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_decide_what_a_file_is() {
        for (declared, found, settled) in [
            ("image/png", Some("image/jpeg"), Some("image/jpeg")),
            ("image/png", Some("text/html"), None),
            ("image/png", None, None),
            ("video/mp4", Some("application/zip"), None),
            ("audio/webm", Some("video/webm"), Some("audio/webm")),
            ("audio/ogg", Some("audio/opus"), Some("audio/ogg")),
            ("audio/mpeg", Some("video/x-flv"), None),
            ("text/plain", None, Some("text/plain")),
            ("text/plain", Some("image/png"), Some("image/png")),
            (
                "application/octet-stream",
                Some("application/pdf"),
                Some("application/pdf"),
            ),
            ("image/svg+xml", Some("text/xml"), Some("image/svg+xml")),
            ("image/svg+xml", None, Some("image/svg+xml")),
        ] {
            assert_eq!(
                settle(declared, found).ok().as_deref(),
                settled,
                "{declared} {found:?}"
            );
        }
    }

    #[test]
    fn nothing_that_can_hold_a_program_is_shown_in_place() {
        for mime in [
            "text/html",
            "image/svg+xml",
            "text/xml",
            "application/pdf",
            "application/xhtml+xml",
        ] {
            assert!(!is_safe_to_show(mime), "{mime}");
        }
        assert!(is_safe_to_show("image/png") && is_safe_to_show("audio/ogg"));
    }

    #[test]
    fn a_type_is_taken_without_its_parameters() {
        assert_eq!(
            essence("Text/Plain; charset=utf-8").as_deref(),
            Ok("text/plain")
        );
        for wrong in [
            "",
            "image",
            "image/",
            "/png",
            "image/p ng",
            "a/b/c",
            "a/\r\nb",
        ] {
            assert!(essence(wrong).is_err(), "{wrong:?}");
        }
    }
}
