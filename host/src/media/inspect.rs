//! Looks at the bytes of an upload: how many there are, their hash, what they are, how large a picture is and how
//! long a sound lasts; makes the thumbnail. Blocks for as long as that takes, trusts nothing it reads, keeps nothing.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};

use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
use lofty::config::ParseOptions;
use lofty::file::AudioFile;
use lofty::probe::Probe;
use sha2::{Digest, Sha256};

use super::kinds::{self, Bounds, Kind};
use crate::refusal::{Code, Refusal};

/// Bytes a type is known by.
const BEGINNING: usize = 8192;
/// The longer side of a thumbnail, pixels.
const THUMB_SIDE: u32 = 320;
const THUMB_QUALITY: u8 = 80;
/// Pictures of more bytes, decoded, get no thumbnail.
const DECODED_BYTES: u64 = 128 * 1024 * 1024;
/// Memory a decoder may take.
const DECODER_BYTES: u64 = 256 * 1024 * 1024;
/// A side longer than this is no picture of anything.
const SIDE: u32 = 65_535;

/// What a client said of an upload.
#[derive(Debug, Clone)]
pub struct Claim {
    pub mime: String,
    pub bytes: u64,
    pub sha256: Option<[u8; 32]>,
}

/// What the bytes say.
#[derive(Debug)]
pub struct Findings {
    pub mime: String,
    pub sha256: [u8; 32],
    /// As it is to be shown, pixels.
    pub size: Option<(u32, u32)>,
    pub duration_ms: Option<u64>,
    pub thumb: Option<Thumb>,
}

/// A picture made smaller.
#[derive(Debug)]
pub struct Thumb {
    pub mime: &'static str,
    pub bytes: Vec<u8>,
}

/// Checks a file against what was claimed. What does not hold is refused with what is wrong.
pub fn inspect(mut file: File, claim: &Claim, bounds: &Bounds) -> Result<Findings, Refusal> {
    let (sha256, bytes) = hash(&mut file).map_err(unreadable)?;
    if bytes != claim.bytes {
        return Err(Refusal::bad_request(format!(
            "{bytes} bytes came, {} were declared",
            claim.bytes
        )));
    }
    if claim.sha256.is_some_and(|declared| declared != sha256) {
        return Err(Refusal::bad_request(
            "the sha256 of what came is not the declared one",
        ));
    }
    let beginning = beginning(&mut file).map_err(unreadable)?;
    let found = infer::get(&beginning).map(|found| found.mime_type());
    let mime = kinds::settle(&claim.mime, found)?;
    bounds.admit_type(&mime)?;
    let kind = Kind::of(&mime);
    if Kind::of(&claim.mime) != Kind::File {
        bounds.admit_size(kind, bytes)?;
    }
    let mut findings = Findings {
        mime,
        sha256,
        size: None,
        duration_ms: None,
        thumb: None,
    };
    match kind {
        Kind::Image if bytes <= bounds.image => look_at_picture(file, bounds, &mut findings)?,
        Kind::Audio | Kind::Video => findings.duration_ms = duration_ms(file),
        _ => {}
    }
    Ok(findings)
}

fn unreadable(error: io::Error) -> Refusal {
    tracing::error!(%error, "an upload could not be read");
    Refusal::unavailable("the upload could not be read")
}

fn hash(file: &mut File) -> io::Result<([u8; 32], u64)> {
    file.rewind()?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; 64 * 1024];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            return Ok((hasher.finalize().into(), bytes));
        }
        hasher.update(&chunk[..read]);
        bytes += read as u64;
    }
}

fn beginning(file: &mut File) -> io::Result<Vec<u8>> {
    file.rewind()?;
    let mut beginning = Vec::with_capacity(BEGINNING);
    file.take(BEGINNING as u64).read_to_end(&mut beginning)?;
    Ok(beginning)
}

fn decodable(mime: &str) -> Option<ImageFormat> {
    match mime {
        "image/png" => Some(ImageFormat::Png),
        "image/jpeg" => Some(ImageFormat::Jpeg),
        "image/gif" => Some(ImageFormat::Gif),
        "image/webp" => Some(ImageFormat::WebP),
        _ => None,
    }
}

/// Size and thumbnail of a picture of a format that is decoded here; others stay as they are.
fn look_at_picture(
    mut file: File,
    bounds: &Bounds,
    findings: &mut Findings,
) -> Result<(), Refusal> {
    let Some(format) = decodable(&findings.mime) else {
        return Ok(());
    };
    let broken = |error: image::ImageError| {
        Refusal::bad_request(format!("the picture cannot be read: {error}"))
    };
    file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    let mut reader = ImageReader::with_format(BufReader::new(file), format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(DECODER_BYTES);
    limits.max_image_width = Some(SIDE);
    limits.max_image_height = Some(SIDE);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(broken)?;
    let (width, height) = decoder.dimensions();
    // The header says how much there would be to decode, so a bomb is refused before it goes off.
    let pixels = u64::from(width) * u64::from(height);
    if pixels > bounds.image_pixels {
        let message = format!("the picture has more than {} pixels", bounds.image_pixels);
        return Err(Refusal::new(Code::TooLarge, message));
    }
    let orientation = decoder.orientation().map_err(broken)?;
    let turned = matches!(orientation.to_exif(), 5..=8);
    findings.size = Some(if turned {
        (height, width)
    } else {
        (width, height)
    });
    if decoder.total_bytes() > DECODED_BYTES {
        return Ok(());
    }
    let picture = DynamicImage::from_decoder(decoder).map_err(broken)?;
    let mut small = if width.max(height) > THUMB_SIDE {
        picture.thumbnail(THUMB_SIDE, THUMB_SIDE)
    } else {
        picture
    };
    small.apply_orientation(orientation);
    findings.thumb = Some(thumb(&small).map_err(broken)?);
    Ok(())
}

/// What has no transparency is a JPEG, everything else a PNG.
fn thumb(small: &DynamicImage) -> image::ImageResult<Thumb> {
    let mut bytes = Cursor::new(Vec::new());
    if small.color().has_alpha() {
        small.to_rgba8().write_to(&mut bytes, ImageFormat::Png)?;
        return Ok(Thumb {
            mime: "image/png",
            bytes: bytes.into_inner(),
        });
    }
    let encoder = JpegEncoder::new_with_quality(&mut bytes, THUMB_QUALITY);
    small.to_rgb8().write_with_encoder(encoder)?;
    Ok(Thumb {
        mime: "image/jpeg",
        bytes: bytes.into_inner(),
    })
}

/// How long a sound lasts, where its container says so in a way that is understood here.
fn duration_ms(mut file: File) -> Option<u64> {
    file.rewind().ok()?;
    let options = ParseOptions::new().read_tags(false).read_cover_art(false);
    let probe = Probe::new(BufReader::new(file))
        .options(options)
        .guess_file_type()
        .ok()?;
    let millis = probe.read().ok()?.properties().duration().as_millis();
    u64::try_from(millis).ok().filter(|millis| *millis > 0)
}
